import { strict as assert } from "node:assert";
import * as path from "node:path";

import { outcomes } from "../../contract/outcome";
import { exitOf } from "../../service/spawn/exit";
import { JobLog } from "../../service/spawn/jobLog";
import type { JobLogOptions } from "../../service/spawn/jobLog";
import { jobBuild } from "../../service/spawn/jobRequest";
import type { Chunk } from "../../service/spawn/protocol";
import type { LogProgress } from "../../service/spawn/state";
import { TemporaryDirectory } from "../helpers/temporary";

const base = { environments: { tools: { env: { A: "1" } } }, environment: "", timeoutSeconds: 1200 };
const env = {
    BUILDKITE_REPO: "https://git.example/shop.git",
    BUILDKITE_COMMIT: "0123456789012345678901234567890123456789",
    BUILDKITE_BRANCH: "main",
    BUILDKITE_COMMAND: "make test",
    BUILDKITE_PIPELINE_SLUG: "shop",
    BUILDKITE_BUILD_NUMBER: "42",
};
const build = (more: Readonly<Record<string, string>> = {}, step: object = {}, over: object = {}) =>
    jobBuild(
        { id: "0190abcd-0000-4000-8000-000000000001", env: { ...env, ...more }, step, chunks_max_size_bytes: 1 },
        { ...base, ...over },
    );

