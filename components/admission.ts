import { createHash } from "node:crypto";

import * as command from "@pulumi/command";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { UserRule } from "../admission/judge";
import { allRules } from "../admission/judge";
import { quoted, variables } from "../admission/rules";
import { probeAnnotation } from "../contract/labels";
import { commonLabels } from "./labels";

export interface AdmissionArgs {
    /** The builds' namespace: Jobs of others are not looked at. */
    readonly namespace: pulumi.Input<string>;
    /** The same, known from the start: what has no namespace is named after it. */
    readonly namespaceName: string;
    /** What the cluster's nodes offer, as the rules take it; empty where that is not known. */
    readonly nodes: string;
    /** The user's own. */
    readonly rules: readonly UserRule[];
    readonly kubeconfig: pulumi.Input<string>;
    readonly kubeContext: pulumi.Input<string>;
}

/**
 * The rules for build Jobs in the cluster itself, which turns away whatever breaks one, whoever sends it: a
 * ValidatingAdmissionPolicy, bound to one namespace (https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/).
 * Policies have no namespace, so that this takes rights on all of the cluster.
 */
export class Admission extends pulumi.ComponentResource {
    /** Is there when the rules are in force; what is to be judged by them depends on it. */
    public readonly enforced: pulumi.Resource;

    public constructor(name: string, args: AdmissionArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:Admission", name, {}, opts);
        const child = { parent: this };
        const policyName = `ke1-${args.namespaceName}`;
        const validations = allRules(args.rules).map(({ expression, messageExpression }) => ({
            expression,
            messageExpression,
        }));
        // No parameter of the policy's: an API server that has once seen the last policy with a ConfigMap for one go finds
        // none for any other until it is started again (https://github.com/kubernetes/kubernetes/issues/130887).
        const known = [{ name: "nodes", expression: quoted(args.nodes) }, ...variables];
        const version = createHash("sha256")
            .update(JSON.stringify([known, validations]))
            .digest("hex")
            .slice(0, 12);

        const policy = new k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
            `${name}-policy`,
            {
                metadata: { name: policyName, labels: commonLabels },
                spec: {
                    failurePolicy: "Fail",
                    matchConstraints: {
                        matchPolicy: "Equivalent",
                        resourceRules: [
                            {
                                apiGroups: ["batch"],
                                apiVersions: ["v1"],
                                resources: ["jobs"],
                                operations: ["CREATE", "UPDATE"],
                                scope: "Namespaced",
                            },
                        ],
                    },
                    // A Job that was made by earlier rules can still be suspended, let go and removed.
                    matchConditions: [{ name: "new", expression: isNew }],
                    variables: known.map((variable) => ({ ...variable })),
                    validations: [probe(version), ...validations],
                },
            },
            // Its types are checked by a controller; `ke1 admission` reads what that has found.
            { ...child, ignoreChanges: ["status"] },
        );
        const binding = new k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            `${name}-binding`,
            {
                metadata: { name: policyName, labels: commonLabels },
                spec: {
                    policyName: policy.metadata.name,
                    validationActions: ["Deny"],
                    matchResources: {
                        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": args.namespace } },
                    },
                },
            },
            child,
        );
        this.enforced = new command.local.Command(
            `${name}-enforced`,
            {
                create: "bin/ke1 admission",
                environment: {
                    KE1_KUBECONFIG: args.kubeconfig,
                    KE1_KUBE_CONTEXT: args.kubeContext,
                    KE1_NAMESPACE: args.namespace,
                    KE1_POLICY: binding.metadata.name,
                    // Not read: rules that were made anew are awaited anew.
                    KE1_POLICY_UIDS: pulumi.interpolate`${policy.metadata.uid} ${binding.metadata.uid}`,
                    KE1_POLICY_VERSION: version,
                    // What the type checker says of them is told by name.
                    KE1_POLICY_RULES: JSON.stringify(["probe", ...allRules(args.rules).map((rule) => rule.name)]),
                },
                addPreviousOutputInEnv: false,
                logging: "stderr",
            },
            child,
        );
        this.registerOutputs({});
    }
}

const isNew =
    'request.operation == "CREATE" || object.spec.template != oldObject.spec.template || ' +
    "object.metadata.?labels != oldObject.metadata.?labels || " +
    "object.spec.?activeDeadlineSeconds != oldObject.spec.?activeDeadlineSeconds";

/**
 * A policy is enforced a moment after the cluster has taken it. A Job with this annotation is turned away with the version
 * of the policy that has judged it, which tells when that moment has come.
 */
function probe(version: string): { readonly expression: string; readonly messageExpression: string } {
    return {
        expression: `!object.metadata.?annotations[?${quoted(probeAnnotation)}].hasValue()`,
        messageExpression: quoted(`probed ${version}`),
    };
}
