import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { Admission } from "./admission";
import type { AdmissionArgs } from "./admission";
import type { BuildIdentityArgs } from "./buildIdentity";
import { BuildIdentity } from "./buildIdentity";
import type { BuildNamespaceArgs } from "./buildNamespace";
import { BuildNamespace } from "./buildNamespace";
import { checkoutLabels } from "./checkout";
import { declareEgress } from "./egress";
import { commonLabels } from "./labels";
import type { MirrorScripts } from "./mirrorPrograms";
import { programsOf } from "./mirrorPrograms";
import type { PullSecretArgs } from "./pullSecret";
import { PullSecret } from "./pullSecret";
import { queueRule, slotRules } from "./slotRole";

export interface BuildSlotArgs extends Omit<BuildNamespaceArgs, "name" | "create" | "isPrepared" | "hasMirrors"> {
    readonly name: string;
    /** Who launches builds here. */
    readonly service: { readonly namespace: pulumi.Input<string>; readonly account: pulumi.Input<string> };
    readonly identity: Omit<BuildIdentityArgs, "namespace" | "isPrepared">;
    readonly admission?: Omit<AdmissionArgs, "namespace" | "namespaceName">;
    /** The repositories that builds may fetch their source from. */
    readonly sources: readonly string[];
    readonly scripts: MirrorScripts;
    readonly runAsUser: number;
    readonly isQueued: boolean;
    /** What a pull secret is made of; absent for none. */
    readonly pull?: Omit<PullSecretArgs, "namespace">;
}

/**
 * A namespace in which a service launches its builds, one at a time. All that is around a build is declared here, and
 * cannot be changed by the service: the bounds of what runs here are not in the hands of who runs it.
 */
export class BuildSlot extends pulumi.ComponentResource {
    /** The namespace, once all of it is there. */
    public readonly namespace: pulumi.Output<string>;

    public constructor(name: string, args: BuildSlotArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:BuildSlot", name, {}, opts);
        const child = { parent: this };

        const namespace = new BuildNamespace(name, { ...args, create: true }, child);
        this.namespace = namespace.name;
        const metadata = { namespace: namespace.name, name: "ke1-service", labels: commonLabels };

        new BuildIdentity(`${name}-identity`, { ...args.identity, namespace: namespace.name }, child);
        new k8s.core.v1.ConfigMap(
            `${name}-programs`,
            programsOf(args.scripts, [], args.runAsUser, namespace.name),
            child,
        );
        if (args.sources.length > 0) {
            const { privateAddresses, flavor } = args.egress;
            const egress = { namespace: namespace.name, privateAddresses, flavor, endpoints: args.sources };
            declareEgress(`${name}-sources`, { ...egress, policy: "allow-source", pods: checkoutLabels }, child);
        }
        if (args.admission) {
            const judged = { ...args.admission, namespace: namespace.name, namespaceName: args.name };
            new Admission(`${name}-admission`, judged, child);
        }
        if (args.pull) {
            new PullSecret(`${name}-pull`, { ...args.pull, namespace: namespace.name }, child);
        }
        const role = new k8s.rbac.v1.Role(
            `${name}-role`,
            { metadata, rules: [...slotRules, ...(args.isQueued ? [queueRule] : [])].map(plain) },
            child,
        );
        new k8s.rbac.v1.RoleBinding(
            `${name}-binding`,
            {
                metadata,
                roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: role.metadata.name },
                subjects: [{ kind: "ServiceAccount", name: args.service.account, namespace: args.service.namespace }],
            },
            child,
        );
        this.registerOutputs({ namespace: this.namespace });
    }
}

/** As the SDK's types have it: lists that could be changed. */
function plain({ apiGroups, resources, resourceNames, verbs }: (typeof slotRules)[number]) {
    return {
        apiGroups: [...apiGroups],
        resources: [...resources],
        ...(resourceNames ? { resourceNames: [...resourceNames] } : {}),
        verbs: [...verbs],
    };
}
