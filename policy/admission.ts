import { exactType, policy, shown } from "./rule";

const registration = "kubernetes:admissionregistration.k8s.io/v1:";

export const admissionPolicy = policy<{ readonly spec?: { readonly failurePolicy?: string } }>({
    name: "admission-policy",
    description: "What the cluster cannot judge by its rules, it turns away.",
    types: exactType(`${registration}ValidatingAdmissionPolicy`),
    examine: ({ spec }, check) => {
        check(() =>
            spec?.failurePolicy === "Fail"
                ? undefined
                : `set spec.failurePolicy to Fail (it is ${shown(spec?.failurePolicy)}): a rule that cannot be evaluated would hold`,
        );
    },
});

interface Binding {
    readonly spec?: {
        readonly validationActions?: readonly string[];
        readonly paramRef?: { readonly parameterNotFoundAction?: string };
        readonly matchResources?: { readonly namespaceSelector?: { readonly matchLabels?: object } };
    };
}

export const admissionBinding = policy<Binding>({
    name: "admission-binding",
    description: "The rules for Jobs deny, in the builds' namespace and in no other.",
    types: exactType(`${registration}ValidatingAdmissionPolicyBinding`),
    examine: ({ spec }, check) => {
        check(() =>
            spec?.validationActions?.includes("Deny")
                ? undefined
                : `add Deny to spec.validationActions (they are ${shown(spec?.validationActions)}): what breaks a rule would run`,
        );
        check(() =>
            spec?.paramRef && spec.paramRef.parameterNotFoundAction !== "Deny"
                ? "set spec.paramRef.parameterNotFoundAction to Deny: without its parameters no rule would be judged"
                : undefined,
        );
        check(() =>
            Object.keys(spec?.matchResources?.namespaceSelector?.matchLabels ?? {}).length > 0
                ? undefined
                : "name the builds' namespace in spec.matchResources.namespaceSelector: Jobs of all others would be judged",
        );
    },
});
