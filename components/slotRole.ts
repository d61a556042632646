import { credentialSecret } from "../config/environments";

interface PolicyRule {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly resourceNames?: readonly string[];
    readonly verbs: readonly string[];
}

/**
 * All that a service may do in the cluster, and only in its builds' namespaces: what `ke1 up`, `cancel` and `destroy` ask
 * of a namespace that was prepared for them. docs/service-cluster.md has it as a table, and a test compares it with
 * what the cluster says.
 */
export const slotRules: readonly PolicyRule[] = [
    { apiGroups: ["batch"], resources: ["jobs"], verbs: ["create", "delete", "get", "list", "patch", "watch"] },
    // To delete: a pod of a node that is lost would keep its build from being started again.
    { apiGroups: [""], resources: ["pods"], verbs: ["delete", "list", "watch"] },
    // What an init container printed that was killed: there was no exporter yet to store it.
    { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
    { apiGroups: [""], resources: ["events"], verbs: ["create", "list"] },
    // The exporter's credential is good for two days: each day's first build brings a new one. It can be read by who can
    // replace it, and the service makes it from a key that it has anyway.
    { apiGroups: [""], resources: ["secrets"], resourceNames: [credentialSecret], verbs: ["get", "update"] },
];

/** Of a queued Job: it is cancelled through its Workload (launcher/cluster.ts). */
export const queueRule: PolicyRule = {
    apiGroups: ["kueue.x-k8s.io"],
    resources: ["workloads"],
    verbs: ["list", "patch"],
};
