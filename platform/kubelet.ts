import { join } from "node:path";
import { stringify } from "yaml";
import { binary } from "./binaries";
import { cgroupName } from "./cgroups";
import { containerdSocket } from "./containerd";
import { clientRate, getFromApi } from "./controlPlane";
import type { DaemonSpec } from "./daemon";
import { kubeconfigPath } from "./kubeconfig";
import { pkiDirectory } from "./pki";
import { expectStatus, get } from "./probes";
import type { Settings } from "./settings";
import { kubernetesVersion } from "./versions";

export function kubeletSpec(settings: Settings): DaemonSpec {
    const pki = pkiDirectory(settings);
    const kubeconfig = kubeconfigPath(settings, "kubelet-client");
    const config = join(settings.home, "kubernetes", "kubelet.yaml");
    const { kubelet, kubeletHealth } = settings.ports;
    const podLogs = join(settings.home, "logs", "pods");
    return {
        name: "kubelet",
        address: `https://${settings.pods.address}:${kubelet}`,
        version: () => Promise.resolve(kubernetesVersion()),
        command: [
            binary(settings, "kubelet"),
            `--config=${config}`,
            `--kubeconfig=${kubeconfig}`,
            `--root-dir=${join(settings.home, "kubelet")}`,
            `--cert-dir=${pki}`,
            `--hostname-override=${settings.nodeName}`,
            `--node-ip=${settings.pods.address}`,
        ],
        files: [{ path: config, content: stringify(kubeletConfig(settings, podLogs)) }],
        reads: [kubeconfig, join(pki, "kubelet.crt")],
        directories: [podLogs],
        listeners: [
            { host: settings.pods.address, port: kubelet, variable: "KE1_KUBELET_PORT" },
            { host: "127.0.0.1", port: kubeletHealth, variable: "KE1_KUBELET_HEALTH_PORT" },
        ],
        probe: async () => expectStatus(await get(`http://127.0.0.1:${kubeletHealth}/healthz`), 200),
        patienceMs: 10_000,
    };
}

/**
 * @param since when the kubelet was started, ISO 8601: what its former life reported does not count
 * @throws Error while the node is not ready for pods, or is kept from them by a taint
 */
export async function requireNodeReady(settings: Settings, since: string): Promise<void> {
    const answer = await getFromApi(settings, `/api/v1/nodes/${settings.nodeName}`);
    expectStatus(answer, 200);
    const { metadata, spec, status } = JSON.parse(answer.body) as {
        readonly metadata: { readonly creationTimestamp: string };
        readonly spec: { readonly taints?: readonly { readonly key: string; readonly effect: string }[] };
        readonly status: {
            readonly conditions?: readonly {
                readonly type: string;
                readonly status: string;
                readonly message: string;
            }[];
        };
    };
    // Creation is noted in whole seconds. A new node has no former life, and its first lease may take ten seconds.
    const isNew = Date.parse(metadata.creationTimestamp) >= Math.floor(Date.parse(since) / 1000) * 1000;
    if (!isNew && (await lastRenewal(settings)) < Date.parse(since)) {
        throw new Error("the node has not reported since its kubelet was started");
    }
    const ready = status.conditions?.find(({ type }) => type === "Ready");
    if (ready?.status !== "True") {
        throw new Error(`the node is not ready: ${ready?.message ?? "it has not reported yet"}`);
    }
    const taint = spec.taints?.find(({ effect }) => effect !== "PreferNoSchedule");
    if (taint !== undefined) {
        throw new Error(`the node has the taint ${taint.key}:${taint.effect}`);
    }
}

/** When the kubelet last said that it is alive, in milliseconds since 1970. */
async function lastRenewal(settings: Settings): Promise<number> {
    const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    const answer = await getFromApi(settings, `${leases}/${settings.nodeName}`);
    expectStatus(answer, 200);
    const { spec } = JSON.parse(answer.body) as { readonly spec: { readonly renewTime: string } };
    return Date.parse(spec.renewTime);
}

function kubeletConfig(settings: Settings, podLogsDir: string): object {
    const pki = pkiDirectory(settings);
    const endpoint = `unix://${containerdSocket(settings)}`;
    return {
        apiVersion: "kubelet.config.k8s.io/v1beta1",
        kind: "KubeletConfiguration",
        address: settings.pods.address,
        port: settings.ports.kubelet,
        readOnlyPort: 0,
        healthzBindAddress: "127.0.0.1",
        healthzPort: settings.ports.kubeletHealth,
        tlsCertFile: join(pki, "kubelet.crt"),
        tlsPrivateKeyFile: join(pki, "kubelet.key"),
        authentication: {
            anonymous: { enabled: false },
            webhook: { enabled: true },
            x509: { clientCAFile: join(pki, "ca.crt") },
        },
        authorization: { mode: "Webhook" },
        containerRuntimeEndpoint: endpoint,
        imageServiceEndpoint: endpoint,
        cgroupDriver: "cgroupfs",
        cgroupRoot: `/${cgroupName(settings)}`,
        failSwapOn: false,
        makeIPTablesUtilChains: false,
        podLogsDir,
        // Nothing answers there: lookups fail at once, and no pod raises MissingClusterDNS.
        clusterDNS: [settings.pods.address],
        clusterDomain: "cluster.local",
        resolvConf: "",
        serializeImagePulls: false,
        kubeAPIQPS: clientRate.qps,
        kubeAPIBurst: clientRate.burst,
        eventRecordQPS: 100,
        eventBurst: 200,
        containerLogMaxSize: "50Mi",
        // By what is left, not by what is taken: a workstation's disk may well be 90 % full.
        evictionHard: {
            "memory.available": "100Mi",
            "nodefs.available": "1Gi",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1Gi",
        },
        evictionPressureTransitionPeriod: "30s",
        imageGCHighThresholdPercent: 100,
        imageGCLowThresholdPercent: 99,
        imageMaximumGCAge: "168h",
    };
}
