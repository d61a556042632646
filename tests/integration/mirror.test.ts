import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { ke1Home } from "../../platform/home";
import { mirrorName } from "../../source/remote";
import { GitServer } from "../helpers/gitServer";
import { kubectl, platform, TemporaryStack } from "../helpers/ke1";
import { TemporaryRepository } from "../helpers/temporary";

/** A Makefile that looks at what a build is given. */
function makefile(lines: readonly string[]): string {
    return `build:\n${lines.map((line) => `\t@${line.replaceAll("$", "$$$$")}\n`).join("")}`;
}

const lookingAround = [
    "git describe --always",
    "git status --porcelain",
    "git fsck --no-dangling",
    "touch /ke1/mirrors/x 2>&1 | sed s/^/mirror:/",
    "ls /ke1/git /ke1/bin/source 2>&1 | sed s/^/secret:/",
    "mkdir -p bin",
    "cp content bin/",
];

describe("a build from a mirror", () => {
    let server: GitServer;
    const cleanUp: (() => unknown)[] = [];

    before(async () => {
        server = await GitServer.start(new URL(platform().blobEndpoint).hostname);
    });
    after(async () => server.stop());
    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    function repositoryOf(recipe = lookingAround): TemporaryRepository {
        const repository = new TemporaryRepository();
        cleanUp.push(() => repository.remove());
        repository.file("Makefile", makefile(recipe));
        repository.file("content", "1\n");
        // What makes a difference: without a mirror, all of it is fetched.
        repository.file("large", Array.from({ length: 60_000 }, () => Math.random()).join("\n"));
        return repository;
    }

    function stackOf(
        repository: TemporaryRepository,
        name: string,
        config: Record<string, unknown> = {},
    ): TemporaryStack {
        const stack = new TemporaryStack("mirror", {
            source: repository.path,
            sourceMode: "mirror",
            remote: server.address(name),
            // Only when the test says so: at the syncer's start.
            mirrorInterval: 3600,
            ...config,
        });
        cleanUp.push(async () => {
            await stack.remove();
            assert.equal(
                fs.existsSync(path.join(ke1Home(), "mirrors", stack.namespace)),
                false,
                "the mirrors are gone",
            );
        });
        return stack;
    }

    async function commit(repository: TemporaryRepository, name: string, content: string): Promise<string> {
        repository.file("content", content);
        const tag = repository.commit();
        await server.push(repository, name);
        return tag;
    }

    async function build(stack: TemporaryStack, tag: string): Promise<string> {
        server.forget();
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const { stdout } = await stack.ke1(["logs", tag]);
        return stdout;
    }

    /** A syncer syncs when it starts. It is ready before that, as the mirror is fresh enough. */
    async function syncNow(stack: TemporaryStack, name: string): Promise<void> {
        await kubectl("delete", "pod", "ke1-mirror-0", "--namespace", stack.namespace);
        const deleted = Math.ceil(Date.now() / 1000);
        const synced = path.join(mirrorPath(stack, name), "ke1-synced");
        for (let attempt = 0; attempt < 120 && Number(fs.readFileSync(synced, "utf8")) < deleted; attempt++) {
            await sleep(500);
        }
    }

    async function ready(stack: TemporaryStack): Promise<void> {
        const wait = ["wait", "--for=condition=Ready", "pod/ke1-mirror-0", "--timeout=60s"];
        await kubectl(...wait, "--namespace", stack.namespace);
    }

    function mirrorPath(stack: TemporaryStack, name: string): string {
        return path.join(ke1Home(), "mirrors", stack.namespace, mirrorName(server.address(name)));
    }

    it("asks the remote for nothing, for the difference, or for all, as far as the mirror goes", async () => {
        const repository = repositoryOf();
        const stack = stackOf(repository, "one");
        await build(stack, await commit(repository, "one", "1\n"));
        await ready(stack);

        const newer = await build(stack, await commit(repository, "one", "2\n"));
        assert.match(
            newer,
            /^ke1: source: \w{12} is newer than the mirror, synced \d+ s ago: fetched \d+ KiB from http/m,
        );
        assert.ok(server.sent < 20_000, `${server.sent} bytes were sent`);

        const third = await commit(repository, "one", "3\n");
        await syncNow(stack, "one");
        const log = await build(stack, third);
        assert.match(log, /^ke1: source: \w{12} is in the mirror, synced \d+ s ago: nothing was fetched\n.*ready/m);
        assert.deepEqual(server.asked, []);
        assert.match(log, new RegExp(`^${third}$`, "m"), "git describe works");
        assert.match(log, /^mirror:touch: cannot touch.*Read-only file system$/m);
        assert.doesNotMatch(log, /^secret:\/ke1\/git|^secret:\/ke1\/bin/m);
        assert.equal((await stack.blob(`${third}/bin/content`)).toString(), "3\n");
        const manifest = JSON.parse((await stack.blob(`${third}/manifest.json`)).toString());
        assert.equal(manifest.image, platform().baseImage, "the image has no source");
        assert.equal(manifest.source.commit, repository.git("rev-parse", "HEAD"));

        const fourth = await commit(repository, "one", "4\n");
        fs.rmSync(mirrorPath(stack, "one"), { recursive: true });
        const without = await build(stack, fourth);
        assert.match(
            without,
            /^ke1: source: there is no mirror of http.* yet\nke1: source: cloning http.* without a mirror$/m,
        );
        assert.ok(server.sent > 300_000, `${server.sent} bytes were sent`);
        assert.equal((await stack.blob(`${fourth}/bin/content`)).toString(), "4\n");
    });

    it("has its private remote's password neither in the build nor in any record; a remote that is down matters not", async () => {
        const repository = repositoryOf();
        const first = await commit(repository, "private", "1\n");
        const stack = stackOf(repository, "private", {
            mirrorSecret: "git-access",
            mirrorSecretOrigin: server.origin,
            mirrors: [`${server.origin.replace(/:\d+$/, ":9")}/down.git`],
            retries: 0,
        });
        const refused = await stack.ke1(["up", "--yes"]);
        assert.equal(refused.code, 1, refused.stderr);
        assert.match(
            refused.stderr,
            /BuildFailed: the source could not be had: .*; http.*private\.git turned us away: could not read Username/,
        );
        const { podinfo } = JSON.parse((await stack.blob(`${first}/attempts/0/podinfo.json`)).toString()) as any;
        assert.equal(podinfo, undefined);

        const secret = ["create", "secret", "generic", "git-access", `--from-literal=password=${server.password}`];
        await kubectl(...secret, "--namespace", stack.namespace);
        await kubectl("delete", "pod", "ke1-mirror-0", "--namespace", stack.namespace);
        const syncerLog = async () => kubectl("logs", "ke1-mirror-0", "--namespace", stack.namespace).catch(() => "");
        for (let attempt = 0; attempt < 60 && !/: cloned: /.test(await syncerLog()); attempt++) {
            await sleep(500);
        }
        assert.match(await syncerLog(), /down-\w+\.git: not synced: unable to access .*:9\/down\.git/);
        const condition = await kubectl(
            ...["get", "pod", "ke1-mirror-0", "--namespace", stack.namespace],
            ...["--output", 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'],
        );
        assert.equal(condition, "False", "one of the mirrors is not fresh");

        const tag = await commit(repository, "private", "2\n");
        const log = await build(stack, tag);
        assert.match(log, /is newer than the mirror/);
        assert.match(log, /^secret:ls: cannot access '\/ke1\/git'/m);
        const everything = [log, await syncerLog(), (await stack.ke1(["stack", "export"])).stdout, first];
        const pods = await kubectl("get", "pods", "--namespace", stack.namespace, "--output", "yaml");
        assert.equal([...everything, pods].join("\n").includes(server.password), false);
        const onVolume = execFileSync("sh", [
            "-c",
            `grep -rlF '${server.password}' '${mirrorPath(stack, "private")}' || true`,
        ]);
        assert.equal(onVolume.toString(), "");
    });

    it("keeps its objects while its branch is rewritten and the mirror is packed anew", async () => {
        const repository = repositoryOf([
            "mkdir -p bin; echo begun",
            // The first build, which is there for the mirror to be made, does not wait.
            "i=0; until ! grep -q to.be content || [ -e /ke1/mirrors/*/ke1-test-go ] || [ $i -gt 90 ]; do i=$((i+1)); sleep 1; done",
            "git fsck --full --no-dangling && git show HEAD:content > bin/content && git log --oneline | wc -l",
        ]);
        await commit(repository, "gc", "1\n");
        repository.git("checkout", "--quiet", "-b", "topic");
        const tag = await commit(repository, "gc", "to be rewritten\n");
        const old = repository.git("rev-parse", "HEAD");
        const stack = stackOf(repository, "gc");
        const mirrored = (...args: string[]) =>
            execFileSync("git", ["-c", "safe.directory=*", "--git-dir", mirrorPath(stack, "gc"), ...args], {
                encoding: "utf8",
            }).trim();

        const first = await stack.ke1(["up", "--yes"], { BUILD_TAG: repository.git("rev-parse", "--short", "main") });
        assert.equal(first.code, 0, first.stderr);
        await ready(stack);
        const up = stack.ke1(["up", "--yes"], { BUILD_TAG: tag });
        const logOf = async () => (await stack.ke1(["logs", tag])).stdout;
        for (let attempt = 0; attempt < 60 && !(await logOf()).includes("begun"); attempt++) {
            await sleep(500);
        }
        assert.match(await logOf(), /is in the mirror, .*nothing was fetched/);

        execFileSync("find", [
            path.join(mirrorPath(stack, "gc"), "objects"),
            "-exec",
            "touch",
            "-d",
            "2001-01-01",
            "{}",
            "+",
        ]);
        repository.git("reset", "--quiet", "--hard", "main");
        await commit(repository, "gc", "rewritten\n");
        await syncNow(stack, "gc");
        assert.equal(mirrored("rev-parse", "topic"), repository.git("rev-parse", "HEAD"));
        assert.match(mirrored("for-each-ref", "refs/ke1/kept"), new RegExp(old));
        const collected = await kubectl(
            ...["exec", "ke1-mirror-0", "--namespace", stack.namespace, "--"],
            ...["sh", "/ke1/bin/sync", "collect", mirrorName(server.address("gc"))],
        );
        assert.match(collected, /collected: \d+ KiB became \d+ KiB/);
        fs.writeFileSync(path.join(mirrorPath(stack, "gc"), "ke1-test-go"), "");

        const { code, stderr } = await up;
        assert.equal(code, 0, stderr);
        assert.equal((await stack.blob(`${tag}/bin/content`)).toString(), "to be rewritten\n");
    });

    it("says what it lacks when its commit is nowhere but here, and runs no second time for it", async () => {
        const repository = repositoryOf();
        await commit(repository, "unpushed", "1\n");
        repository.file("content", "2\n");
        repository.commit();
        const stack = stackOf(repository, "unpushed");
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 1);
        const head = repository.git("rev-parse", "HEAD");
        assert.match(
            up.stderr,
            new RegExp(
                `BuildFailed: the source could not be had: .*unpushed\\.git has no commit ${head}: push it first`,
            ),
        );
        const pods = await kubectl(
            ...[
                "get",
                "pods",
                "--namespace",
                stack.namespace,
                "--selector",
                "ke1.dev/source=mirror",
                "--output",
                "name",
            ],
        );
        assert.equal(pods.trim().split("\n").length, 1);
    });
});
