import { strict as assert } from "node:assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { BuildRecord, BuildRequest } from "../../service/build";
import { SpawnAgent } from "../../service/spawn/agent";
import { AgentApi } from "../../service/spawn/agentApi";
import type { JobBuilds } from "../../service/spawn/builds";
import { StateFile } from "../../service/spawn/state";
import { BuildkiteServer } from "../helpers/buildkite";
import type { BuildkiteOptions, FakeAgent, FakeJob } from "../helpers/buildkiteModel";
import { until } from "../helpers/buildkiteSpawner";
import { ke1 } from "../helpers/ke1";
import { TemporaryDirectory } from "../helpers/temporary";

const token = "registration-token";

/** A queue in which a build is what its test makes of it: its log, and when it ends. */
class ScriptedBuilds {
    public readonly submitted: BuildRequest[] = [];
    public readonly cancelled: string[] = [];
    public logText = "";
    public room = true;
    public forgotten = 0;
    private record: BuildRecord | undefined;

    public get builds(): JobBuilds {
        return this as unknown as JobBuilds;
    }

    public hasRoom = () => this.room;
    public forget = () => this.forgotten++;
    public get = () => this.record;
    public ofJob = () => undefined;
    public attempt = async () => Promise.resolve({ exitCode: 3, logUrl: "https://store.example/log" });
    public artifacts = async () => Promise.resolve([]);
    public launcherLog = () => "/nowhere";
    public logName = async () => Promise.resolve(this.logText === "" ? undefined : "log");
    public log = async (_record: BuildRecord, _name: string, offset: number) =>
        Promise.resolve(Buffer.from(this.logText).subarray(offset));

    public submit(request: BuildRequest, caller: string): string {
        this.submitted.push(request);
        const createdAt = new Date().toISOString();
        this.record = {
            ...{ id: "b1", state: "running", request, caller, stack: "s", createdAt, kept: true, buildTag: "t" },
        };
        return "b1";
    }

    public cancel(id: string): void {
        this.cancelled.push(id);
        this.end("cancelled", "Cancelled");
    }

    public end(state: BuildRecord["state"], outcome: BuildRecord["outcome"], message?: string): void {
        this.record = { ...this.record!, state, outcome, message };
    }
}

