import { createHash } from "node:crypto";

import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { BuildEgressArgs } from "./egress";
import { declareEgress } from "./egress";
import type { ExportArgs } from "./exports";
import { commonLabels } from "./labels";
import { declareReceiverAccess } from "./receiverAccess";

export interface BuildNamespaceArgs {
    /** The namespace's name. */
    readonly name: pulumi.Input<string>;
    /** How many build pods there may be at once; more are queued by the Job controller. */
    readonly maxPods: pulumi.Input<number>;
    /** Whether mirrors are kept in it: one pod and one volume more. */
    readonly hasMirrors?: boolean;
    /** How many servers that builds are tested with may run in it: as many pods more. */
    readonly dependencies?: number;
    /** Whether the namespace is to be made; otherwise it is there, and its own labels and annotations are left alone. */
    readonly create: boolean;
    /**
     * Whether all of this is there already: the namespace is one of those that a service's stack keeps for builds
     * (components/buildSlot.ts), and what is declared here is the wrapper's name and nothing else.
     */
    readonly isPrepared?: boolean;
    /** What a build's pod may reach: where the exporter sends logs and artifacts, and gets its token from. */
    readonly egress: Pick<BuildEgressArgs, "endpoints" | "privateAddresses" | "flavor">;
    /** Who else is told of builds. */
    readonly exports: ExportArgs;
    /** The POSIX shell script that builds are run by. */
    readonly wrapperScript: string;
}

/**
 * A namespace in which untrusted builds can run: Pod Security `restricted`, a quota, no network but the way to the blob
 * store, and the wrapper script that every build is started by.
 */
export class BuildNamespace extends pulumi.ComponentResource {
    /** The namespace's name, known once it is there. */
    public readonly name: pulumi.Output<string>;
    /** The ConfigMap whose key `wrap` is the wrapper script. */
    public readonly wrapperConfigMap: pulumi.Output<string>;

    public constructor(name: string, args: BuildNamespaceArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:BuildNamespace", name, {}, opts);
        const child = { parent: this };
        // Immutable, and named by its content: a build under way never sees the script change, and kubelet need not watch it.
        const digest = createHash("sha256").update(args.wrapperScript).digest("hex");
        const wrapperName = `ke1-wrapper-${digest.slice(0, 10)}`;
        if (args.isPrepared) {
            this.name = pulumi.output(args.name);
            this.wrapperConfigMap = pulumi.output(wrapperName);
            this.registerOutputs({ name: this.name, wrapperConfigMap: this.wrapperConfigMap });
            return;
        }

        this.name = args.create ? declareNamespace(name, args.name, child) : pulumi.output(args.name);
        const metadata = { namespace: this.name, labels: commonLabels };

        new k8s.core.v1.ResourceQuota(
            `${name}-quota`,
            {
                metadata: { ...metadata, name: "builds" },
                spec: {
                    hard: {
                        pods: pulumi
                            .output(args.maxPods)
                            .apply((pods) => String(pods + (args.hasMirrors ? 1 : 0) + (args.dependencies ?? 0))),
                        // A build needs none of these, so none can be made with a build's name on it.
                        services: "0",
                        persistentvolumeclaims: args.hasMirrors ? "1" : "0",
                    },
                },
            },
            // The quota's status is filled in by a controller; nothing here waits for it.
            { ...child, ignoreChanges: ["status"] },
        );

        new k8s.networking.v1.NetworkPolicy(
            `${name}-deny`,
            {
                metadata: { ...metadata, name: "default-deny" },
                spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
            },
            child,
        );
        declareEgress(`${name}-export`, { ...args.egress, namespace: this.name }, child);

        declareReceiverAccess(name, { ...args.exports, namespace: this.name, flavor: args.egress.flavor }, child);

        const wrapper = new k8s.core.v1.ConfigMap(
            `${name}-wrapper`,
            {
                metadata: { ...metadata, name: wrapperName },
                immutable: true,
                data: { wrap: args.wrapperScript },
            },
            child,
        );
        this.wrapperConfigMap = wrapper.metadata.name;

        this.registerOutputs({ name: this.name, wrapperConfigMap: this.wrapperConfigMap });
    }
}

/** A namespace whose pods have no privilege. */
export function declareNamespace(
    name: string,
    namespaceName: pulumi.Input<string>,
    opts: pulumi.CustomResourceOptions,
): pulumi.Output<string> {
    const namespace = new k8s.core.v1.Namespace(
        `${name}-namespace`,
        {
            metadata: {
                name: namespaceName,
                labels: {
                    ...commonLabels,
                    // https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/audit": "restricted",
                    "pod-security.kubernetes.io/warn": "restricted",
                },
            },
        },
        opts,
    );
    return namespace.metadata.name;
}
