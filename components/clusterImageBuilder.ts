import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { ImageBuilderSettings } from "../config/imageBuilder";
import { imagePods } from "../contract/imageBuild";
import { declareImageEgress } from "./clusterImageEgress";
import { declareImageRules } from "./clusterImageRules";
import { commonLabels } from "./labels";

/** A service account of some namespace. */
export interface ServiceAccountName {
    readonly namespace: string;
    readonly name: string;
}

export interface ClusterImageBuilderArgs {
    readonly settings: ImageBuilderSettings;
    /** How many images may be built at once. */
    readonly maxPods: number;
    /** Whether the rules for its pods are declared in the cluster too, which takes rights on all of it. */
    readonly rules: boolean;
    /** Groups whose members may build images. */
    readonly launchers: readonly string[];
    /** Service accounts that may as well. */
    readonly accounts: readonly ServiceAccountName[];
}

/**
 * Where images are built in the cluster: a namespace of its own, as rootless BuildKit cannot do with Pod Security
 * `restricted`, in which builds are and stay (docs/images.md says what it needs, and why). Nothing runs in it but pods that
 * build images, each for as long as its image takes.
 */
export class ClusterImageBuilder extends pulumi.ComponentResource {
    /** The namespace's name, known once it is there. */
    public readonly namespace: pulumi.Output<string>;
    /** Are there when images can be built: whatever builds one depends on them. */
    public readonly ready: readonly pulumi.Resource[];

    public constructor(name: string, args: ClusterImageBuilderArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:ClusterImageBuilder", name, {}, opts);
        const child = { parent: this };
        const { settings } = args;
        this.namespace = settings.createNamespace
            ? new k8s.core.v1.Namespace(
                  `${name}-namespace`,
                  {
                      metadata: {
                          name: settings.namespace,
                          labels: { ...commonLabels, ...imagePods, ...levels(settings) },
                      },
                  },
                  child,
              ).metadata.name
            : pulumi.output(settings.namespace);
        const metadata = { namespace: this.namespace, labels: commonLabels };
        const quota = new k8s.core.v1.ResourceQuota(
            `${name}-quota`,
            {
                metadata: { ...metadata, name: "images" },
                spec: { hard: { pods: String(args.maxPods), services: "0", persistentvolumeclaims: "0" } },
            },
            // The quota's status is filled in by a controller; nothing here waits for it.
            { ...child, ignoreChanges: ["status"] },
        );
        const deny = new k8s.networking.v1.NetworkPolicy(
            `${name}-deny`,
            {
                metadata: { ...metadata, name: "default-deny" },
                spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
            },
            child,
        );
        const egress = declareImageEgress(name, { namespace: this.namespace, settings }, child);
        const rules = args.rules ? declareImageRules(name, settings.namespace, child) : [];
        const subjects = [
            ...args.launchers.map((group) => ({
                ...{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: group },
            })),
            ...args.accounts.map((account) => ({ kind: "ServiceAccount", ...account })),
        ];
        if (subjects.length > 0) {
            declareAccess(name, metadata, subjects, child);
        }
        this.ready = [quota, deny, egress, ...rules];
        this.registerOutputs({ namespace: this.namespace });
    }
}

/**
 * `baseline` forbids what reaches the node (https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline). It
 * also forbids to ask for no seccomp or AppArmor profile at all; where a node leaves no other way, the rules of
 * clusterImageRules.ts are what is left.
 */
function levels({ seccomp, appArmor }: ImageBuilderSettings): Readonly<Record<string, string>> {
    const level = seccomp === "unconfined" || appArmor === "unconfined" ? "privileged" : "baseline";
    return { "pod-security.kubernetes.io/enforce": level };
}

/** To make, see and end Jobs, hand them the context and a registry's credential; not to read any, nor to run anything. */
function declareAccess(
    name: string,
    metadata: { readonly namespace: pulumi.Input<string>; readonly labels: Readonly<Record<string, string>> },
    subjects: k8s.types.input.rbac.v1.Subject[],
    child: pulumi.CustomResourceOptions,
): void {
    const look = ["get", "list", "watch"];
    const role = new k8s.rbac.v1.Role(
        `${name}-role`,
        {
            metadata: { ...metadata, name: "ke1-build-images" },
            rules: [
                { apiGroups: ["batch"], resources: ["jobs"], verbs: [...look, "create", "patch", "delete"] },
                { apiGroups: [""], resources: ["pods"], verbs: look },
                { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
                // A websocket is asked for with get (https://kubernetes.io/docs/reference/access-authn-authz/authorization/).
                { apiGroups: [""], resources: ["pods/attach"], verbs: ["get", "create"] },
                { apiGroups: [""], resources: ["secrets"], verbs: ["create", "delete"] },
                { apiGroups: [""], resources: ["events"], verbs: ["get", "list"] },
            ],
        },
        child,
    );
    new k8s.rbac.v1.RoleBinding(
        `${name}-binding`,
        {
            metadata: { ...metadata, name: "ke1-build-images" },
            roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: role.metadata.name },
            subjects,
        },
        child,
    );
}
