import type * as k8s from "@pulumi/kubernetes";

type Container = k8s.types.input.core.v1.Container;
type EnvVar = k8s.types.input.core.v1.EnvVar;

/**
 * Leaves out the values of variables that are empty, which Kubernetes takes for the same
 * (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#environment-variables): the CLI's provider
 * does not keep an empty one in the state, and the other engine would see a change in that.
 */
export function withoutEmptyValues<Kind extends Container>(container: Kind): Kind {
    const env = container.env as readonly EnvVar[] | undefined;
    return env === undefined
        ? container
        : { ...container, env: env.map((each) => (each.value === "" ? { name: each.name } : each)) };
}