describe("a job of a build server as a build", () => {
    it("is its repository, commit and command, under a BUILD_TAG of its own", () => {
        const { request, notes } = build();
        assert.equal(request.source, env.BUILDKITE_REPO);
        assert.equal(request.ref, env.BUILDKITE_COMMIT);
        assert.deepEqual(request.config["command"], ["/bin/sh", "-e", "-c", "make test"]);
        assert.equal(request.config["artifacts"], false);
        assert.equal(request.labels["build_tag"], "shop-42-0190abcd0000");
        assert.equal(request.labels["app"], "shop");
        assert.equal(request.timeoutSeconds, 1200);
        assert.deepEqual(notes, []);
    });

    it("builds what a branch or tag is where no commit is known yet", () => {
        assert.equal(build({ BUILDKITE_COMMIT: "HEAD" }).request.ref, "main");
        assert.equal(build({ BUILDKITE_COMMIT: "HEAD", BUILDKITE_TAG: "v1.0" }).request.ref, "v1.0");
    });

    it("takes what a step may set, from its environment and from the plugin", () => {
        const { config } = build({
            KE1_MEMORY_LIMIT: "3Gi",
            KE1_RETRIES: "1",
            KE1_SIDECARS: "junit\ncoverage\n",
            KE1_NODE_REQUIREMENTS: '["pool in (a,b)"]',
            KE1_DISK_LIMIT: "1Gi",
            BUILDKITE_PLUGINS: JSON.stringify([
                { "github.com/example/ke1-buildkite-plugin#v1": { memoryLimit: "4Gi", initContainers: ["fetch"] } },
            ]),
        }).request;
        assert.equal(config["memoryLimit"], "4Gi", "the plugin's come first");
        assert.equal(config["retries"], 1);
        assert.deepEqual(config["sidecars"], ["junit", "coverage"]);
        assert.deepEqual(config["nodeRequirements"], ["pool in (a,b)"]);
        assert.deepEqual(config["initContainers"], ["fetch"]);
        assert.equal(config["diskLimit"], "1Gi");
    });

    it("hands back the directory that artifact_paths names", () => {
        for (const paths of ["out/dist/**/*", "./out/dist/*", "out/dist/**"]) {
            assert.equal(build({ BUILDKITE_ARTIFACT_PATHS: paths }).request.config["artifactDirectory"], "out/dist");
        }
        const given = { KE1_ARTIFACT_DIRECTORY: "bin", BUILDKITE_ARTIFACT_PATHS: "*.log;*.txt" };
        assert.equal(build(given).request.config["artifactDirectory"], "bin");
    });

    it("gives a build its job's variables, and none that is a secret or steers an agent", () => {
        const { request, notes } = build({
            ...{
                FLAVOUR: "vanilla",
                AWS_SECRET_ACCESS_KEY: "x",
                GITHUB_TOKEN: "x",
                token: "x",
                PATH: "/evil",
                LD_PRELOAD: "x",
            },
            ...{ BUILDKITE_AGENT_ACCESS_TOKEN: "x", BUILDKITE_STEP_KEY: "test", BUILDKITE_PARALLEL_JOB: "3" },
        });
        const { environments, environment } = request.config as Record<string, any>;
        assert.deepEqual(environments[environment], {
            env: {
                CI: "true",
                BUILDKITE_BRANCH: "main",
                BUILDKITE_BUILD_NUMBER: "42",
                BUILDKITE_COMMIT: env.BUILDKITE_COMMIT,
                BUILDKITE_PARALLEL_JOB: "3",
                BUILDKITE_PIPELINE_SLUG: "shop",
                BUILDKITE_STEP_KEY: "test",
                FLAVOUR: "vanilla",
            },
        });
        assert.deepEqual(notes, [
            "not passed on, as a build has no secret: AWS_SECRET_ACCESS_KEY, GITHUB_TOKEN, token",
        ]);
        assert.ok(environments.tools, "the stack's are still there");
        const chosen = build({ KE1_ENVIRONMENT: "tools" }).request.config as Record<string, any>;
        assert.equal(chosen["environments"][chosen["environment"]].extends, "tools");
        const byStack = build({}, {}, { environment: "tools" }).request.config as Record<string, any>;
        assert.equal(byStack["environments"][byStack["environment"]].extends, "tools");
    });

    it("takes no more time than the step's timeout, and never more than the spawner's", () => {
        assert.equal(build({ BUILDKITE_TIMEOUT: "5" }).request.timeoutSeconds, 300);
        assert.equal(build({ BUILDKITE_TIMEOUT: "500" }).request.timeoutSeconds, 1200);
        assert.equal(build({ BUILDKITE_TIMEOUT: "false" }).request.timeoutSeconds, 1200);
    });

    const refusals: readonly (readonly [string, Record<string, string>, RegExp])[] = [
        ["a key that is the operator's", { KE1_NAMESPACE: "mine" }, /KE1_NAMESPACE is nothing that a step may set/],
        ["a list that is none", { KE1_SIDECARS: '["a", 1]' }, /KE1_SIDECARS must be a list/],
        ["a number that is none", { KE1_RETRIES: "often" }, /KE1_RETRIES must be a whole number/],
        ["no repository", { BUILDKITE_REPO: "" }, /names no repository/],
        [
            "an address with a credential",
            { BUILDKITE_REPO: "https://me:glpat-secret@git.example/a.git" },
            /^(?!.*glpat).*has a credential in it/,
        ],
        ["an address with a token", { BUILDKITE_REPO: "https://ghp_x@git.example/a.git" }, /has a credential in it/],
        ["another plugin", { BUILDKITE_PLUGINS: '["docker#v5"]' }, /the plugin docker#v5 cannot run here/],
        ["plugins that are no list", { BUILDKITE_PLUGINS: "{" }, /is no list of plugins/],
        [
            "a plugin's key that is the operator's",
            { BUILDKITE_PLUGINS: '[{"ke1#v1": {"maskSecret": "s"}}]' },
            /maskSecret is nothing that a step may set/,
        ],
        ["artifacts by patterns", { BUILDKITE_ARTIFACT_PATHS: "*.log;bin/*" }, /artifact_paths must be one directory/],
        ["a pipeline and a command", { KE1_PIPELINE: "p.yaml" }, /a command or a pipeline, not both/],
        ["an environment that is not there", { KE1_ENVIRONMENT: "nope" }, /no environment nope; there are tools/],
    ];
    for (const [what, more, message] of refusals) {
        it(`refuses ${what}`, () => {
            assert.throws(() => build(more), { name: "UserError", message });
        });
    }

    it("refuses a signed step, as it cannot verify it", () => {
        assert.throws(() => build({}, { signature: { value: "x" } }), /signed/);
    });
});

describe("a job's exit status", () => {
    it("is the build's own where the build ended by itself, and says who ended it where not", () => {
        const of = (outcome: (typeof outcomes)[number], exitCode?: number, cancelled = false) => {
            const { status, reason = "" } = exitOf({ outcome, exitCode, cancelled });
            return `${status} ${reason}`.trim();
        };
        assert.deepEqual(Object.fromEntries(outcomes.map((outcome) => [outcome, of(outcome)])), {
            Succeeded: "0",
            AlreadyBuilt: "0",
            BuildFailed: "1",
            OutOfMemory: "137",
            Disrupted: "-1 stack_error",
            ImagePullFailed: "-1 stack_error",
            Unschedulable: "-1 stack_error",
            DeadlineExceeded: "124",
            Cancelled: "-1 agent_stop",
            ExportFailed: "-1 stack_error",
        });
        assert.equal(of("BuildFailed", 7), "7");
        assert.equal(of("BuildFailed", 0), "1", "it left nothing behind");
        assert.equal(of("Cancelled", undefined, true), "-1 cancel");
        assert.equal(of("Succeeded", 0, true), "0", "it was done before the cancellation came");
    });
});

describe("a job's log on its way", () => {
    let directory: TemporaryDirectory;
    let kept: LogProgress;
    beforeEach(() => {
        directory = new TemporaryDirectory();
        kept = { sequence: 0, offset: 0, pending: [], failed: 0 };
    });
    afterEach(() => directory.remove());

    const open = (upload: (chunk: Chunk) => Promise<void>, more: Partial<JobLogOptions> = {}) =>
        new JobLog({
            file: path.join(directory.path, "log"),
            chunkBytes: 10,
            logBytes: 1_000_000,
            progress: kept,
            persist: (progress) => (kept = progress),
            upload,
            leaving: new AbortController().signal,
            say: () => undefined,
            ...more,
        });

    it("goes in numbered chunks, none larger than the server takes", async () => {
        const chunks: Chunk[] = [];
        const log = open(async (chunk) => Promise.resolve(void chunks.push(chunk)));
        log.append("0123456789abc");
        await log.flush();
        log.append("def");
        await log.flush();
        assert.deepEqual(
            chunks.map(({ sequence, offset, data }) => [sequence, offset, data.toString()]),
            [
                [1, 0, "0123456789"],
                [2, 10, "abc"],
                [3, 13, "def"],
            ],
        );
        assert.deepEqual(kept, { sequence: 3, offset: 16, pending: [], failed: 0 });
    });

    it("is sent again as it was by the next process where nothing was heard of a chunk", async () => {
        const never = new Promise<void>(() => undefined);
        const first: Chunk[] = [];
        const killed = open(async (chunk) => {
            first.push(chunk);
            return never;
        });
        killed.append("abc");
        killed.pump();
        killed.append("defgh");
        assert.deepEqual(kept.pending, [{ sequence: 1, offset: 0, size: 3 }], "written down before it is sent");
        const second: Chunk[] = [];
        const next = open(async (chunk) => Promise.resolve(void second.push(chunk)));
        await next.flush();
        assert.deepEqual(second[0], first[0]);
        assert.equal(Buffer.concat(second.map(({ data }) => data)).toString(), "abcdefgh");
    });

    it("counts what the server refuses for good, and goes on", async () => {
        const log = open(async ({ sequence }) => (sequence === 1 ? Promise.reject(new Error("no")) : undefined));
        log.append("0123456789abc");
        await log.flush();
        assert.equal(log.failedChunks, 1);
        assert.equal(kept.offset, 13);
    });

    it("leaves to the next process what was on its way when it is told to leave", async () => {
        const leaving = new AbortController();
        const log = open(
            async () => {
                leaving.abort();
                return Promise.reject(new Error("aborted"));
            },
            { leaving: leaving.signal },
        );
        log.append("abc");
        await log.flush();
        assert.deepEqual(kept, { sequence: 1, offset: 3, pending: [{ sequence: 1, offset: 0, size: 3 }], failed: 0 });
    });

    it("ends with the last words, however long it is, and has them once", async () => {
        let sent = "";
        const log = open(async ({ data }) => Promise.resolve(void (sent += data.toString())), {
            logBytes: 2000,
            chunkBytes: 5000,
        });
        log.append("x".repeat(5000));
        assert.ok(log.full);
        const at = log.size;
        log.close("the end", at);
        log.close("the end", at);
        await log.flush();
        assert.match(sent, /^x+the end$/);
        assert.ok(sent.length <= 2000);
    });
});
