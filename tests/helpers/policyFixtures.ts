import type * as authorization from "@pulumi/azure-native/authorization";
import type * as managedidentity from "@pulumi/azure-native/managedidentity";
import type * as storage from "@pulumi/azure-native/storage";
import type * as docker from "@pulumi/docker";
import type * as k8s from "@pulumi/kubernetes";

import type { Declaration } from "./policyPack";
import { rightService } from "./serviceFixtures";

export const enforce = "pod-security.kubernetes.io/enforce";
export const skipped = "azure.workload.identity/skip-containers";

const digest = `sha256:${"a".repeat(64)}`;
const group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/ke-1";
const account = { resourceGroupName: "ke-1", accountName: "kerbodyne" };
const blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
const labels = { "ke1.dev/build-tag": "v1.0.2" };
const restricted = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };

const job: k8s.batch.v1.JobArgs = {
    metadata: { name: "ke-1-build-v1-0-2-0a1b2c3d", labels },
    spec: {
        template: {
            metadata: {
                labels: { ...labels, "azure.workload.identity/use": "true" },
                annotations: { [skipped]: "build" },
            },
            spec: {
                restartPolicy: "Never",
                automountServiceAccountToken: false,
                securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
                containers: [
                    {
                        name: "build",
                        image: `ghcr.io/kerbodyne/ke-1-build@${digest}`,
                        env: [{ name: "BUILD_TAG", value: "v1.0.2" }],
                        securityContext: restricted,
                        volumeMounts: [{ name: "shared", mountPath: "/ke1/shared" }],
                    },
                    {
                        name: "exporter",
                        image: `ghcr.io/kerbodyne/ke-1-exporter@${digest}`,
                        securityContext: restricted,
                        volumeMounts: [
                            { name: "shared", mountPath: "/ke1/shared" },
                            { name: "credential", mountPath: "/ke1/credential" },
                        ],
                    },
                ],
                volumes: [
                    { name: "shared", emptyDir: {} },
                    { name: "credential", secret: { secretName: "ke1-blob-credential" } },
                ],
            },
        },
    },
};