describe("an agent of a build server", () => {
    let server: BuildkiteServer;
    let builds: ScriptedBuilds;
    let directory: TemporaryDirectory;
    let said: string[];
    let running: { stopping: AbortController; leaving: AbortController; done: Promise<void> }[];

    beforeEach(() => {
        builds = new ScriptedBuilds();
        directory = new TemporaryDirectory();
        said = [];
        running = [];
    });
    afterEach(async () => {
        running.forEach(({ leaving }) => leaving.abort());
        await Promise.allSettled(running.map(async ({ done }) => done));
        await server.stop();
        directory.remove();
    });

    const serve = async (more: Partial<BuildkiteOptions> = {}) => {
        server = await new BuildkiteServer({ registrationToken: token, ...more }).start();
    };
    const stateFile = () => path.join(directory.path, "agent-1.json");
    const begin = (by = token) => {
        const [stopping, leaving] = [new AbortController(), new AbortController()];
        const agent = new SpawnAgent({
            api: new AgentApi({ endpoint: server.url, token: by, userAgent: "test" }),
            registration: {
                ...{ name: "ke1-1", hostname: "h", os: "o", arch: "amd64", version: "1", build: "x", pid: 1 },
                ...{ meta_data: ["queue=ke1", "cluster=east"], script_eval_enabled: true },
                ...{ ignore_in_dispatches: false, features: [] },
            },
            builds: builds.builds,
            state: new StateFile(stateFile()),
            base: () => ({ environments: {}, environment: "", timeoutSeconds: 60 }),
            directory: directory.path,
            stopping: stopping.signal,
            leaving: leaving.signal,
            say: (line) => said.push(line),
        });
        const one = { stopping, leaving, done: agent.run() };
        running.push(one);
        return one;
    };
    const schedule = (agents: Readonly<Record<string, string>> = {}) =>
        server.schedule(
            { BUILDKITE_REPO: "https://git.example/a.git", BUILDKITE_COMMAND: "make" },
            { queue: "ke1", ...agents },
        );
    const wait = async (condition: () => boolean, what: string) =>
        until(condition, what, () => [...said, ...server.requests].join("\n"), 20);
    const isEnded = ({ state }: FakeJob) => state === "finished" || state === "canceled";
    const logOf = (job: FakeJob) => server.log(job).toString();
    const agentNow = (): FakeAgent => server.agents.at(-1)!;

    it("registers, runs the jobs that are for its tags, and no others, and leaves in order", async () => {
        await serve();
        const [elsewhere, other] = [schedule({ cluster: "west" }), schedule({ queue: "default" })];
        const one = begin();
        const job = schedule({ cluster: "*" });
        await wait(() => builds.submitted.length === 1, "the build is asked for");
        assert.equal(fs.statSync(stateFile()).mode & 0o777, 0o600);
        builds.logText = "hello\n";
        await wait(() => logOf(job).endsWith("hello\n"), "the log comes while it runs");
        builds.logText += "and the rest";
        builds.end("failed", "BuildFailed", "`make` ended with exit code 3");
        await wait(() => isEnded(job), "the job ends");
        assert.equal(job.exit!["exit_status"], "3");
        assert.match(logOf(job), /\+\+\+ Log\nhello\nand the rest\n\^\^\^ \+\+\+\n\+\+\+ BuildFailed: `make` ended/);
        assert.match(job.annotations[0]!["body"] as string, /BuildFailed[^]*store\.example\/log/);
        assert.equal(builds.forgotten, 1);
        one.stopping.abort();
        await one.done;
        assert.deepEqual([elsewhere.state, other.state], ["scheduled", "scheduled"]);
        assert.equal(agentNow().state, "disconnected");
        assert.ok(agentNow().heartbeats > 0);
        assert.equal(fs.existsSync(stateFile()), false);
        assert.deepEqual(fs.readdirSync(directory.path), [], "no log stays either");
        assert.deepEqual(server.violations, []);
    });

    it("goes on through errors, and answers that are lost, and sends nothing wrongly", async () => {
        await serve();
        server.fault(/start$/, "lost");
        server.fault(/chunks$/, "lost");
        server.fault(/chunks$/, 500);
        server.fault(/finish$/, 502);
        const job = schedule();
        begin();
        await wait(() => builds.submitted.length === 1, "the build is asked for");
        builds.logText = "a log\n";
        await wait(() => logOf(job).endsWith("a log\n"), "the log comes");
        builds.end("succeeded", "Succeeded");
        await wait(() => isEnded(job), "the job ends");
        assert.equal(job.exit!["exit_status"], "0");
        assert.equal(job.exit!["chunks_failed_count"], 0);
        assert.match(logOf(job), /\+\+\+ Log\na log\n\n\+\+\+ Succeeded/);
        // Who heard no answer asks again, and is told that it has started.
        assert.deepEqual(
            server.violations.filter((line) => !/start: 422 the job is running/.test(line)),
            [],
        );
        assert.ok(
            said.some((line) => /chunks: the server answered 500 \(a fault\); trying again/.test(line)),
            said.join(),
        );
    });

    it("ends a build whose job is cancelled, and says so", async () => {
        await serve();
        const job = schedule();
        begin();
        await wait(() => builds.submitted.length === 1, "the build is asked for");
        server.cancel(job);
        await wait(() => isEnded(job), "the job ends");
        assert.deepEqual(builds.cancelled, ["b1"]);
        const { exit_status, signal_reason } = job.exit!;
        assert.deepEqual({ exit_status, signal_reason }, { exit_status: "-1", signal_reason: "cancel" });
        assert.equal(job.state, "canceled");
    });

    it("takes no job while it is paused or has no room, and ends when it is told to disconnect", async () => {
        await serve();
        const one = begin();
        await wait(() => server.agents.length === 1 && agentNow().pings > 0, "it asks for jobs");
        agentNow().action = "pause";
        await wait(() => said.includes("paused by the server"), "it is paused");
        builds.room = false;
        await sleep(2000);
        agentNow().action = undefined;
        const job = schedule();
        await sleep(1500);
        assert.equal(job.state, "scheduled", "it does not ask for what it could not run");
        assert.ok(!server.requests.some((each) => each.includes("of-a-paused-agent")));
        builds.room = true;
        await wait(() => said.includes("resumed by the server") && builds.submitted.length === 1, "it goes on");
        builds.end("succeeded", "Succeeded");
        await wait(() => isEnded(job), "the job ends");
        agentNow().action = "disconnect";
        await one.done;
        assert.equal(agentNow().state, "disconnected");
    });

    it("finishes the job that runs when it is told to stop", async () => {
        await serve();
        const [job, next] = [schedule(), schedule()];
        const one = begin();
        await wait(() => builds.submitted.length === 1, "the build is asked for");
        one.stopping.abort();
        await sleep(1000);
        assert.equal(job.state, "running");
        builds.end("succeeded", "Succeeded");
        await one.done;
        assert.equal(job.state, "finished");
        assert.equal(next.state, "scheduled");
        assert.equal(agentNow().state, "disconnected");
    });

    it("leaves its job to the next process, which goes on as the same agent", async () => {
        await serve();
        const job = schedule();
        const one = begin();
        await wait(() => builds.submitted.length === 1, "the build is asked for");
        builds.logText = "first\n";
        await wait(() => logOf(job).endsWith("first\n"), "the log comes");
        one.leaving.abort();
        await one.done;
        assert.equal(job.state, "running");
        builds.logText += "second\n";
        begin();
        await wait(() => logOf(job).endsWith("first\nsecond\n"), "the log goes on");
        builds.end("succeeded", "Succeeded");
        await wait(() => isEnded(job), "the job ends");
        assert.equal(job.agent, server.agents[0]);
        assert.equal(builds.submitted.length, 1);
        assert.deepEqual(server.violations, []);
    });

    it("gives up the build of a job that the server gave up, and registers anew", async () => {
        await serve({ lostAfter: 1500, heartbeatInterval: 3 });
        const job = schedule();
        begin();
        await wait(() => builds.submitted.length === 1, "the build is asked for");
        const first = agentNow();
        first.lastSeen = 0;
        await wait(() => server.agents.length === 2, "it registers anew");
        assert.equal(first.state, "lost");
        assert.equal(job.exit!["signal_reason"], "agent_lost");
        assert.deepEqual(builds.cancelled, ["b1"]);
    });

    it("says in a line that its token is refused, and does not show it", async () => {
        await serve();
        await assert.rejects(begin("a-wrong-token").done, {
            name: "UserError",
            message: /the build server refuses the agent token: POST \/register: the server answered 401/,
        });
        assert.ok(!said.join("").includes("a-wrong-token"));
    });
});

describe("ke1 spawn, told wrongly", () => {
    const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
        ["no token", [], /there is no agent token: give its file with --token-file/],
        ["a token's file that is not there", ["--token-file", "/no/such/file"], /cannot be read \(ENOENT\)/],
        ["an address without TLS", ["--endpoint", "http://build.example/v3"], /--endpoint must be https/],
        ["a tag that is none", ["--tags", "cluster"], /--tags takes key=value.*cluster is none/],
        ["a second queue", ["--tags", "queue=a"], /the queue is given with --queue/],
        ["no number of agents", ["--spawn", "0"], /--spawn takes a whole number/],
        ["two numbers of builds", ["--spawn", "2", "--parallel", "3"], /leave out --parallel/],
    ];
    for (const [what, args, message] of cases) {
        it(`refuses ${what}`, async () => {
            const environment = what === "no token" ? { BUILDKITE_AGENT_TOKEN: "" } : { BUILDKITE_AGENT_TOKEN: "t" };
            const { code, stderr } = await ke1(["spawn", "--data", "/nonexistent", ...args], environment);
            assert.equal(code, 2, stderr);
            assert.match(stderr, message);
            assert.equal(stderr.trim().split("\n").length, 1, stderr);
        });
    }
});
