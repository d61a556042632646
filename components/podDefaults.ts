import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

type PodSpec = k8s.types.input.core.v1.PodSpec;

/** What every container of this program's has: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted */
export const restricted = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };

/** And every pod. */
export function podSecurity(user: number): k8s.types.input.core.v1.PodSecurityContext {
    return {
        runAsNonRoot: true,
        runAsUser: user,
        runAsGroup: user,
        fsGroup: user,
        fsGroupChangePolicy: "OnRootMismatch",
        seccompProfile: { type: "RuntimeDefault" },
    };
}

/**
 * How a pod looks up names. Without a name to look up, the node's own resolver does, and no cluster DNS is needed. With one,
 * the policy lets pods reach the cluster's DNS alone; a name with a dot is then tried as it is before any search domain.
 */
export function nameResolution(resolvesNames: boolean): Pick<PodSpec, "dnsPolicy" | "dnsConfig"> {
    return resolvesNames
        ? { dnsPolicy: "ClusterFirst", dnsConfig: { options: [{ name: "ndots", value: "1" }] } }
        : { dnsPolicy: "Default" };
}

/** @param names Secrets of the namespace */
export function pullSecrets(names: readonly pulumi.Input<string>[]): Pick<PodSpec, "imagePullSecrets"> {
    return names.length > 0 ? { imagePullSecrets: names.map((name) => ({ name })) } : {};
}
