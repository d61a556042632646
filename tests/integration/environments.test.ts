import * as assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as path from "node:path";
import { promisify } from "node:util";

import type { AttemptFinished, Manifest } from "../../contract/manifest";
import { kubectl, platform, projectDirectory, TemporaryStack } from "../helpers/ke1";
import type { Prepared } from "../helpers/prepared";
import { prepare } from "../helpers/prepared";

/** Builds whose pods have more containers than the build and the exporter. */
describe("environments", () => {
    let prepared: Prepared;
    let tools: string;
    const cleanUp: (() => Promise<void>)[] = [];

    before(async () => {
        prepared = await prepare();
        tools = platform().baseImage;
    });
    after(() => prepared.repository.remove());
    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    const builds = "mkdir -p bin; echo it > bin/it";
    const waits = 'until [ -e "$KE1_BUILD_EXIT" ]; do sleep 0.1; done';
    const shell = (script: string, more: object = {}) => ({ image: tools, command: ["sh", "-c", script], ...more });
    /** A stack whose image is there: it takes no time to make. */
    const stackOf = (script: string, config: Record<string, unknown>) => {
        const { repository, image, exporterImage } = prepared;
        const given = { source: repository.path, image, exporterImage };
        const command = script === "" ? {} : { command: ["sh", "-c", script] };
        const stack = new TemporaryStack("environments", { ...given, ...command, ...config });
        cleanUp.push(async () => stack.remove());
        return stack;
    };
    const manifestOf = async (stack: TemporaryStack) =>
        JSON.parse((await stack.blob(`${prepared.buildTag}/manifest.json`)).toString()) as Manifest;
    const finishedOf = async (stack: TemporaryStack) =>
        JSON.parse((await stack.blob(`${prepared.buildTag}/attempts/1/finished.json`)).toString()) as AttemptFinished;
    const pods = async (stack: TemporaryStack) =>
        JSON.parse(await kubectl("get", "pods", "--namespace", stack.namespace, "--output", "json")) as {
            items: { status: { phase: string } }[];
        };
    /** How the Job ended, and after how many pods: one, where nothing was tried again. */
    const ended = async (stack: TemporaryStack) => {
        for (let left = 60; left > 0; left--) {
            const { items } = await pods(stack);
            if (items.every(({ status }) => ["Succeeded", "Failed"].includes(status.phase))) {
                return items.map(({ status }) => status.phase);
            }
            await new Promise((resolve) => setTimeout(resolve, 500));
        }
        throw new Error("the Job's pod does not end");
    };
    const logOf = async (stack: TemporaryStack, container: string) =>
        (await stack.ke1(["logs", prepared.buildTag, "--container", container])).stdout;

    it("are the build, run before it in order, and run beside it", async () => {
        const volumes = { deps: { path: "/deps", sizeLimit: "10Mi" } };
        const stack = stackOf("", {
            environments: {
                base: { volumes, env: { GREETING: "hello" } },
                make: {
                    extends: "base",
                    command: ["sh", "-c", `cat /deps/*; echo $GREETING > $KE1_REPORTS/r; ${builds}`],
                },
                first: { extends: "base", ...shell("echo 1 | tee /deps/1") },
                second: { extends: "base", ...shell("cat /deps/1; echo 2 > /deps/2") },
                watcher: shell(
                    `touch /ke1/shared/x 2>/dev/null && echo it can write; ${waits}; cat "$KE1_BUILD_EXIT" $KE1_REPORTS/r;` +
                        ` sleep 1; echo '{"said": "'$(cat $KE1_REPORTS/r)'"}' > $KE1_SUMMARY; printf "the last line"`,
                    { security: { runAsUser: 1234, readOnlyRootFilesystem: true } },
                ),
            },
            environment: "make",
            initContainers: ["first", "second"],
            sidecars: ["watcher"],
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const shown = up.stderr.split("\n").flatMap((line) => /-await: (\[.*|[12])$/.exec(line)?.[1] ?? []);
        assert.deepEqual(shown, [
            "[first] 1",
            "[second] 1",
            "1",
            "2",
            "[watcher] 0",
            "[watcher] hello",
            "[watcher] the last line",
        ]);
        const output = JSON.parse((await stack.ke1(["stack", "output", "summaries", "--json"])).stdout) as unknown;
        assert.deepEqual(output, { watcher: { said: "hello" } });
        const { companions, command } = await manifestOf(stack);
        assert.deepEqual(
            companions?.map(({ name, role, exitCode, problem }) => [name, role, exitCode, problem]),
            [
                ["first", "init", 0, undefined],
                ["second", "init", 0, undefined],
                ["watcher", "sidecar", 0, undefined],
            ],
        );
        assert.equal(command[0], "sh");
        assert.equal(await logOf(stack, "watcher"), "0\nhello\nthe last line");
        assert.deepEqual(await ended(stack), ["Succeeded"]);

        const preview = await stack.ke1(["preview"]);
        assert.match(preview.stderr + preview.stdout, /Preview: \d+ unchanged,/);
    });

    it("fail the build with an init container that fails, keep its log, and try nothing again", async () => {
        const stack = stackOf(builds, {
            environments: {
                good: shell("echo good"),
                bad: shell("echo no such thing; printf 'to the end' >&2; exit 7"),
                never: shell("echo never"),
            },
            initContainers: ["good", "bad", "never"],
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /\[bad\] no such thing[^]*\[bad\] to the end[^]*/);
        assert.match(up.stderr, /BuildFailed: the init container `bad` ended with exit code 7\n/);
        assert.match(up.stderr, /log: http.*\.bad\.log\n/);
        assert.doesNotMatch(up.stderr, /\[never\]/);
        assert.deepEqual(await ended(stack), ["Failed"]);
        const { outcome, exitCode } = await finishedOf(stack);
        assert.deepEqual([outcome, exitCode], ["BuildFailed", 7]);
        assert.equal((await stack.ke1(["logs", prepared.buildTag])).stdout, "no such thing\nto the end");
        assert.equal(await logOf(stack, "good"), "good\n");
    });

    it("say of an init container that it ran out of memory, and keep its log", async () => {
        const stack = stackOf(builds, {
            environments: { hungry: shell("echo hungry; tail /dev/zero", { resources: { memoryLimit: "32Mi" } }) },
            initContainers: ["hungry"],
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /OutOfMemory: the container `hungry` used more memory than its limit/);
        assert.match(up.stderr, /\[hungry\] hungry\n/);
        assert.match((await stack.ke1(["logs", prepared.buildTag])).stdout, /^hungry\n/);
        const again = await stack.ke1(["up", "--yes"]);
        assert.match(again.stderr, /OutOfMemory/);
    });

    it("do not fail a build with a sidecar that crashes, stays too long, or runs out of memory", async () => {
        const stack = stackOf(`${builds}; sleep 2`, {
            environments: {
                crashes: shell("printf 'its last words'; exit 9"),
                stays: shell("echo staying; trap '' TERM; while :; do sleep 1; done"),
                hungry: shell("echo hungry; tail /dev/zero", { resources: { memoryLimit: "32Mi" } }),
                server: shell("trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done", { onBuildEnd: "terminate" }),
            },
            sidecars: ["crashes", "stays", "hungry", "server"],
            sidecarLimitSeconds: 2,
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        assert.match(up.stderr, /warning: the sidecar `crashes` ended with exit code 9/);
        assert.match(up.stderr, /warning: the sidecar `stays`: stopped: it still ran 2s after the build's end/);
        assert.match(up.stderr, /warning: the sidecar `hungry`(: killed| ended with exit code 137)/);
        assert.doesNotMatch(up.stderr, /warning: the sidecar `server`/);
        assert.equal(await logOf(stack, "crashes"), "its last words");
        assert.match(await logOf(stack, "hungry"), /^hungry\n/);
        assert.match(await logOf(stack, "server"), /bye\n$/);
        assert.deepEqual(await ended(stack), ["Succeeded"]);
    });

    it("fail a build with a sidecar that is required, and try nothing again", async () => {
        const stack = stackOf(builds, {
            environments: { needed: shell(`${waits}; echo no good; exit 3`, { required: true }) },
            sidecars: ["needed"],
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /\[needed\] no good/);
        assert.match(up.stderr, /BuildFailed: the sidecar `needed`, which is required, ended with exit code 3/);
        assert.deepEqual(await ended(stack), ["Failed"]);
        assert.equal((await stack.blobs()).includes(`${prepared.buildTag}/manifest.json`), false);
    });

    it("say of a sidecar whose image is not there, or that cannot be started, which it is", async () => {
        const missing = stackOf(builds, {
            environments: { absent: { ...shell("true"), image: tools.replace(/[0-9a-f]{64}$/, "0".repeat(64)) } },
            sidecars: ["absent"],
            pullLimitSeconds: 3,
        });
        const up = await missing.ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /cannot start `absent`/);
        assert.match(up.stderr, /ImagePullFailed: /);

        const shellless = stackOf(builds, {
            environments: { bare: { image: prepared.exporterImage, command: ["true"] } },
            sidecars: ["bare"],
        });
        const other = await shellless.ke1(["up", "--yes"]);
        assert.equal(other.code, 1, other.stderr);
        assert.match(other.stderr, /BuildFailed: the container `bare` cannot be started: .*\/bin\/sh/);
    });

    it("have a sidecar that makes a summary of JUnit reports", async () => {
        const make = ["--silent", "--directory", path.join(projectDirectory, "example/sidecars/junit"), "image"];
        const { stdout } = await promisify(execFile)("make", make, {
            env: { ...process.env, DOCKER_HOST: platform().dockerHost, REGISTRY: platform().registry },
        });
        const report = (inner: string) =>
            `<testsuites><testsuite><testsuite name="s">${inner}</testsuite></testsuite></testsuites>`;
        const passes = '<testcase classname="math" name="adds" time="0.25"/>';
        const fails = '<testcase classname="math" name="divides" time="1"><failure message="by 0"/></testcase>';
        const tests = (inner: string) =>
            `mkdir -p $KE1_REPORTS/unit; echo '${report(inner)}' > $KE1_REPORTS/unit/TEST.xml`;
        const junit = { image: stdout.trim(), command: ["junit-summary"], required: true };
        const stack = stackOf(`${tests(passes)}; ${builds}`, { environments: { junit }, sidecars: ["junit"] });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const counted = { reports: 1, tests: 1, failures: 0, errors: 0, skipped: 0, durationSeconds: 0.25 };
        assert.deepEqual((await manifestOf(stack)).summaries, { junit: counted });
        assert.deepEqual(JSON.parse((await stack.ke1(["stack", "output", "summaries", "--json"])).stdout) as unknown, {
            junit: counted,
        });

        const failing = stackOf(`${tests(passes + fails)}; exit 1`, { environments: { junit }, sidecars: ["junit"] });
        const failed = await failing.ke1(["up", "--yes"]);
        assert.equal(failed.code, 1, failed.stderr);
        assert.match(failed.stderr, /summary of junit: .*"failed":\["math\.divides"\],"failures":1/);
        assert.equal((await finishedOf(failing)).summaries?.["junit"]?.["failures"], 1);
    });
});
