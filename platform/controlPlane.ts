import { join } from "node:path";
import { stringify } from "yaml";
import { binary } from "./binaries";
import type { DaemonSpec } from "./daemon";
import { kubeconfigPath } from "./kubeconfig";
import { frontProxyName, pkiDirectory } from "./pki";
import { expectStatus, getWithCertificate, type Answer } from "./probes";
import type { Settings } from "./settings";
import { kubernetesVersion } from "./versions";

/** A request to the API server as the administrator. */
export async function getFromApi(settings: Settings, path: string): Promise<Answer> {
    const url = `https://127.0.0.1:${settings.ports.api}${path}`;
    return getWithCertificate(url, pkiDirectory(settings), { ca: "ca", client: "admin" });
}

export function apiServerSpec(settings: Settings): DaemonSpec {
    const pki = pkiDirectory(settings);
    const { api, etcd } = settings.ports;
    return {
        name: "kube-apiserver",
        address: `https://127.0.0.1:${api}`,
        version: () => Promise.resolve(kubernetesVersion()),
        command: [
            binary(settings, "kube-apiserver"),
            "--bind-address=127.0.0.1",
            `--secure-port=${api}`,
            `--advertise-address=${settings.pods.address}`,
            // It listens on loopback only, so there is no address to publish for pods.
            "--endpoint-reconciler-type=none",
            "--anonymous-auth=false",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            `--client-ca-file=${pki}/ca.crt`,
            `--tls-cert-file=${pki}/apiserver.crt`,
            `--tls-private-key-file=${pki}/apiserver.key`,
            `--etcd-servers=https://127.0.0.1:${etcd}`,
            `--etcd-cafile=${pki}/etcd-ca.crt`,
            `--etcd-certfile=${pki}/etcd-client.crt`,
            `--etcd-keyfile=${pki}/etcd-client.key`,
            `--kubelet-certificate-authority=${pki}/ca.crt`,
            `--kubelet-client-certificate=${pki}/apiserver-kubelet-client.crt`,
            `--kubelet-client-key=${pki}/apiserver-kubelet-client.key`,
            "--kubelet-preferred-address-types=InternalIP",
            `--requestheader-client-ca-file=${pki}/front-proxy-ca.crt`,
            `--requestheader-allowed-names=${frontProxyName}`,
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            `--proxy-client-cert-file=${pki}/front-proxy-client.crt`,
            `--proxy-client-key-file=${pki}/front-proxy-client.key`,
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            `--service-account-key-file=${pki}/service-account.pub`,
            `--service-account-signing-key-file=${pki}/service-account.key`,
            `--service-cluster-ip-range=${settings.serviceSubnet}`,
            "--profiling=false",
        ],
        reads: [
            "ca.crt",
            "apiserver.crt",
            "etcd-client.crt",
            "apiserver-kubelet-client.crt",
            "service-account.pub",
        ].map((file) => join(pki, file)),
        listeners: [{ host: "127.0.0.1", port: api, variable: "KE1_API_PORT" }],
        probe: async () => expectStatus(await getFromApi(settings, "/readyz"), 200),
        patienceMs: 5000,
    };
}

/** More requests a second than a shared control plane would allow: many builds at once must not wait for a quota. */
export const clientRate = { qps: 200, burst: 400 } as const;

export function controllerManagerSpec(settings: Settings): DaemonSpec {
    const pki = pkiDirectory(settings);
    const port = settings.ports.controllerManager;
    const kubeconfig = kubeconfigPath(settings, "controller-manager");
    return {
        name: "kube-controller-manager",
        address: `https://127.0.0.1:${port}`,
        version: () => Promise.resolve(kubernetesVersion()),
        command: [
            binary(settings, "kube-controller-manager"),
            "--bind-address=127.0.0.1",
            `--secure-port=${port}`,
            `--tls-cert-file=${pki}/loopback.crt`,
            `--tls-private-key-file=${pki}/loopback.key`,
            `--kubeconfig=${kubeconfig}`,
            `--authentication-kubeconfig=${kubeconfig}`,
            `--authorization-kubeconfig=${kubeconfig}`,
            `--root-ca-file=${pki}/ca.crt`,
            `--service-account-private-key-file=${pki}/service-account.key`,
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            `--kube-api-qps=${clientRate.qps}`,
            `--kube-api-burst=${clientRate.burst}`,
            "--profiling=false",
        ],
        reads: [kubeconfig, join(pki, "loopback.crt"), join(pki, "service-account.pub")],
        listeners: [{ host: "127.0.0.1", port, variable: "KE1_CONTROLLER_MANAGER_PORT" }],
        probe: async () => expectStatus(await healthOf(settings, port), 200),
        patienceMs: 5000,
    };
}

export function schedulerSpec(settings: Settings): DaemonSpec {
    const pki = pkiDirectory(settings);
    const port = settings.ports.scheduler;
    const kubeconfig = kubeconfigPath(settings, "scheduler");
    const config = join(settings.home, "kubernetes", "scheduler.yaml");
    const content = stringify({
        apiVersion: "kubescheduler.config.k8s.io/v1",
        kind: "KubeSchedulerConfiguration",
        clientConnection: { kubeconfig, ...clientRate },
        leaderElection: { leaderElect: false },
        enableProfiling: false,
    });
    return {
        name: "kube-scheduler",
        address: `https://127.0.0.1:${port}`,
        version: () => Promise.resolve(kubernetesVersion()),
        command: [
            binary(settings, "kube-scheduler"),
            `--config=${config}`,
            "--bind-address=127.0.0.1",
            `--secure-port=${port}`,
            `--tls-cert-file=${pki}/loopback.crt`,
            `--tls-private-key-file=${pki}/loopback.key`,
            `--authentication-kubeconfig=${kubeconfig}`,
            `--authorization-kubeconfig=${kubeconfig}`,
        ],
        files: [{ path: config, content }],
        reads: [kubeconfig, join(pki, "loopback.crt")],
        listeners: [{ host: "127.0.0.1", port, variable: "KE1_SCHEDULER_PORT" }],
        probe: async () => expectStatus(await healthOf(settings, port), 200),
        patienceMs: 5000,
    };
}

async function healthOf(settings: Settings, port: number): Promise<Answer> {
    const url = `https://127.0.0.1:${port}/healthz`;
    return getWithCertificate(url, pkiDirectory(settings), { ca: "ca", client: "admin" });
}
