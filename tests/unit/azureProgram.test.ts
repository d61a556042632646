import * as assert from "node:assert/strict";

import { ke1 } from "../helpers/ke1";
import type { ProgramOptions, ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testContainerId, testDigest } from "../helpers/program";
import { PolicyPack } from "../helpers/policyPack";
import { TemporaryRepository } from "../helpers/temporary";

const issuer =
    "https://westeurope.oic.prod-aks.azure.com/72f988bf-0000-4000-8000-000000000003/0e1f0000-0000-4000-8000-000000000004/";
const team = "7ea30000-0000-4000-8000-000000000005";
const blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
const resourceGroupId = testContainerId.split("/").slice(0, 5).join("/");
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const config = {
    target: "azure",
    resourceGroup: "kerbodyne-builds",
    location: "West Europe",
    storageAccount: "kerbodyne",
    registry: "ghcr.io/kerbodyne",
    kubeContext: "kerbodyne-builds",
    oidcIssuer: issuer,
    exporterImage: `ghcr.io/kerbodyne/ke-1-exporter@${testDigest}`,
};

/** What the program declares for Azure, with Pulumi's mocks in place of an engine and of Azure's control plane. */
describe("the program for azure", () => {
    let repository: TemporaryRepository;
    let tag: string;
    let run: ProgramRun;

    before(async function () {
        this.timeout(60_000);
        repository = new TemporaryRepository();
        tag = buildableRepository(repository);
        run = await azure();
    });
    after(() => repository.remove());

    async function azure(more: Record<string, string> = {}, options: Partial<ProgramOptions> = {}) {
        return runProgram({
            stack: "azure",
            ...options,
            config: { ...config, ...more },
            environment: {
                SOURCE: repository.path,
                BUILD_TAG: "",
                REGISTRY_USERNAME: "",
                REGISTRY_PASSWORD: "",
                ...options.environment,
            },
        });
    }

    const pod = (from = run) => from.one("kubernetes:batch/v1:Job").spec.template.spec;
    const container = (name: string, from = run) => pod(from).containers.find((found: any) => found.name === name);
    const one = (type: string, from = run) => from.one(`azure-native:${type}`);
    const ofAzure = (from: ProgramRun) =>
        from.declared
            .filter(({ type }) => type.startsWith("azure-native:"))
            .map(({ type, name, options }) => ({ type: type.slice("azure-native:".length), name, ...options }))
            .sort((a, b) => (a.name < b.name ? -1 : 1));

    describe("declares", () => {
        it("these resources of Azure; those of the store are protected, and retained by `destroy`", () => {
            const store = { parent: "ke1:azure:ArtifactStore::artifacts", protect: true, retainOnDelete: true };
            const identity = { parent: "ke1:azure:BuildIdentity::identity", protect: false, retainOnDelete: false };
            assert.deepEqual(ofAzure(run), [
                { type: "storage:StorageAccount", name: "artifacts-account", ...store },
                { type: "storage:BlobServiceProperties", name: "artifacts-blob-service", ...store },
                { type: "storage:BlobContainer", name: "artifacts-container", ...store },
                { type: "storage:ManagementPolicy", name: "artifacts-lifecycle", ...store },
                { type: "authorization:RoleAssignment", name: "identity-assignment", ...identity },
                { type: "managedidentity:FederatedIdentityCredential", name: "identity-federation", ...identity },
                { type: "managedidentity:UserAssignedIdentity", name: "identity-identity", ...identity },
                { type: "authorization:RoleDefinition", name: "identity-role", ...identity },
            ]);
        });

        it("a storage account that takes identities alone, over TLS 1.2, and is encrypted twice", () => {
            assert.deepEqual(one("storage:StorageAccount"), {
                resourceGroupName: "kerbodyne-builds",
                accountName: "kerbodyne",
                location: "westeurope",
                kind: "StorageV2",
                sku: { name: "Standard_ZRS" },
                accessTier: "Hot",
                minimumTlsVersion: "TLS1_2",
                enableHttpsTrafficOnly: true,
                allowSharedKeyAccess: false,
                defaultToOAuthAuthentication: true,
                allowBlobPublicAccess: false,
                allowCrossTenantReplication: false,
                allowedCopyScope: "AAD",
                isLocalUserEnabled: false,
                isSftpEnabled: false,
                encryption: {
                    keySource: "Microsoft.Storage",
                    requireInfrastructureEncryption: true,
                    services: { blob: { enabled: true, keyType: "Account" } },
                },
            });
        });

        it("versions, and a way back for what was deleted", () => {
            assert.deepEqual(one("storage:BlobServiceProperties"), {
                resourceGroupName: "kerbodyne-builds",
                accountName: "kerbodyne",
                blobServicesName: "default",
                isVersioningEnabled: true,
                deleteRetentionPolicy: { enabled: true, days: 30 },
                containerDeleteRetentionPolicy: { enabled: true, days: 30 },
            });
        });

        it("a private container", () => {
            assert.deepEqual(one("storage:BlobContainer"), {
                resourceGroupName: "kerbodyne-builds",
                accountName: "kerbodyne",
                containerName: "ke-1-builds",
                publicAccess: "None",
            });
        });

        it("a lifecycle: logs and attempts go after a while, artifacts become cool and are kept", async () => {
            const rules = (from: ProgramRun) => one("storage:ManagementPolicy", from).policy.rules;
            const rule = (name: string, blobType: string, actions: unknown) => ({
                name,
                type: "Lifecycle",
                enabled: true,
                definition: { filters: { blobTypes: [blobType], prefixMatch: ["ke-1-builds/"] }, actions },
            });
            assert.deepEqual(rules(run), [
                rule("logs-and-attempts", "appendBlob", {
                    baseBlob: { delete: { daysAfterModificationGreaterThan: 90 } },
                    version: { delete: { daysAfterCreationGreaterThan: 90 } },
                }),
                rule("artifacts", "blockBlob", { baseBlob: { tierToCool: { daysAfterModificationGreaterThan: 30 } } }),
            ]);
            const hot = await azure({ artifactCoolDays: "0", logRetentionDays: "7" });
            assert.deepEqual(
                rules(hot).map((each: any) => each.definition.actions.baseBlob),
                [{ delete: { daysAfterModificationGreaterThan: 7 } }],
            );
        });

        it("an identity for one service account of one namespace of one cluster", () => {
            assert.deepEqual(one("managedidentity:UserAssignedIdentity"), {
                resourceGroupName: "kerbodyne-builds",
                resourceName: "ke1-build-ke-1-build-azure",
                location: "westeurope",
            });
            assert.deepEqual(one("managedidentity:FederatedIdentityCredential"), {
                resourceGroupName: "kerbodyne-builds",
                resourceName: "ke1-build-ke-1-build-azure",
                federatedIdentityCredentialResourceName: "ke1-build",
                issuer,
                subject: "system:serviceaccount:ke-1-build-azure:ke1-build",
                audiences: ["api://AzureADTokenExchange"],
            });
        });

        it("a role that reads, writes and appends to blobs and does nothing else, on the one container", () => {
            const { roleDefinitionId, ...role } = one("authorization:RoleDefinition");
            assert.match(roleDefinitionId, uuid);
            assert.deepEqual(role, {
                roleName: "KE-1 build writer (kerbodyne/ke-1-builds ke-1-build-azure)",
                description:
                    "Reads, writes and appends to blobs of the container it is assigned on. No delete, no keys.",
                roleType: "CustomRole",
                scope: resourceGroupId,
                assignableScopes: [resourceGroupId],
                permissions: [
                    {
                        actions: [],
                        notActions: [],
                        dataActions: [`${blobs}/read`, `${blobs}/write`, `${blobs}/add/action`],
                        notDataActions: [],
                    },
                ],
            });
            const { roleAssignmentName, ...assignment } = one("authorization:RoleAssignment");
            assert.match(roleAssignmentName, uuid);
            assert.deepEqual(assignment, {
                scope: testContainerId,
                roleDefinitionId: "identity-role-id",
                principalId: "9c1e0000-0000-4000-8000-000000000002",
                principalType: "ServicePrincipal",
            });
        });

        it("nothing that reaches for a key, and no Command but the wait", () => {
            assert.equal(run.all("kubernetes:core/v1:Secret").length, 0);
            assert.deepEqual(
                run.all("command:local:Command").map(({ name }) => name),
                [`${tag}-await`],
            );
            assert.deepEqual(run.invoked, []);
        });
    });

    describe("runs builds", () => {
        it("whose token goes to the exporter alone", () => {
            assert.deepEqual(run.one("kubernetes:core/v1:ServiceAccount"), {
                apiVersion: "v1",
                kind: "ServiceAccount",
                metadata: {
                    namespace: "ke-1-build-azure",
                    name: "ke1-build",
                    labels: { "app.kubernetes.io/name": "ke-1-build", "app.kubernetes.io/managed-by": "pulumi" },
                    annotations: { "azure.workload.identity/client-id": "c11e0000-0000-4000-8000-000000000001" },
                },
                automountServiceAccountToken: false,
            });
            const { labels, annotations } = run.one("kubernetes:batch/v1:Job").spec.template.metadata;
            assert.equal(labels["azure.workload.identity/use"], "true");
            assert.deepEqual(annotations, { "azure.workload.identity/skip-containers": "build" });
            assert.equal(pod().automountServiceAccountToken, false);
            assert.deepEqual(
                pod().volumes.map(({ name }: any) => name),
                ["shared", "wrapper"],
            );
            const names = container("exporter").env.map((entry: any) => entry.name);
            assert.equal(names.includes("KE1_CREDENTIAL_FILE"), false);
            for (const entry of container("build").env) {
                assert.doesNotMatch(`${entry.name}=${entry.value}`, /AZURE|TOKEN|CLIENT_ID/);
                assert.equal(entry.valueFrom, undefined, entry.name);
            }
        });

        it("after the role is assigned and the service account federated", () => {
            const order = run.declared.map(({ name }) => name);
            for (const before of ["identity-assignment", "identity-federation"]) {
                assert.ok(order.indexOf(before) < order.indexOf(`${tag}-job`), before);
            }
        });

        it("that store at the account's own endpoint", () => {
            const env = Object.fromEntries(container("exporter").env.map((entry: any) => [entry.name, entry.value]));
            assert.equal(env.KE1_CONTAINER_URL, "https://kerbodyne.blob.core.windows.net/ke-1-builds");
            assert.equal(run.one("docker:index/image:Image").imageName, `ghcr.io/kerbodyne/ke-1-build:${tag}`);
            assert.match(container("build").image, /@sha256:/);
        });

        it("that reach https on the internet and the cluster's DNS; no private network, and no node's identity", () => {
            const policy = run.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", "builds-export").spec;
            const [store, token, dns, ...more] = policy.egress;
            assert.deepEqual(more, []);
            for (const rule of [store, token]) {
                assert.deepEqual(rule.ports, [{ protocol: "TCP", port: 443 }]);
                assert.deepEqual(rule.to, [
                    {
                        ipBlock: {
                            cidr: "0.0.0.0/0",
                            except: [
                                "10.0.0.0/8",
                                "172.16.0.0/12",
                                "192.168.0.0/16",
                                "100.64.0.0/10",
                                "169.254.0.0/16",
                                "168.63.129.16/32",
                            ],
                        },
                    },
                ]);
            }
            assert.deepEqual(
                dns.ports.map(({ port }: any) => port),
                [53, 53],
            );
            assert.deepEqual(dns.to[0].podSelector, { matchLabels: { "k8s-app": "kube-dns" } });
            assert.equal(pod().dnsPolicy, "ClusterFirst");
        });

        it("that reach the store and the token's endpoint by name, where the network knows names", async () => {
            const cilium = await azure({ networkPolicy: "cilium" });
            const { spec } = cilium.one("kubernetes:cilium.io/v2:CiliumNetworkPolicy");
            const hosts = ["kerbodyne.blob.core.windows.net", "login.microsoftonline.com"];
            const https = [{ ports: [{ port: "443", protocol: "TCP" }] }];
            assert.deepEqual(
                spec.egress.slice(0, 2),
                hosts.map((matchName) => ({ toFQDNs: [{ matchName }], toPorts: https })),
            );
            assert.deepEqual(
                spec.egress[2].toPorts[0].rules.dns,
                hosts.map((matchName) => ({ matchName })),
            );
            assert.equal(spec.egress.length, 3);
        });

        it("through the store's private endpoint, where it has one", async () => {
            const closed = await azure({ storagePrivateAddresses: '["10.1.2.3"]' });
            const policy = closed.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", "builds-export").spec;
            assert.deepEqual(policy.egress[0].to[1], { ipBlock: { cidr: "10.1.2.3/32" } });
        });
    });

    describe("takes from configuration", () => {
        it("that the source comes from a mirror: who gets it is given no token of the store's", async () => {
            const mirrored = await azure({
                sourceMode: "mirror",
                remote: "https://github.com/kerbodyne/ke-1.git",
                image: `ghcr.io/kerbodyne/toolchain@${testDigest}`,
                mirrorImage: `ghcr.io/kerbodyne/git@${testDigest}`,
            });
            const { annotations } = mirrored.one("kubernetes:batch/v1:Job").spec.template.metadata;
            assert.deepEqual(annotations, { "azure.workload.identity/skip-containers": "build;source" });
            assert.equal(mirrored.all("kubernetes:core/v1:PersistentVolume").length, 0);
        });

        it("who may reach the account: then all others are turned away", async () => {
            const subnet = `${resourceGroupId}/providers/Microsoft.Network/virtualNetworks/v/subnets/aks`;
            const closed = await azure({
                storageAllowedAddresses: '["203.0.113.0/24"]',
                storageAllowedSubnets: JSON.stringify([subnet]),
            });
            assert.deepEqual(one("storage:StorageAccount", closed).networkRuleSet, {
                defaultAction: "Deny",
                bypass: "None",
                ipRules: [{ iPAddressOrRange: "203.0.113.0/24", action: "Allow" }],
                virtualNetworkRules: [{ virtualNetworkResourceId: subnet, action: "Allow" }],
            });
        });

        it("immutability: what is stored cannot be changed, but a log can grow", async () => {
            const kept = await azure({ immutabilityDays: "30" });
            assert.deepEqual(one("storage:BlobContainerImmutabilityPolicy", kept), {
                resourceGroupName: "kerbodyne-builds",
                accountName: "kerbodyne",
                containerName: "ke-1-builds",
                immutabilityPeriodSinceCreationInDays: 30,
                allowProtectedAppendWrites: true,
            });
        });

        it("an account that is there: only the container is made, and the account's own rules are left alone", async () => {
            const found = await azure({ storageExists: "account" }, { call: lookUp });
            assert.deepEqual(
                ofAzure(found).map(({ type }) => type),
                [
                    "storage:BlobContainer",
                    "authorization:RoleAssignment",
                    "managedidentity:FederatedIdentityCredential",
                    "managedidentity:UserAssignedIdentity",
                    "authorization:RoleDefinition",
                ],
            );
            assert.deepEqual(
                found.invoked.map(({ token }) => token),
                ["azure-native:storage:getStorageAccount"],
            );
        });

        it("a container that is there: nothing of the store is made, and the role is on that container", async () => {
            const found = await azure({ storageExists: "container" }, { call: lookUp });
            assert.equal(ofAzure(found).filter(({ type }) => type.startsWith("storage:")).length, 0);
            assert.equal(one("authorization:RoleAssignment", found).scope, testContainerId);
        });

        it("an identity that another team has made: no identity, federation or role of its own", async () => {
            const given = "91fe0000-0000-4000-8000-000000000006";
            const found = await azure({ identityClientId: given, oidcIssuer: "" });
            assert.deepEqual(
                ofAzure(found).filter(({ type }) => !type.startsWith("storage:")),
                [],
            );
            const account = found.one("kubernetes:core/v1:ServiceAccount");
            assert.deepEqual(account.metadata.annotations, { "azure.workload.identity/client-id": given });
        });

        it("a namespace that is there", async () => {
            const found = await azure({ createNamespace: "false", namespace: "mastodon" });
            assert.equal(found.all("kubernetes:core/v1:Namespace").length, 0);
            assert.equal(found.one("kubernetes:batch/v1:Job").metadata.namespace, "mastodon");
            const { subject } = one("managedidentity:FederatedIdentityCredential", found);
            assert.equal(subject, "system:serviceaccount:mastodon:ke1-build");
        });

        it("who launches builds: read on the container, Jobs in the namespace, no Secrets, no exec", async () => {
            const shared = await azure({ launchers: JSON.stringify([team]) });
            const reader = shared.one("azure-native:authorization:RoleAssignment", `readers-${team}`);
            assert.equal(reader.scope, testContainerId);
            assert.equal(reader.principalId, team);
            assert.equal(reader.principalType, "Group");
            assert.match(reader.roleDefinitionId, /\/roleDefinitions\/2a2b9908-6ea1-4ae2-8e65-a410df84e7d1$/);
            assert.deepEqual(shared.one("kubernetes:rbac.authorization.k8s.io/v1:Role").rules, [
                {
                    apiGroups: ["batch"],
                    resources: ["jobs"],
                    verbs: ["get", "list", "watch", "create", "patch", "delete"],
                },
                { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch", "delete"] },
                { apiGroups: [""], resources: ["pods/log"], verbs: ["get"] },
                { apiGroups: [""], resources: ["events"], verbs: ["get", "list", "watch", "create"] },
                { apiGroups: ["kueue.x-k8s.io"], resources: ["workloads"], verbs: ["get", "list", "patch"] },
            ]);
            const binding = shared.one("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding");
            assert.deepEqual(binding.subjects, [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: team }]);
        });

        it("the registry's credential from the environment, as a secret", async () => {
            const pushed = await azure({}, { environment: { REGISTRY_USERNAME: "octocat", REGISTRY_PASSWORD: "ghp" } });
            const [image] = pushed.all("docker:index/image:Image");
            assert.deepEqual(image!.inputs["registry"], { server: "ghcr.io", username: "octocat", password: "ghp" });
            assert.deepEqual(image!.secrets, ["registry.password"]);
            const none = run.one("docker:index/image:Image");
            assert.equal(none.registry, undefined);
        });

        it("a pull secret only when asked for, and never in the clear", async () => {
            assert.equal(pod().imagePullSecrets, undefined);
            const pulled = await azure(
                { pullUsername: "puller", pullPassword: "ghp_pull" },
                { secretKeys: ["pullPassword"] },
            );
            const [secret] = pulled.all("kubernetes:core/v1:Secret");
            assert.equal(secret?.inputs["type"], "kubernetes.io/dockerconfigjson");
            assert.ok(secret.secrets.some((path) => "stringData..dockerconfigjson".startsWith(path)));
            assert.deepEqual(pod(pulled).imagePullSecrets, [{ name: "ke1-pull" }]);
            const given = await azure({ imagePullSecret: "theirs" });
            assert.deepEqual(pod(given).imagePullSecrets, [{ name: "theirs" }]);
        });

        it("refuses a password in the clear", async () => {
            await assert.rejects(
                azure({ pullUsername: "puller", pullPassword: "ghp_pull" }),
                /pullPassword is configured in the clear/,
            );
        });

        it("where builds run", async () => {
            const placed = await azure({
                nodeRequirements: '["pool in (builds, big)", "!gpu"]',
                nodePreferences: '["20: disk=ssd"]',
                tolerations: '["dedicated=builds:NoSchedule"]',
                spot: "true",
                priorityClass: "batch-low",
                queue: "builds",
            });
            const { affinity, tolerations, priorityClassName } = pod(placed);
            const { nodeAffinity } = affinity;
            assert.deepEqual(
                nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions,
                [
                    { key: "pool", operator: "In", values: ["builds", "big"] },
                    { key: "gpu", operator: "DoesNotExist" },
                ],
            );
            const spot = { key: "kubernetes.azure.com/scalesetpriority", operator: "In", values: ["spot"] };
            assert.deepEqual(
                nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution.map((term: any) => [
                    term.weight,
                    term.preference.matchExpressions,
                ]),
                [
                    [20, [{ key: "disk", operator: "In", values: ["ssd"] }]],
                    [100, [spot]],
                ],
            );
            assert.deepEqual(tolerations.slice(2), [
                { key: "dedicated", operator: "Equal", value: "builds", effect: "NoSchedule" },
                { key: spot.key, operator: "Equal", value: "spot", effect: "NoSchedule" },
            ]);
            assert.equal(priorityClassName, "batch-low");
            const { labels } = placed.one("kubernetes:batch/v1:Job").metadata;
            assert.equal(labels["kueue.x-k8s.io/queue-name"], "builds");
        });
    });

    it("can be previewed when nothing of it is there yet", async () => {
        const preview = await azure({ launchers: JSON.stringify([team]) }, { preview: true });
        assert.equal(ofAzure(preview).length, 9);
        assert.equal(preview.outputs["buildTag"], tag);
        assert.equal(preview.outputs["outcome"], undefined);
    });

    it("keeps every rule of the policy pack, with all that can be asked for", async function () {
        this.timeout(60_000);
        const everything = await azure(
            {
                launchers: JSON.stringify([team]),
                storageAllowedAddresses: '["203.0.113.0/24"]',
                immutabilityDays: "30",
                spot: "true",
                memoryRetryLimit: "8Gi",
                maskSecret: "mask",
                signingKeySecret: "signing",
                pullUsername: "puller",
                pullPassword: "ghp_pull",
            },
            { secretKeys: ["pullPassword"] },
        );
        const pack = await PolicyPack.start();
        try {
            for (const declared of [...run.declared, ...everything.declared]) {
                const found = await pack.analyze(declared);
                assert.deepEqual(
                    found.map(({ message }) => message),
                    [],
                    `${declared.type} ${declared.name}`,
                );
            }
        } finally {
            pack.stop();
        }
    });

    it("is the Pulumi CLI's to run: the embedded engine says so in one line, and touches nothing", async function () {
        this.timeout(20_000);
        for (const operation of ["up", "preview", "refresh", "destroy"]) {
            const { code, stdout, stderr } = await ke1([operation, "--stack", "azure"]);
            assert.equal(code, 2, operation);
            assert.equal(stdout, "");
            assert.match(
                stderr,
                new RegExp(`^error: the target azure needs the Pulumi CLI.*pulumi ${operation} .*\\n$`),
            );
        }
    });

    it("refuses a container that anybody can read", async () => {
        const open = (token: string, inputs: object) => ({ ...lookUp(token, inputs), publicAccess: "Blob" });
        await assert.rejects(azure({ storageExists: "container" }, { call: open }), /is public \(Blob\)/);
    });

    function lookUp(token: string, inputs: object): Record<string, unknown> {
        return token.endsWith("getBlobContainer")
            ? { ...inputs, id: testContainerId, publicAccess: "None" }
            : { ...inputs, name: "kerbodyne", allowSharedKeyAccess: false, allowBlobPublicAccess: false };
    }
});
