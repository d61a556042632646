import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { commonLabels } from "./labels";

export interface LaunchAccessArgs {
    readonly namespace: pulumi.Input<string>;
    /** Groups, as the cluster knows them: on AKS, object ids of groups of Entra. */
    readonly groups: readonly string[];
    /** The servers that builds are tested with: whoever launches builds scales them. */
    readonly dependencies: Readonly<Record<string, unknown>>;
}

/** To scale a server, and to leave where it is. */
const dependencyRules = [
    { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "patch"] },
    { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "create", "patch"] },
];

/**
 * What a person needs in the cluster to launch a build, await it, and say why it failed: to make, watch, suspend and
 * remove Jobs, and to see their pods, logs and events. Nothing of Secrets, and no way into a pod.
 */
export class LaunchAccess extends pulumi.ComponentResource {
    public constructor(name: string, args: LaunchAccessArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:LaunchAccess", name, {}, opts);
        const child = { parent: this };
        const metadata = { namespace: args.namespace, name: "ke1-launch", labels: commonLabels };
        const look = ["get", "list", "watch"];

        const role = new k8s.rbac.v1.Role(
            `${name}-role`,
            {
                metadata,
                rules: [
                    {
                        apiGroups: ["batch"],
                        resources: ["jobs"],
                        verbs: [...look, "create", "patch", "delete"],
                    },
                    // To delete: a pod of a node that is lost would keep its build from being started again.
                    { apiGroups: [""], resources: ["pods"], verbs: [...look, "delete"] },
                    // What an init container printed that was killed: there was no exporter yet to store it.
                    { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
                    { apiGroups: [""], resources: ["events"], verbs: [...look, "create"] },
                    // A queued Job is cancelled through its Workload.
                    { apiGroups: ["kueue.x-k8s.io"], resources: ["workloads"], verbs: ["get", "list", "patch"] },
                    ...(Object.keys(args.dependencies).length > 0 ? dependencyRules : []),
                ],
            },
            child,
        );
        new k8s.rbac.v1.RoleBinding(
            `${name}-binding`,
            {
                metadata,
                roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: role.metadata.name },
                subjects: args.groups.map((group) => ({
                    apiGroup: "rbac.authorization.k8s.io",
                    kind: "Group",
                    name: group,
                })),
            },
            child,
        );
        this.registerOutputs({});
    }
}
