import * as assert from "node:assert/strict";

import { unknown } from "../../engine/values";
import type { Declaration } from "../helpers/policyPack";
import { PolicyPack } from "../helpers/policyPack";
import * as declared from "../helpers/policyFixtures";

/** A property loosened: the fixture, the property, its value, and what the policy pack must say. */
type Loosened = readonly [fixture: keyof typeof declared.right, property: string, value: unknown, message: RegExp];

/** In place of a value: the property is left out. */
const absent = undefined;
const digest = `sha256:${"a".repeat(64)}`;
const build = "spec.template.spec.containers.0";
const pod = "spec.template.spec";
const annotations = "spec.template.metadata.annotations";
const companion = {
    name: "upload",
    image: `busybox@${digest}`,
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
};

const storageAccount: readonly Loosened[] = [
    ["StorageAccount", "kind", "BlobStorage", /set kind to StorageV2 \(it is "BlobStorage"\)/],
    ["StorageAccount", "minimumTlsVersion", "TLS1_1", /set minimumTlsVersion to TLS1_2 or TLS1_3 \(it is "TLS1_1"\)/],
    ["StorageAccount", "minimumTlsVersion", absent, /set minimumTlsVersion .* \(it is not set\)/],
    ["StorageAccount", "enableHttpsTrafficOnly", false, /set enableHttpsTrafficOnly to true/],
    ["StorageAccount", "allowSharedKeyAccess", true, /set allowSharedKeyAccess to false \(it is true\)/],
    ["StorageAccount", "allowSharedKeyAccess", absent, /set allowSharedKeyAccess to false \(it is not set\)/],
    ["StorageAccount", "allowBlobPublicAccess", true, /set allowBlobPublicAccess to false/],
    ["StorageAccount", "allowCrossTenantReplication", true, /set allowCrossTenantReplication to false/],
    ["StorageAccount", "encryption.requireInfrastructureEncryption", false, /requireInfrastructureEncryption to true/],
    ["StorageAccount", "encryption", absent, /set encryption.requireInfrastructureEncryption to true/],
    ["StorageAccount", "networkRuleSet.defaultAction", "Allow", /set networkRuleSet.defaultAction to Deny/],
    ["StorageAccount", "networkRuleSet.defaultAction", absent, /set networkRuleSet.defaultAction to Deny/],
    ["BlobServiceProperties", "isVersioningEnabled", false, /set isVersioningEnabled to true/],
    ["BlobServiceProperties", "deleteRetentionPolicy.enabled", false, /set deleteRetentionPolicy.enabled to true/],
    ["BlobServiceProperties", "containerDeleteRetentionPolicy", absent, /containerDeleteRetentionPolicy.enabled/],
    ["BlobContainer", "publicAccess", "Blob", /set publicAccess to None \(it is "Blob"\)/],
    ["BlobContainer", "publicAccess", absent, /set publicAccess to None/],
];

const blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
const subscription = "/subscriptions/00000000-0000-0000-0000-000000000000";
const account = `${subscription}/resourceGroups/ke-1/providers/Microsoft.Storage/storageAccounts/kerbodyne`;
const access: readonly Loosened[] = [
    ["RoleDefinition", "permissions.0.dataActions.0", `${blobs}/delete`, /remove the data action ".*blobs\/delete"/],
    ["RoleDefinition", "permissions.0.dataActions.0", `${blobs}/*`, /remove the data action/],
    ["RoleDefinition", "permissions.0.dataActions.2", "*", /remove the data action "\*"/],
    ["RoleDefinition", "permissions.0.dataActions.1", `${blobs}/tags/write`, /remove the data action/],
    ["RoleDefinition", "permissions.0.actions", ["*/read"], /remove the action "\*\/read"/],
    ["RoleDefinition", "permissions.1", { dataActions: [`${blobs}/delete`] }, /blobs\/delete/],
    ["RoleDefinition", "assignableScopes", [subscription], /narrow the assignable scope/],
    ["RoleDefinition", "assignableScopes.1", "/", /narrow the assignable scope "\/"/],
    ["RoleDefinition", "assignableScopes", absent, /set assignableScopes/],
    ["RoleAssignment", "scope", `${account}/blobServices/default`, /narrow the scope .* to one container/],
    ["RoleAssignment", "scope", account, /narrow the scope/],
    ["RoleAssignment", "scope", `${subscription}/resourceGroups/ke-1`, /narrow the scope/],
    ["RoleAssignment", "scope", subscription, /narrow the scope/],
    ["RoleAssignment", "scope", absent, /narrow the scope not set/],
    [
        "RoleAssignment",
        "roleDefinitionId",
        `${subscription}/providers/Microsoft.Authorization/roleDefinitions/ba92f5b4-2d11-453d-a403-e96b0029c9fe`,
        /Storage Blob Data Contributor can delete/,
    ],
    ["FederatedIdentityCredential", "subject", "system:serviceaccount:builds:*", /set subject/],
    ["FederatedIdentityCredential", "subject", "system:serviceaccount:*:ke1-build", /set subject/],
    ["FederatedIdentityCredential", "subject", "repo:kerbodyne/ke-1:ref:refs/heads/main", /set subject/],
    ["FederatedIdentityCredential", "issuer", "http://issuer.example/", /set issuer to the cluster's https address/],
    ["FederatedIdentityCredential", "issuer", "https://*.example/", /set issuer/],
    ["FederatedIdentityCredential", "audiences", ["api://AzureADTokenExchange", "other"], /set audiences/],
    ["FederatedIdentityCredential", "audiences", ["other"], /set audiences/],
    ["FederatedIdentityCredential", "audiences", [], /set audiences/],
];

const jobs: readonly Loosened[] = [
    ["Job", `${build}.image`, "ghcr.io/kerbodyne/ke-1-build:v1", /container build: name the image by digest/],
    ["Job", `${pod}.containers.1.image`, "ghcr.io/kerbodyne/ke-1-exporter:v1", /container exporter: name the image/],
    ["Job", `${pod}.initContainers`, [{ name: "first", image: "busybox" }], /container first: name the image/],
    ["Job", "metadata.labels", {}, /label the Job ke1.dev\/build-tag=<BUILD_TAG>/],
    ["Job", "spec.template.metadata.labels", {}, /give the pod template the same label/],
    ["Job", `${pod}.securityContext.runAsNonRoot`, absent, /container build: set runAsNonRoot to true/],
    ["Job", `${build}.securityContext.runAsNonRoot`, false, /container build: set runAsNonRoot to true/],
    ["Job", `${pod}.securityContext.runAsUser`, 0, /set runAsUser to another user than 0/],
    ["Job", `${pod}.securityContext.seccompProfile`, absent, /set seccompProfile.type to RuntimeDefault/],
    ["Job", `${build}.securityContext.seccompProfile`, { type: "Unconfined" }, /set seccompProfile.type/],
    ["Job", `${build}.securityContext.allowPrivilegeEscalation`, true, /set allowPrivilegeEscalation to false/],
    ["Job", `${build}.securityContext.allowPrivilegeEscalation`, absent, /set allowPrivilegeEscalation to false/],
    ["Job", `${build}.securityContext.capabilities.drop`, ["NET_RAW"], /set capabilities.drop to \[ALL\]/],
    ["Job", `${build}.securityContext.capabilities.add`, ["NET_ADMIN"], /leave out capabilities.add/],
    ["Job", `${build}.securityContext.privileged`, true, /leave out privileged/],
    ["Job", `${pod}.hostNetwork`, true, /leave out hostNetwork/],
    ["Job", `${pod}.hostPID`, true, /leave out hostPID/],
    ["Job", `${pod}.hostIPC`, true, /leave out hostIPC/],
    ["Job", `${pod}.volumes.0`, { name: "shared", hostPath: { path: "/" } }, /volume shared: leave out hostPath/],
    ["Job", `${pod}.automountServiceAccountToken`, true, /set automountServiceAccountToken to false/],
    ["Job", `${pod}.automountServiceAccountToken`, absent, /set automountServiceAccountToken to false/],
    ["Job", `${pod}.shareProcessNamespace`, true, /leave out shareProcessNamespace/],
    ["Job", "spec.template.metadata.annotations", {}, /add build to the annotation .*skip-containers/],
    ["Job", "spec.template.metadata.annotations", { [declared.skipped]: "exporter" }, /add build to the annotation/],
    [
        "Job",
        `${pod}.initContainers`,
        [{ name: "first", image: `busybox@${digest}` }],
        /add first to the annotation .*skip-containers/,
    ],
    ["Job", `${build}.volumeMounts.1`, { name: "credential" }, /leave out the mount of credential/],
    ["Job", `${pod}.volumes.0`, { name: "shared", csi: { driver: "x" } }, /leave out the mount of shared/],
    [
        "Job",
        `${pod}.volumes.0`,
        { name: "shared", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
        /leave out the mount of shared/,
    ],
    [
        "Job",
        `${pod}.initContainers`,
        [{ ...companion, volumeMounts: [{ name: "credential" }] }],
        /container upload: leave out the mount of credential/,
    ],
    ["Job", `${build}.env.0.valueFrom`, { secretKeyRef: { name: "x", key: "y" } }, /leave out the Secret in its/],
    ["Job", `${build}.envFrom`, [{ secretRef: { name: "x" } }], /leave out the Secret in its environment/],
];

const service: readonly Loosened[] = [
    ["Deployment", `${pod}.containers.0.image`, "ke-1-service:v1", /container serve: name the image by digest/],
    ["Deployment", `${pod}.securityContext.runAsNonRoot`, absent, /container serve: set runAsNonRoot to true/],
    ["Deployment", `${pod}.hostNetwork`, true, /leave out hostNetwork/],
    ["Deployment", `${pod}.automountServiceAccountToken`, absent, /set automountServiceAccountToken to false/],
    ["Role", "rules.0.verbs", ["*"], /name what the rule for \["jobs"\] allows/],
    ["Role", "rules.0.resources", ["*"], /name what the rule for/],
    ["Role", "rules.0.resources", ["pods", "pods/exec"], /leave out pods\/exec/],
    ["Role", "rules.0.resources", ["networkpolicies"], /leave out networkpolicies/],
    ["Role", "rules.0.verbs", ["deletecollection"], /leave out the verb deletecollection/],
    ["Role", "rules.1.resourceNames", absent, /name the Secrets in resourceNames/],
    ["RoleBinding", "roleRef.kind", "ClusterRole", /bind a Role of the stack's own \(it is "ClusterRole"\)/],
];

const everywhere = { ipBlock: { cidr: "0.0.0.0/0" } };
const cluster: readonly Loosened[] = [
    ["AdmissionPolicy", "spec.failurePolicy", "Ignore", /set spec.failurePolicy to Fail \(it is "Ignore"\)/],
    ["AdmissionBinding", "spec.validationActions", ["Audit"], /add Deny to spec.validationActions \(they are/],
    ["AdmissionBinding", "spec.paramRef.parameterNotFoundAction", "Allow", /set spec.paramRef.parameterNotFoundAction/],
    ["AdmissionBinding", "spec.matchResources", absent, /name the builds' namespace in spec.matchResources/],
    ["Namespace", "metadata.labels", {}, /label the namespace .*enforce=restricted \(it is not set\)/],
    [
        "Namespace",
        "metadata.labels",
        { [declared.enforce]: "privileged", "app.kubernetes.io/component": "image-build" },
        /\(it is "privileged"\)/,
    ],
    ["Namespace", "metadata.labels", { [declared.enforce]: "baseline" }, /\(it is "baseline"\)/],
    ["NetworkPolicy", "spec.egress", [{}], /lets out to everywhere/],
    ["NetworkPolicy", "spec.egress.0.to", absent, /lets out to everywhere/],
    ["NetworkPolicy", "spec.egress.0.to", [], /lets out to everywhere/],
    ["NetworkPolicy", "spec.egress.0.ports", absent, /opens all of them/],
    ["NetworkPolicy", "spec.egress.0.to.0", everywhere, /leave 169.254.169.254 and 168.63.129.16 out of 0.0.0.0\/0/],
    ["NetworkPolicy", "spec.egress.0.to.0.ipBlock.except", ["169.254.0.0/16"], /leave 168.63.129.16 out of/],
    ["NetworkPolicy", "spec.egress.0.to.0", { ipBlock: { cidr: "128.0.0.0/1" } }, /out of 128.0.0.0\/1/],
    ["NetworkPolicy", "spec.egress.0.to.0", { ipBlock: { cidr: "::/0" } }, /out of ::\/0/],
    ["NetworkPolicy", "spec.egress.0.to.0", { namespaceSelector: {} }, /every pod of the cluster/],
    ["CiliumNetworkPolicy", "spec.egress.0.toFQDNs", absent, /lets out to everywhere/],
    ["CiliumNetworkPolicy", "spec.egress.0.toFQDNs.0", { matchPattern: "*.windows.net" }, /name each host/],
    ["CiliumNetworkPolicy", "spec.egress.0.toPorts", absent, /opens all of them/],
    ["CiliumNetworkPolicy", "spec.egress.0.toEntities", ["world"], /leave out toEntities/],
    ["CiliumNetworkPolicy", "spec.egress.0.toCIDR", ["0.0.0.0/0"], /out of 0.0.0.0\/0/],
    ["CiliumNetworkPolicy", "spec.egress.0.toCIDRSet", [{ cidr: "169.254.0.0/16" }], /out of 169.254.0.0\/16/],
    ["CiliumNetworkPolicy", "spec.egress.1.toEndpoints", [{}], /lets out to everywhere/],
    ["Image", "imageName", "ghcr.io/kerbodyne/ke-1-build", /its BUILD_TAG as tag/],
    ["Image", "imageName", "localhost:5000/ke-1-build", /its BUILD_TAG as tag/],
    ["Image", "imageName", "ghcr.io/kerbodyne/ke-1-build:latest", /its BUILD_TAG as tag/],
];

describe("the policy pack", () => {
    let pack: PolicyPack;
    const blamed = new Set<string>();

    before(async function () {
        this.timeout(60_000);
        pack = await PolicyPack.start();
    });
    after(() => pack.stop());

    for (const [name, declaration] of Object.entries(declared.right)) {
        it(`passes the right ${name}`, async () => {
            assert.deepEqual(await pack.analyze(declaration), []);
        });
    }

    for (const [fixture, property, value, message] of [...storageAccount, ...access, ...jobs, ...service, ...cluster]) {
        it(`refuses ${fixture} with ${property} ${value === absent ? "left out" : JSON.stringify(value)}`, async () => {
            const found = await pack.analyze(loosened(declared.right[fixture], property, value));
            assert.ok(
                found.some((finding) => message.test(finding.message)),
                JSON.stringify(found),
            );
            for (const finding of found) {
                assert.equal(finding.mandatory, true);
                blamed.add(finding.policy);
            }
        });
    }

    for (const name of ["StorageAccount", "BlobServiceProperties", "BlobContainer"] as const) {
        it(`refuses ${name} that is not protected`, async () => {
            const found = await pack.analyze({ ...declared.right[name], options: { protect: false } });
            assert.deepEqual(
                found.map((finding) => finding.policy),
                ["store-protected"],
            );
            blamed.add("store-protected");
        });
    }

    for (const kind of ["ClusterRole", "ClusterRoleBinding"]) {
        it(`refuses every ${kind}`, async () => {
            const type = `kubernetes:rbac.authorization.k8s.io/v1:${kind}`;
            const found = await pack.analyze({ type, inputs: {} });
            assert.deepEqual(
                found.map((finding) => finding.policy),
                ["no-cluster-role"],
            );
            blamed.add("no-cluster-role");
        });
    }

    it("was seen to refuse by each of its policies", async () => {
        assert.deepEqual([...blamed].sort(), [...(await pack.policies())].sort());
    });

    it("refuses a resource in whatever version of Azure's API it is declared", async () => {
        const { inputs } = loosened(declared.right.StorageAccount, "allowSharedKeyAccess", true);
        for (const type of [
            "azure-native:storage/v20230101:StorageAccount",
            "azure-native_storage_v20240101:storage:StorageAccount",
        ]) {
            const found = await pack.analyze({ type, inputs, options: { protect: true } });
            assert.deepEqual(
                found.map((finding) => finding.policy),
                ["storage-account"],
            );
        }
    });

    it("says that it does not know yet what a preview does not know, and still refuses what is wrong beside it", async () => {
        const image = loosened(declared.right.Job, `${build}.image`, unknown);
        const [found, ...others] = await pack.analyze(image);
        assert.deepEqual(others, []);
        assert.equal(found?.policy, "image-by-digest");
        assert.equal(found.mandatory, false);
        assert.match(found.message, /containers.0.image can't be known during preview/);

        const both = await pack.analyze(loosened(image, `${pod}.containers.1.image`, "exporter:v1"));
        assert.deepEqual(
            both.map((finding) => finding.mandatory),
            [true, false],
        );
        const template = await pack.analyze(loosened(declared.right.Job, "spec.template", unknown));
        assert.ok(template.length >= 4);
        assert.ok(template.every((finding) => !finding.mandatory));
    });

    it("lets an init container or a sidecar have a Secret of its own, and none of the exporter's", async () => {
        const withKey = (secretName: string) => {
            const mounted = { ...companion, volumeMounts: [{ name: "env-key", mountPath: "/run/key" }] };
            const job = loosened(declared.right.Job, `${pod}.initContainers`, [mounted]);
            const volume = { name: "env-key", secret: { secretName } };
            const skipped = { [declared.skipped]: "build;upload" };
            return loosened(loosened(job, annotations, skipped), `${pod}.volumes.2`, volume);
        };
        assert.deepEqual(await pack.analyze(withKey("upload-key")), []);
        const [found] = await pack.analyze(withKey("ke1-blob-credential"));
        assert.match(found?.message ?? "", /container upload: leave out the mount of env-key/);
    });

    it("lets who gets the source have the git credential, and nobody else", async () => {
        const withSource = (mounted: string, container = "source") => {
            const volumes = [
                { name: "shared", emptyDir: {} },
                { name: "credential", secret: { secretName: "ke1-blob-credential" } },
                { name: "git-secret", secret: { secretName: "git-access" } },
            ];
            const own = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
            const source = { name: container, image: `git@${digest}`, securityContext: own };
            const mounts = { volumeMounts: [{ name: mounted, mountPath: "/ke1/git" }] };
            const annotations = { [declared.skipped]: `build;${container}` };
            const job = loosened(declared.right.Job, "spec.template.metadata.annotations", annotations);
            return loosened(loosened(job, `${pod}.volumes`, volumes), `${pod}.initContainers`, [
                { ...source, ...mounts },
            ]);
        };
        assert.deepEqual(await pack.analyze(withSource("git-secret")), []);
        for (const wrong of [
            withSource("credential"),
            withSource("git-secret", "first"),
            loosened(withSource("shared"), `${build}.volumeMounts.1`, { name: "git-secret" }),
        ]) {
            const [found, ...others] = await pack.analyze(wrong);
            assert.deepEqual(others, []);
            assert.match(found?.message ?? "", /leave out the mount of/);
        }
    });

    it("sees through a secret, and has nothing to say of other resources", async () => {
        const secret = { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", value: true };
        const found = await pack.analyze(loosened(declared.right.StorageAccount, "allowSharedKeyAccess", secret));
        assert.equal(found.length, 1);
        assert.deepEqual(await pack.analyze({ type: "kubernetes:core/v1:Secret", inputs: { data: { a: "b" } } }), []);
    });
});

/** A copy with one property changed, or left out. */
function loosened(declaration: Declaration, property: string, value: unknown): Declaration {
    const inputs = JSON.parse(JSON.stringify(declaration.inputs));
    const steps = property.split(".");
    const last = steps.pop() ?? "";
    const target = steps.reduce((object, step) => object[step], inputs);
    target[last] = value;
    return { ...declaration, inputs };
}
