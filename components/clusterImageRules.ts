import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { quoted } from "../admission/rules";
import { builderCapabilities, builderContainer } from "../contract/imageBuild";
import { commonLabels } from "./labels";

const containers =
    "object.spec.containers + object.spec.?initContainers.orValue([]) + " +
    "object.spec.?ephemeralContainers.orValue([]).map(e, e)";
const others = `(${containers}).filter(c, c.name != ${quoted(builderContainer)})`;

/** What holds for every pod that builds images, also where its node leaves Pod Security no stricter level than `privileged`. */
const rules: readonly { readonly expression: string; readonly message: string }[] = [
    {
        expression: `(${containers}).all(c, !c.?securityContext.?privileged.orValue(false))`,
        message: "leave out privileged: it is root on the node",
    },
    {
        expression:
            "!object.spec.?hostNetwork.orValue(false) && !object.spec.?hostPID.orValue(false) && " +
            "!object.spec.?hostIPC.orValue(false) && !object.spec.?shareProcessNamespace.orValue(false)",
        message: "leave out hostNetwork, hostPID, hostIPC and shareProcessNamespace: an image build sees only itself",
    },
    {
        expression: "object.spec.?volumes.orValue([]).all(v, has(v.emptyDir) || has(v.secret))",
        message: "mount nothing but emptyDir, and the Secret with the registry's credential",
    },
    {
        expression: "!object.spec.?automountServiceAccountToken.orValue(true)",
        message: "set automountServiceAccountToken to false: an image build asks nothing of the cluster",
    },
    {
        expression:
            "object.spec.?securityContext.?runAsNonRoot.orValue(false) && " +
            `(${containers}).all(c, c.?securityContext.?runAsNonRoot.orValue(true) && ` +
            "c.?securityContext.?runAsUser.orValue(1) != 0)",
        message: "set runAsNonRoot to true: BuildKit's root is an ordinary user of the node",
    },
    {
        expression:
            `(${containers}).all(c, "ALL" in c.?securityContext.?capabilities.?drop.orValue([]) && ` +
            `c.?securityContext.?capabilities.?add.orValue([]).all(a, c.name == ${quoted(builderContainer)} && ` +
            `a in [${builderCapabilities.map(quoted).join(", ")}]))`,
        message: `drop ALL capabilities; ${builderContainer} alone may add ${builderCapabilities.join(" and ")}`,
    },
    {
        expression:
            `${others}.all(c, !c.?securityContext.?allowPrivilegeEscalation.orValue(true) && ` +
            'c.?securityContext.?seccompProfile.?type.orValue("RuntimeDefault") == "RuntimeDefault")',
        message: `set allowPrivilegeEscalation to false, and no seccomp profile, in all containers but ${builderContainer}`,
    },
    {
        expression:
            `(${containers}).filter(c, c.name == ${quoted(builderContainer)}).all(c, ` +
            "c.?volumeMounts.orValue([]).all(m, object.spec.volumes.all(v, v.name != m.name || has(v.emptyDir))))",
        message: `mount no Secret in ${builderContainer}: what a Dockerfile runs must not come near it`,
    },
];

/** @returns what has to be there before the rules are in force */
export function declareImageRules(
    name: string,
    namespaceName: string,
    opts: pulumi.CustomResourceOptions,
): readonly pulumi.Resource[] {
    const metadata = { name: `ke1-${namespaceName}`, labels: commonLabels };
    const policy = new k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
        `${name}-policy`,
        {
            metadata,
            spec: {
                failurePolicy: "Fail",
                matchConstraints: {
                    matchPolicy: "Equivalent",
                    resourceRules: [
                        {
                            apiGroups: [""],
                            apiVersions: ["v1"],
                            resources: ["pods", "pods/ephemeralcontainers"],
                            operations: ["CREATE", "UPDATE"],
                            scope: "Namespaced",
                        },
                    ],
                },
                validations: rules.map((rule) => ({ ...rule })),
            },
        },
        // Its types are checked by a controller.
        { ...opts, ignoreChanges: ["status"] },
    );
    const binding = new k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
        `${name}-policy-binding`,
        {
            metadata,
            spec: {
                policyName: policy.metadata.name,
                validationActions: ["Deny"],
                matchResources: {
                    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespaceName } },
                },
            },
        },
        opts,
    );
    return [policy, binding];
}