/** One right resource of each type that a policy is about; the provider's own types check its properties' names. */
export const right = {
    ...rightService,
    StorageAccount: {
        type: "azure-native:storage:StorageAccount",
        options: { protect: true },
        inputs: {
            ...account,
            kind: "StorageV2",
            sku: { name: "Standard_ZRS" },
            minimumTlsVersion: "TLS1_2",
            enableHttpsTrafficOnly: true,
            allowSharedKeyAccess: false,
            allowBlobPublicAccess: false,
            allowCrossTenantReplication: false,
            encryption: { requireInfrastructureEncryption: true },
            networkRuleSet: { defaultAction: "Deny", ipRules: [{ iPAddressOrRange: "192.0.2.1" }] },
        } satisfies storage.StorageAccountArgs,
    },
    BlobServiceProperties: {
        type: "azure-native:storage:BlobServiceProperties",
        options: { protect: true },
        inputs: {
            ...account,
            isVersioningEnabled: true,
            deleteRetentionPolicy: { enabled: true, days: 30 },
            containerDeleteRetentionPolicy: { enabled: true, days: 30 },
        } satisfies storage.BlobServicePropertiesArgs,
    },
    BlobContainer: {
        type: "azure-native:storage:BlobContainer",
        options: { protect: true },
        inputs: {
            ...account,
            containerName: "ke-1-builds",
            publicAccess: "None",
        } satisfies Unlisted<storage.BlobContainerArgs, "publicAccess">,
    },
    RoleDefinition: {
        type: "azure-native:authorization:RoleDefinition",
        inputs: {
            roleName: "KE-1 build writer",
            scope: group,
            assignableScopes: [group],
            permissions: [{ actions: [], dataActions: [`${blobs}/read`, `${blobs}/write`, `${blobs}/add/action`] }],
        } satisfies authorization.RoleDefinitionArgs,
    },
    RoleAssignment: {
        type: "azure-native:authorization:RoleAssignment",
        inputs: {
            scope: `${group}/providers/Microsoft.Storage/storageAccounts/kerbodyne/blobServices/default/containers/ke-1-builds`,
            roleDefinitionId: `${group}/providers/Microsoft.Authorization/roleDefinitions/6f1d2c52-3f0a-5c1b-9a52-0c7f6f3a9d44`,
            principalId: "11111111-1111-1111-1111-111111111111",
            principalType: "ServicePrincipal",
        } satisfies authorization.RoleAssignmentArgs,
    },
    FederatedIdentityCredential: {
        type: "azure-native:managedidentity:FederatedIdentityCredential",
        inputs: {
            resourceGroupName: "ke-1",
            resourceName: "ke1-build",
            issuer: "https://westeurope.oic.prod-aks.azure.com/tenant/cluster/",
            subject: "system:serviceaccount:ke-1-build-azure:ke1-build",
            audiences: ["api://AzureADTokenExchange"],
        } satisfies managedidentity.FederatedIdentityCredentialArgs,
    },
    Job: { type: "kubernetes:batch/v1:Job", inputs: job },
    /** A Job whose exporter has a Secret in place of an identity. */
    JobWithSecret: {
        type: "kubernetes:batch/v1:Job",
        inputs: { ...job, spec: withLabels(job, labels) },
    },
    Namespace: {
        type: "kubernetes:core/v1:Namespace",
        inputs: {
            metadata: { name: "builds", labels: { [enforce]: "restricted" } },
        } satisfies k8s.core.v1.NamespaceArgs,
    },
    /** Where images are built. */
    ImageNamespace: {
        type: "kubernetes:core/v1:Namespace",
        inputs: {
            metadata: {
                name: "images",
                labels: { [enforce]: "baseline", "app.kubernetes.io/component": "image-build" },
            },
        } satisfies k8s.core.v1.NamespaceArgs,
    },
    DenyAll: {
        type: "kubernetes:networking.k8s.io/v1:NetworkPolicy",
        inputs: {
            spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
        } satisfies k8s.networking.v1.NetworkPolicyArgs,
    },
    NetworkPolicy: {
        type: "kubernetes:networking.k8s.io/v1:NetworkPolicy",
        inputs: {
            spec: {
                podSelector: { matchLabels: { "app.kubernetes.io/component": "build" } },
                policyTypes: ["Egress"],
                egress: [
                    {
                        to: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["169.254.0.0/16", "168.63.129.16/32"] } }],
                        ports: [{ protocol: "TCP", port: 443 }],
                    },
                    {
                        to: [
                            {
                                namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
                                podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
                            },
                        ],
                        ports: [{ protocol: "UDP", port: 53 }],
                    },
                ],
            },
        } satisfies k8s.networking.v1.NetworkPolicyArgs,
    },
    CiliumNetworkPolicy: {
        type: "kubernetes:cilium.io/v2:CiliumNetworkPolicy",
        inputs: {
            spec: {
                egress: [
                    {
                        toFQDNs: [{ matchName: "kerbodyne.blob.core.windows.net" }],
                        toPorts: [{ ports: [{ port: "443", protocol: "TCP" }] }],
                    },
                    {
                        toEndpoints: [{ matchLabels: { "k8s:k8s-app": "kube-dns" } }],
                        toPorts: [{ ports: [{ port: "53", protocol: "ANY" }] }],
                    },
                ],
            },
        },
    },
    AdmissionPolicy: {
        type: "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy",
        inputs: {
            spec: { failurePolicy: "Fail", validations: [{ expression: "true" }] },
        } satisfies k8s.admissionregistration.v1.ValidatingAdmissionPolicyArgs,
    },
    AdmissionBinding: {
        type: "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding",
        inputs: {
            spec: {
                policyName: "ke1-builds",
                validationActions: ["Deny"],
                matchResources: { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "builds" } } },
                paramRef: { name: "ke1-admission", namespace: "builds", parameterNotFoundAction: "Deny" },
            },
        } satisfies k8s.admissionregistration.v1.ValidatingAdmissionPolicyBindingArgs,
    },
    Image: {
        type: "docker:index/image:Image",
        inputs: { imageName: "localhost:5000/kerbodyne/ke-1-build:v1.0.2" } satisfies docker.ImageArgs,
    },
} satisfies Record<string, Declaration>;

/** An enumeration's values may be written as the text that they are. */
type Unlisted<T, K extends keyof T> = Omit<T, K> & { readonly [P in K]?: string };

function withLabels(args: k8s.batch.v1.JobArgs, podLabels: Readonly<Record<string, string>>): object {
    const spec = JSON.parse(JSON.stringify(args.spec));
    spec.template.metadata = { labels: podLabels };
    return spec;
}
