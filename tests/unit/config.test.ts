import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { parse } from "yaml";

import { needsPlatform, readSettings } from "../../config";
import { UserError } from "../../contract/errors";

const own = {
    kubeContext: "kind-kind",
    registry: "localhost:5001",
    blobEndpoint: "https://kerbodyne.blob.core.windows.net/",
};
const azureGuid = "72f988bf-0000-4000-8000-000000000003";
const azure = {
    target: "azure",
    resourceGroup: "kerbodyne-builds",
    location: "westeurope",
    storageAccount: "kerbodyne",
    oidcIssuer: `https://westeurope.oic.prod-aks.azure.com/${azureGuid}/${azureGuid}/`,
    blobEndpoint: "",
};
const stack = { project: "ke-1-build", stack: "dev" };

/** Keys that become one setting together: tests/unit/environments.test.ts. */
const forEnvironments = ["environments", "environment", "initContainers", "sidecars", "sidecarLimitSeconds"];

function settings(config: Record<string, string> = {}, environment: NodeJS.ProcessEnv = {}) {
    const all: Record<string, string> = { ...own, ...config };
    return readSettings({ get: (key) => all[key] }, stack, environment);
}

describe("the configuration", () => {
    it("has a default for every key, the same as Pulumi.yaml documents", () => {
        const project = parse(fs.readFileSync(path.join(__dirname, "../../Pulumi.yaml"), "utf8")) as {
            config: Record<string, { type: string; description: string; default: unknown }>;
        };
        const local = settings();
        const read = {
            ...local,
            ...settings(azure).azure,
            ...local,
            ...local.watchdogs,
            ...local.exports,
        } as unknown as Record<string, unknown>;
        for (const [key, declared] of Object.entries(project.config)) {
            assert.ok(declared.description.length > 20, `${key} is described`);
            assert.notEqual(declared.default, undefined, `${key} has a default`);
            const parsed = [
                "target",
                "buildTag",
                "buildTags",
                "namespace",
                "spot",
                "dedicatedNodes",
                "artifacts",
                ...forEnvironments,
            ];
            // tests/unit/admission.test.ts
            parsed.push("admission", "admissionRules", "nodeSizes", "extendedResources");
            // tests/unit/clusterImage.test.ts
            parsed.push(
                ...Object.keys(project.config).filter((name) => /^image(Builder|Registry|Cache|Reprod)/.test(name)),
            );
            // tests/unit/serviceProgram.test.ts
            parsed.push("service");
            const derived = [...parsed, ...Object.keys(own), ...Object.keys(azure)].includes(key);
            if (!derived) {
                assert.deepEqual(read[key], declared.default, key);
            }
        }
        assert.equal(settings({ artifacts: "false" }).artifactDirectory, "", "a build that hands back nothing");
        const none = { initContainers: [], sidecars: [], sidecarLimitSeconds: 60 };
        assert.deepEqual(read["companions"], none);
        assert.equal(read["environment"], undefined);
        assert.equal(project.config["sidecarLimitSeconds"]?.default, none.sidecarLimitSeconds);
        assert.deepEqual(read["buildTags"], [""]);
        assert.equal(read["namespace"], "ke-1-build-dev");
        assert.equal(read["blobEndpoint"], "https://kerbodyne.blob.core.windows.net", "without its last slash");
    });

    it("needs the embedded platform unless cluster, registry and store are all the user's own", () => {
        const needs = (config: Record<string, string>) => needsPlatform({ get: (key) => config[key] });
        assert.equal(needs({}), true);
        assert.equal(needs(own), false);
        assert.equal(needs({ ...own, registry: "" }), true);
        assert.equal(needs({ ...own, kubeContext: "" }), true);
        assert.equal(needs({ ...own, kubeContext: "", kubeconfig: "/k" }), false);
        assert.equal(settings().usesPlatform, false);
    });

    it("for azure derives the store's endpoint, and needs no platform", () => {
        const read = settings({ ...azure, location: "West Europe" });
        assert.equal(read.blobEndpoint, "https://kerbodyne.blob.core.windows.net");
        assert.equal(read.azure?.location, "westeurope");
        assert.equal(read.usesPlatform, false);
        assert.equal(needsPlatform({ get: (key) => (key === "target" ? "azure" : undefined) }), false);
    });

    it("doubles what a build may use, up to the most, where it may be tried again", () => {
        const steps = (memoryLimit: string, memoryRetryLimit: string) =>
            settings({ memoryLimit, memoryRetryLimit }).memorySteps;
        assert.deepEqual(steps("2Gi", ""), ["2Gi"]);
        assert.deepEqual(steps("2Gi", "8Gi"), ["2Gi", "4Gi", "8Gi"]);
        assert.deepEqual(steps("2Gi", "5Gi"), ["2Gi", "4Gi", "5Gi"]);
        assert.deepEqual(steps("512Mi", "1Gi"), ["512Mi", "1Gi"]);
        assert.deepEqual(steps("1.5Gi", "6Gi"), ["1.5Gi", "3Gi", "6Gi"]);
    });

    it("takes label selectors and taints as kubectl does", () => {
        const read = settings({
            nodeRequirements: '["a", "!b", "c=d", "c==d", "e!=f", "example.com/g in (h, i)", "j notin (k)", "l="]',
            nodePreferences: '["7:a=b"]',
            tolerations: '["a", "a:NoExecute", "a=b", "a=b:NoSchedule"]',
        });
        assert.deepEqual(
            read.nodeRequirements.map(({ key, operator, values }) => `${key} ${operator} ${values.join("|")}`),
            [
                "a Exists ",
                "b DoesNotExist ",
                "c In d",
                "c In d",
                "e NotIn f",
                "example.com/g In h|i",
                "j NotIn k",
                "l In ",
            ],
        );
        assert.deepEqual(read.nodePreferences, [
            { weight: 7, requirement: { key: "a", operator: "In", values: ["b"] } },
        ]);
        assert.deepEqual(read.tolerations, [
            { key: "a", operator: "Exists" },
            { key: "a", operator: "Exists", effect: "NoExecute" },
            { key: "a", operator: "Equal", value: "b" },
            { key: "a", operator: "Equal", value: "b", effect: "NoSchedule" },
        ]);
    });

    it("is overridden by BUILD_TAG, SOURCE and ALLOW_DIRTY of the environment", () => {
        const read = settings({ buildTag: "v1" }, { BUILD_TAG: "v2", SOURCE: "/src", ALLOW_DIRTY: "1" });
        assert.deepEqual(read.buildTags, ["v2"]);
        assert.equal(read.source, "/src");
        assert.equal(read.allowDirty, true);
        assert.deepEqual(settings({ buildTags: '["a","b"]' }, { BUILD_TAG: "v2" }).buildTags, ["v2"]);
    });

    const refusals: readonly (readonly [string, Record<string, string>, RegExp])[] = [
        ["an unknown target", { target: "gcp" }, /local or azure/],
        ["an image by tag", { image: "ghcr.io/x/y:latest" }, /image must be an image by digest/],
        ["an exporter image by tag", { exporterImage: "x:1" }, /exporterImage must be/],
        ["a number that is none", { deadlineSeconds: "soon" }, /deadlineSeconds must be a whole number/],
        ["a deadline that outlives the credential", { deadlineSeconds: "99999" }, /from 1 to 86400/],
        ["builds as root", { runAsUser: "0" }, /runAsUser must be a whole number from 1/],
        ["a bad quantity", { memoryLimit: "two gigs" }, /memoryLimit must be a quantity/],
        ["to ask for more than the limit", { memoryLimit: "64Mi" }, /memoryRequest \(128Mi\) must not be more/],
        ["a namespace that is no DNS label", { namespace: "My_Builds" }, /namespace must be a DNS label/],
        ["a container name that Azure refuses", { blobContainer: "a--b" }, /blobContainer must be/],
        ["artifacts outside of the source", { artifactDirectory: "../bin" }, /artifactDirectory must be/],
        ["a Dockerfile outside of the source", { dockerfile: "/etc/passwd" }, /dockerfile must be/],
        ["a blob endpoint that is no address", { blobEndpoint: "kerbodyne" }, /blobEndpoint must be an http/],
        ["a list that is none", { command: "make build" }, /command must be a list/],
        ["one tag and several", { buildTag: "a", buildTags: '["b"]' }, /either buildTag or buildTags/],
        ["a tag twice", { buildTags: '["b","b"]' }, /names b twice/],
        ["a tag that cannot be one", { buildTags: '["a b"]' }, /cannot be a tag/],
        ["a flag that is none", { allowDirty: "perhaps" }, /allowDirty must be true or false/],
    ];
    const placements: typeof refusals = [
        [
            "a requirement that is no selector",
            { nodeRequirements: '["a b"]' },
            /nodeRequirements has "a b", which is no/,
        ],
        ["dedicated nodes without a value", { dedicatedNodes: "team" }, /dedicatedNodes must be key=value/],
        ["dedicated nodes with an effect", { dedicatedNodes: "team=a:NoSchedule" }, /dedicatedNodes must be/],
        ["a device without a number", { extendedResources: '["nvidia.com/gpu"]' }, /extendedResources has/],
        ["no device", { extendedResources: '["nvidia.com/gpu=0"]' }, /extendedResources has/],
        ["half a device", { extendedResources: '["nvidia.com/gpu=500m"]' }, /extendedResources has/],
        ["CPUs as a device", { extendedResources: '["cpu=1"]' }, /extendedResources has/],
        ["Kubernetes' own as a device", { extendedResources: '["kubernetes.io/x=1"]' }, /extendedResources has/],
        ["a device twice", { extendedResources: '["a.b/c=1","a.b/c=2"]' }, /extendedResources names a.b\/c twice/],
        ["a set without an end", { nodeRequirements: '["a in (b"]' }, /is no label selector/],
        ["a preference without a weight", { nodePreferences: '["a=b"]' }, /a weight from 1 to 100/],
        ["a weight beyond 100", { nodePreferences: '["101: a=b"]' }, /a weight from 1 to 100/],
        ["a toleration of no effect there is", { tolerations: '["a=b:Never"]' }, /is no taint/],
        ["a priority class that cannot be", { priorityClass: "High!" }, /priorityClass must be/],
        [
            "to try again with less",
            { memoryRetryLimit: "1Gi" },
            /memoryRetryLimit \(1Gi\) must be more than memoryLimit/,
        ],
        ["an address with a password", { webhook: "https://a:b@c.d/" }, /webhook must be .* without a password/],
        [
            "an address that anybody on the way can read",
            { webhook: "http://example.com/" },
            /webhook must begin with https/,
        ],
        ["an address that is none", { pushgateway: "gateway:9091" }, /pushgateway must be an http or https address/],
        ["spot nodes without Azure", { spot: "true" }, /spot is for the target azure/],
        ["a group that cannot be", { launchers: '["a b"]' }, /each of launchers must be/],
        ["a registry with a scheme", { registry: "https://ghcr.io" }, /registry must be/],
    ];
    const azureOnly: typeof refusals = [
        ["no resource group", { resourceGroup: "" }, /resourceGroup is not set/],
        ["no location", { location: "" }, /location is not set/],
        ["a location with a slip", { location: "westeurop" }, /no `westeurop`; did you mean westeurope\?/],
        ["letters that changed places", { location: "westuerope" }, /did you mean westeurope\?/],
        ["an unknown location", { location: "atlantis" }, /no `atlantis`; `az account list-locations/],
        [
            "an account name with a dash",
            { storageAccount: "kerbo-dyne" },
            /storageAccount must be 3 to 24 of a-z and 0-9/,
        ],
        ["an account name that is too long", { storageAccount: "a".repeat(25) }, /storageAccount must be 3 to 24/],
        [
            "an endpoint that is another's",
            { blobEndpoint: "https://x.blob.core.windows.net" },
            /not that of storageAcc/,
        ],
        ["no issuer", { oidcIssuer: "" }, /oidcIssuer is not set; .*az aks show/],
        ["an issuer without TLS", { oidcIssuer: "http://issuer/" }, /oidcIssuer must be an https address/],
        ["an issuer with a wildcard", { oidcIssuer: "https://*.azure.com/" }, /oidcIssuer must be an https address/],
        ["an issuer of AKS without its slash", { oidcIssuer: azure.oidcIssuer.slice(0, -1) }, /ends in a slash/],
        ["an identity given and made", { identityClientId: azureGuid }, /either identityClientId .* or oidcIssuer/],
        ["an identity by name", { oidcIssuer: "", identityClientId: "ke1" }, /identityClientId must be a GUID/],
        ["no cluster", { kubeContext: "" }, /kubeContext is not set; `az aks get-credentials`/],
        ["no registry", { registry: "" }, /registry is not set/],
        ["a kind of redundancy that is none", { storageSku: "Premium" }, /storageSku must be Standard_ZRS or/],
        ["something else that exists", { storageExists: "blob" }, /storageExists must be nothing or account or/],
        ["an address that is none", { storageAllowedAddresses: '["1.2.3"]' }, /each of storageAllowedAddresses/],
        ["an address of no byte", { storageAllowedAddresses: '["1.2.3.256"]' }, /each of storageAllowedAddresses/],
        ["a subnet by name", { storageAllowedSubnets: '["aks"]' }, /each of storageAllowedSubnets must be/],
        ["immutability beyond the logs' life", { immutabilityDays: "91" }, /immutabilityDays \(91\) must not be more/],
        [
            "rules for an account of others",
            { storageExists: "account", storageAllowedAddresses: '["1.2.3.4"]' },
            /is not/,
        ],
        ["launchers by name", { launchers: '["engineers"]' }, /each of launchers must be a GUID/],
        ["a network policy of another kind", { networkPolicy: "calico" }, /networkPolicy must be kubernetes or cilium/],
    ];
    for (const [what, config, pattern] of [
        ...refusals,
        ...placements,
        ...azureOnly.map(([name, more, error]) => [`azure: ${name}`, { ...azure, ...more }, error] as const),
    ]) {
        it(`refuses ${what}, in one line`, () => {
            assert.throws(
                () => settings(config),
                (error: Error) =>
                    error instanceof UserError && pattern.test(error.message) && !error.message.includes("\n"),
            );
        });
    }
});
