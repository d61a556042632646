import { exactType, policy, shown } from "./rule";

interface PolicyRule {
    readonly apiGroups?: readonly string[];
    readonly resources?: readonly string[];
    readonly resourceNames?: readonly string[];
    readonly verbs?: readonly string[];
}

const rbac = "kubernetes:rbac.authorization.k8s.io/v1";

/**
 * What leads to every other right of the namespace, or out of it
 * (https://kubernetes.io/docs/concepts/security/rbac-good-practices/#privilege-escalation-risks).
 */
const waysUp: ReadonlySet<string> = new Set([
    ...["pods/exec", "pods/portforward", "pods/ephemeralcontainers", "pods/proxy"],
    ...["serviceaccounts/token", "roles", "rolebindings", "clusterroles", "clusterrolebindings"],
    ...["resourcequotas", "networkpolicies", "namespaces", "nodes", "nodes/proxy", "persistentvolumes"],
]);
const verbsUp: ReadonlySet<string> = new Set(["escalate", "bind", "impersonate", "deletecollection"]);
/** Who may make a Secret, or remove it, cannot see what is in it. */
const opens: ReadonlySet<string> = new Set(["get", "list", "watch", "update", "patch"]);

export const role = policy<{ readonly rules?: readonly PolicyRule[] }>({
    name: "least-role",
    description: "Who launches builds may make and watch their Jobs, and change nothing of what is around them.",
    types: exactType(`${rbac}:Role`),
    examine: ({ rules }, check) => {
        for (const rule of rules ?? []) {
            const { apiGroups = [], resources = [], verbs = [], resourceNames = [] } = rule;
            check(() =>
                [...apiGroups, ...resources, ...verbs].includes("*")
                    ? `name what the rule for ${shown(resources)} allows: * is also what the cluster learns later`
                    : undefined,
            );
            check(() => {
                const found = resources.find((resource) => waysUp.has(resource));
                return found && `leave out ${found}: it leads to rights that builds are kept from`;
            });
            check(() => {
                const found = verbs.find((verb) => verbsUp.has(verb));
                return found && `leave out the verb ${found}: it leads to rights that builds are kept from`;
            });
            check(() =>
                resources.includes("secrets") && resourceNames.length === 0 && verbs.some((verb) => opens.has(verb))
                    ? "name the Secrets in resourceNames: the rule opens all of the namespace's"
                    : undefined,
            );
        }
    },
});

export const boundRole = policy<{ readonly roleRef?: { readonly kind?: string } }>({
    name: "role-binding",
    description: "A right of the stack's own is given, not one that the cluster may widen.",
    types: exactType(`${rbac}:RoleBinding`),
    examine: ({ roleRef }, check) => {
        check(() =>
            roleRef?.kind === "Role"
                ? undefined
                : `bind a Role of the stack's own (it is ${shown(roleRef?.kind)}): what another one allows is not seen here`,
        );
    },
});

export const noClusterRole = policy<object>({
    name: "no-cluster-role",
    description: "Nobody is given a right on all of the cluster.",
    types: /^kubernetes:rbac\.authorization\.k8s\.io\/v1:ClusterRole(Binding)?$/,
    examine: (_, check) => {
        check(() => "leave it out: nothing of builds needs a right outside of their namespaces");
    },
});

export const serviceToken = policy<{
    readonly spec?: { readonly template?: { readonly spec?: { readonly automountServiceAccountToken?: boolean } } };
}>({
    name: "service-token",
    description: "A container has a token for the cluster where it is mounted into it, and nowhere else.",
    types: /^kubernetes:apps\/v1:(Deployment|StatefulSet)$/,
    examine: ({ spec }, check) => {
        check(() =>
            spec?.template?.spec?.automountServiceAccountToken === false
                ? undefined
                : "set automountServiceAccountToken to false: each container would hold a token for the cluster",
        );
    },
});
