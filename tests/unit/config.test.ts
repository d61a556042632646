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
const stack = { project: "ke-1-build", stack: "dev" };

function settings(config: Record<string, string> = {}, environment: NodeJS.ProcessEnv = {}) {
    const all: Record<string, string> = { ...own, ...config };
    return readSettings({ get: (key) => all[key] }, stack, environment);
}

describe("the configuration", () => {
    it("has a default for every key, the same as Pulumi.yaml documents", () => {
        const project = parse(fs.readFileSync(path.join(__dirname, "../../Pulumi.yaml"), "utf8")) as {
            config: Record<string, { type: string; description: string; default: unknown }>;
        };
        const read = settings() as unknown as Record<string, unknown>;
        for (const [key, declared] of Object.entries(project.config)) {
            assert.ok(declared.description.length > 20, `${key} is described`);
            assert.notEqual(declared.default, undefined, `${key} has a default`);
            const derived = ["target", "buildTag", "buildTags", "namespace", ...Object.keys(own)].includes(key);
            if (!derived) {
                assert.deepEqual(read[key], declared.default, key);
            }
        }
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

    it("is overridden by BUILD_TAG, SOURCE and ALLOW_DIRTY of the environment", () => {
        const read = settings({ buildTag: "v1" }, { BUILD_TAG: "v2", SOURCE: "/src", ALLOW_DIRTY: "1" });
        assert.deepEqual(read.buildTags, ["v2"]);
        assert.equal(read.source, "/src");
        assert.equal(read.allowDirty, true);
        assert.deepEqual(settings({ buildTags: '["a","b"]' }, { BUILD_TAG: "v2" }).buildTags, ["v2"]);
    });

    const refusals: readonly (readonly [string, Record<string, string>, RegExp])[] = [
        ["the target azure, which is to come", { target: "azure" }, /still to come/],
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
    for (const [what, config, pattern] of refusals) {
        it(`refuses ${what}, in one line`, () => {
            assert.throws(
                () => settings(config),
                (error: Error) =>
                    error instanceof UserError && pattern.test(error.message) && !error.message.includes("\n"),
            );
        });
    }
});
