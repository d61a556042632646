import type * as k8s from "@pulumi/kubernetes";

const digest = `sha256:${"a".repeat(64)}`;

/** What a service's stack declares, as far as policies are about it. */
export const rightService = {
    Deployment: {
        type: "kubernetes:apps/v1:Deployment",
        inputs: {
            spec: {
                selector: { matchLabels: { app: "service" } },
                template: {
                    spec: {
                        automountServiceAccountToken: false,
                        securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
                        containers: [
                            {
                                name: "serve",
                                image: `ghcr.io/kerbodyne/ke-1-service@${digest}`,
                                securityContext: {
                                    allowPrivilegeEscalation: false,
                                    capabilities: { drop: ["ALL"] },
                                },
                            },
                        ],
                    },
                },
            },
        } satisfies k8s.apps.v1.DeploymentArgs,
    },
    Role: {
        type: "kubernetes:rbac.authorization.k8s.io/v1:Role",
        inputs: {
            rules: [
                { apiGroups: ["batch"], resources: ["jobs"], verbs: ["create", "get"] },
                { apiGroups: [""], resources: ["secrets"], resourceNames: ["sas"], verbs: ["get", "update"] },
            ],
        } satisfies k8s.rbac.v1.RoleArgs,
    },
    RoleBinding: {
        type: "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
        inputs: {
            roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "ke1-service" },
            subjects: [{ kind: "ServiceAccount", name: "ke1-service", namespace: "service" }],
        } satisfies k8s.rbac.v1.RoleBindingArgs,
    },
};
