import { join } from "node:path";
import { binary } from "./binaries";
import type { DaemonSpec } from "./daemon";
import { pkiDirectory } from "./pki";
import { expectStatus, getWithCertificate } from "./probes";
import type { Settings } from "./settings";
import { etcdVersion } from "./versions";

/** On loopback, where every user of the machine is: only a certificate of etcd's own authority gets in. */
export function etcdSpec(settings: Settings): DaemonSpec {
    const pki = pkiDirectory(settings);
    const { etcd, etcdPeer } = settings.ports;
    const url = `https://127.0.0.1:${etcd}`;
    const peerUrl = `https://127.0.0.1:${etcdPeer}`;
    const tls = (prefix: string) => [
        `--${prefix}cert-file=${pki}/etcd.crt`,
        `--${prefix}key-file=${pki}/etcd.key`,
        `--${prefix}trusted-ca-file=${pki}/etcd-ca.crt`,
        `--${prefix}client-cert-auth=true`,
    ];
    return {
        name: "etcd",
        address: url,
        version: () => Promise.resolve(etcdVersion()),
        command: [
            binary(settings, "etcd"),
            "--name=ke1",
            `--data-dir=${join(settings.home, "etcd")}`,
            `--listen-client-urls=${url}`,
            `--advertise-client-urls=${url}`,
            `--listen-peer-urls=${peerUrl}`,
            `--initial-advertise-peer-urls=${peerUrl}`,
            `--initial-cluster=ke1=${peerUrl}`,
            ...tls(""),
            ...tls("peer-"),
            "--log-level=warn",
        ],
        reads: ["etcd.crt", "etcd-ca.crt"].map((file) => join(pki, file)),
        listeners: [
            { host: "127.0.0.1", port: etcd, variable: "KE1_ETCD_PORT" },
            { host: "127.0.0.1", port: etcdPeer, variable: "KE1_ETCD_PEER_PORT" },
        ],
        probe: async () =>
            expectStatus(await getWithCertificate(`${url}/health`, pki, { ca: "etcd-ca", client: "etcd-client" }), 200),
        patienceMs: 10_000,
    };
}
