import * as assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";

import { openStore } from "../../cli/context";
import { containerSas } from "../../launcher/store";
import { RepositoryClient } from "../../service/registry/client";
import { parseReference } from "../../service/registry/reference";
import { ExporterPods } from "../helpers/exporterPods";
import { GitHubServer } from "../helpers/github";
import { nobody, pushIndex } from "../helpers/images";
import { platform, TemporaryStack } from "../helpers/ke1";
import { account, PrivateRegistry } from "../helpers/registry";
import { TemporaryDirectory } from "../helpers/temporary";

const token = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
const commit = "c".repeat(40);
const script =
    "mkdir -p bin/lib; echo hello > bin/tool; chmod +x bin/tool; echo data > 'bin/lib/a b.txt'; ln -s tool bin/link";

/** Releases of builds that the real exporter stored, to an API as GitHub's and to registries that are real. */
describe("ke1 release", () => {
    const directory = new TemporaryDirectory();
    const stack = new TemporaryStack("release");
    let github: GitHubServer;
    let registry: PrivateRegistry;
    let origin: PrivateRegistry;
    let dockerConfig: string;

    const release = async (args: readonly string[], environment: NodeJS.ProcessEnv = {}) =>
        stack.ke1(["release", "--repository", "kerbodyne/booster", ...args], {
            GITHUB_API_URL: github.apiUrl,
            GITHUB_TOKEN: token,
            ...environment,
        });

    before(async () => {
        const { blobEndpoint } = platform();
        const store = openStore(`${blobEndpoint}/${stack.container}`);
        await store.create();
        const credential = stack.containerClient().credential as Parameters<typeof containerSas>[0];
        const sas = containerSas(credential, blobEndpoint, stack.container, new Date().toISOString().slice(0, 10));
        const pods = new ExporterPods(directory.path, store.url, sas);
        const tags = ["v1.0.0", "v1.1.0-rc.1", "v2.0.0", "v3.0.0", "v4.0.0", "bad", "c0ffee1"];
        const ends = await Promise.all(
            tags.map(async (tag) =>
                pods.run(tag, `${script}; echo ${tag} > bin/version`, { KE1_SOURCE_COMMIT: commit }),
            ),
        );
        ends.forEach(({ exporterCode, words }) => assert.equal(exporterCode, 0, words));
        registry = await PrivateRegistry.start();
        origin = await PrivateRegistry.start({ isOpen: true });
        const auth = Buffer.from(`${account.username}:${account.password}`).toString("base64");
        dockerConfig = directory.file(
            "docker/config.json",
            JSON.stringify({ auths: { [registry.address]: { auth } } }),
            0o600,
        );
    });

    beforeEach(async () => {
        github = await GitHubServer.start("kerbodyne/booster", token);
    });

    afterEach(async () => github.stop());

    after(async () => {
        await registry.stop();
        await origin.stop();
        await stack.remove();
        directory.remove();
    });

    it("uploads artifacts, checksums and provenance to a draft, then publishes it", async () => {
        const done = await release(["v1.0.0"]);
        assert.equal(done.code, 0, done.stderr);
        const [made, ...others] = github.releases;
        assert.deepEqual(others, []);
        assert.ok(made);
        assert.deepEqual([made.draft, made.prerelease, made.target_commitish], [false, false, commit]);
        assert.equal(made.make_latest, "legacy");
        assert.deepEqual(made.assets.map(({ name }) => name).sort(), [
            "SHA256SUMS",
            "lib.a.b.txt",
            "provenance.json",
            "tool",
            "version",
        ]);
        assert.equal(made.assets.find(({ name }) => name === "lib.a.b.txt")?.label, "lib/a b.txt");
        const sums = made.assets.find(({ name }) => name === "SHA256SUMS")!.content.toString();
        for (const { name, content } of made.assets.filter((each) => each.name !== "SHA256SUMS")) {
            assert.ok(sums.includes(`${createHash("sha256").update(content).digest("hex")}  ${name}\n`), name);
        }
        assert.match(made.body, /\| tool \| 6 \| `[0-9a-f]{64}` \|/);
        // Published after the last file, and the token nowhere else.
        const publishing = github.requests.findIndex((line) => line.startsWith("PATCH"));
        const lastUpload = github.requests.findLastIndex((line) => line.startsWith("POST"));
        assert.ok(publishing > lastUpload);
        assert.doesNotMatch(done.stdout + done.stderr, new RegExp(token));
        assert.equal(done.stdout.trim().split("\n").length, 1);
    });

    it("completes a release that is there, and leaves alone what is the same", async () => {
        assert.equal((await release(["v1.0.0"])).code, 0);
        const [made] = github.releases;
        made!.assets.splice(0, 2);
        github.requests.length = 0;
        const again = await release(["v1.0.0", "--json"]);
        assert.equal(again.code, 0, again.stderr);
        const result = JSON.parse(again.stdout);
        assert.deepEqual([result.uploaded.length, result.unchanged.length, result.replaced.length], [2, 3, 0]);
        assert.equal(github.requests.filter((line) => /^(POST|DELETE|PATCH)/.test(line)).length, 2);
        // Without digests it reads what is there.
        github.givesDigests = false;
        const read = await release(["v1.0.0", "--json"]);
        assert.equal(JSON.parse(read.stdout).unchanged.length, 5, read.stderr);
        const { assets } = github.releases[0]!;
        assets[0] = { ...assets[0]!, content: Buffer.alloc(assets[0]!.size, "x") };
        assert.match((await release(["v1.0.0"])).stderr, /already, with another content/);
    });

    it("refuses a file with another content, unless it is to replace it", async () => {
        assert.equal((await release(["v2.0.0"])).code, 0);
        const { assets } = github.releases[0]!;
        const at = assets.findIndex(({ name }) => name === "tool");
        assets[at] = { ...assets[at]!, digest: `sha256:${"0".repeat(64)}` };
        github.requests.length = 0;
        const refused = await release(["v2.0.0"]);
        assert.equal(refused.code, 2);
        assert.match(refused.stderr, /^error: the release v2\.0\.0 has tool already, with another content; --replace/m);
        assert.ok(github.requests.every((line) => line.startsWith("GET")));
        const replaced = await release(["v2.0.0", "--replace", "--json"]);
        assert.deepEqual(JSON.parse(replaced.stdout).replaced, ["tool"], replaced.stderr);
        assert.equal(assets.find(({ name }) => name === "tool")?.content.toString(), "hello\n");
    });

    it("gets over an answer that is lost, an upload that breaks off, and a server that fails", async () => {
        github.failures.push(
            { method: "POST", path: /releases$/, how: "lost answer" },
            { method: "POST", path: /assets$/, how: "broken" },
            { method: "POST", path: /assets$/, how: "lost answer" },
            { method: "PATCH", path: /releases/, how: { status: 502 } },
            { method: "GET", path: /tags/, how: { status: 403, headers: { "retry-after": "1" } } },
        );
        const done = await release(["v3.0.0"]);
        assert.equal(done.code, 0, done.stderr);
        assert.deepEqual(github.failures, []);
        assert.equal(github.releases.length, 1);
        assert.equal(github.releases[0]!.assets.length, 5);
        assert.ok(github.releases[0]!.assets.every(({ state }) => state === "uploaded"));
        assert.equal(github.releases[0]!.draft, false);
    });

    it("tells versions that are not for everybody, and commits that are no version", async () => {
        assert.equal((await release(["v1.1.0-rc.1"])).code, 0);
        assert.equal(github.releases[0]!.prerelease, true);
        assert.equal((await release(["c0ffee1"])).code, 0);
        assert.deepEqual([github.releases[0]!.prerelease, github.releases[0]!.make_latest], [false, "false"]);
        assert.equal((await release(["v4.0.0", "--draft", "--release-tag", "v4.0.1"])).code, 0);
        assert.deepEqual([github.releases[0]!.draft, github.releases[0]!.tag_name], [true, "v4.0.1"]);
    });

    it("releases nothing that does not verify, and no other commit than the tag's", async () => {
        github.tags.set("v4.0.0", "d".repeat(40));
        const other = await release(["v4.0.0"]);
        assert.equal(other.code, 2);
        assert.match(other.stderr, /the tag v4\.0\.0 is of the commit d{40}, and what was built is c{40}/);
        await stack.containerClient().getBlockBlobClient("bad/bin/tool").upload("evil!\n", 6);
        const bad = await release(["bad"]);
        assert.equal(bad.code, 1);
        assert.match(bad.stderr, /tool is not what the build made/);
        assert.equal(github.releases.length, 0);
        assert.ok(github.requests.every((line) => line.startsWith("GET")));
    });

    it("is wrong usage without a token, a repository or a build", async () => {
        const cases: readonly (readonly [readonly string[], NodeJS.ProcessEnv, RegExp])[] = [
            [["v1.0.0"], { GITHUB_TOKEN: "" }, /no token for GitHub: set GITHUB_TOKEN/],
            [["v1.0.0", "--repository", "booster"], {}, /--repository must be owner\/name/],
            [["never-built"], {}, /never-built was not built/],
            [["v1.0.0"], { GITHUB_API_URL: "http://198.51.100.7/" }, /must begin with https/],
            [["v1.0.0", "--image", "a=b=c"], {}, /--image must be/],
        ];
        for (const [args, environment, message] of cases) {
            const { code, stderr } = await release(args, environment);
            assert.equal(code, 2, stderr);
            assert.match(stderr, message);
            assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
        }
        const wrong = await release(["v1.0.0"], {
            GITHUB_TOKEN: "",
            GITHUB_TOKEN_FILE: directory.file("token", "other\n"),
        });
        assert.equal(wrong.code, 1);
        assert.match(wrong.stderr, /401 Bad credentials; is GITHUB_TOKEN good\?/);
    });

    it("pushes an index with all its images to a registry that wants a password, byte for byte", async () => {
        const source = `${origin.address}/ci/app:multi`;
        const digest = await pushIndex(source, ["amd64", "arm64"]);
        const destination = `${registry.address}/kerbodyne/app`;
        const args = ["v1.0.0", "--no-github", "--image", `${source}=${destination}`, "--json"];
        const refused = await release(args, { DOCKER_CONFIG: `${directory.path}/none` });
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /the registry wants to know who asks/);
        const pushed = await release([...args, "--registry-config", dockerConfig]);
        assert.equal(pushed.code, 0, pushed.stderr);
        assert.deepEqual(JSON.parse(pushed.stdout).images[0].digest, digest);
        const { username, password } = account;
        const credential = (serveraddress: string) => Promise.resolve({ serveraddress, username, password });
        const there = new RepositoryClient(parseReference(destination), credential);
        const index = await there.manifest("v1.0.0");
        const original = await new RepositoryClient(parseReference(source), nobody).manifest(digest);
        assert.deepEqual([index.digest, index.mediaType], [digest, original.mediaType]);
        for (const { digest: image } of JSON.parse(index.bytes.toString()).manifests) {
            const { layers } = JSON.parse((await there.manifest(image)).bytes.toString());
            const layer = await there.request(`blobs/${layers[0].digest}`, {});
            assert.match(await layer.text(), /^layer of (amd|arm)64$/);
        }
        // Again: nothing is sent. Then the tag stands for another image, and stays it.
        const again = await release([...args, "--registry-config", dockerConfig]);
        assert.deepEqual(JSON.parse(again.stdout).images[0], {
            ...{ source, destination: `${destination}:v1.0.0`, digest, unchanged: true, bytes: 0 },
        });
        const other = await pushIndex(source, ["riscv64"]);
        const taken = await release([...args, "--registry-config", dockerConfig]);
        assert.equal(taken.code, 2);
        assert.match(taken.stderr, /is sha256:[0-9a-f]{64} already, not sha256:[0-9a-f]{64}; --replace sets it anew/);
        const replaced = await release([...args, "--registry-config", dockerConfig, "--replace"]);
        assert.equal(JSON.parse(replaced.stdout).images[0].digest, other, replaced.stderr);
        assert.ok(!(pushed.stdout + pushed.stderr + refused.stderr).includes(account.password));
        assert.ok(fs.existsSync(dockerConfig));
    });
});
