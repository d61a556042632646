import { strict as assert } from "node:assert";
import * as fs from "node:fs";
import * as path from "node:path";

import { BuildableRepository } from "../helpers/buildable";
import { BuildkiteServer } from "../helpers/buildkite";
import type { FakeJob } from "../helpers/buildkiteModel";
import { RunningSpawner, until } from "../helpers/buildkiteSpawner";
import { kubectl, TemporaryStack } from "../helpers/ke1";
import { TemporaryDirectory } from "../helpers/temporary";

const token = "registration-token-of-the-organization";

describe("ke1 spawn on the cluster", () => {
    let server: BuildkiteServer;
    let stack: TemporaryStack;
    let repository: BuildableRepository;
    let commit: string;
    const secrets = new TemporaryDirectory();
    const spawners: RunningSpawner[] = [];

    before(async () => {
        server = await new BuildkiteServer({ registrationToken: token }).start();
        stack = new TemporaryStack("spawn", { admission: false });
        repository = new BuildableRepository(["mkdir -p bin", "echo hello > bin/greeting"]);
        repository.commit();
        commit = repository.git("rev-parse", "HEAD");
    });
    after(async () => {
        for (const spawner of spawners) {
            await spawner.remove();
        }
        await stack.remove();
        await server.stop();
        repository.remove();
        secrets.remove();
    });

    const spawner = (...options: readonly string[]) => {
        const added = new RunningSpawner(stack, server, secrets.file("token", `${token}\n`, 0o600), [
            ...["--queue", "bk-operator"],
            ...options,
        ]);
        spawners.push(added);
        return added;
    };
    const schedule = (command: string, cluster: string, more: Readonly<Record<string, string>> = {}, chunk = 1024) =>
        server.schedule(
            {
                BUILDKITE_REPO: repository.path,
                BUILDKITE_COMMIT: commit,
                BUILDKITE_BRANCH: "main",
                BUILDKITE_COMMAND: command,
                BUILDKITE_PIPELINE_SLUG: "shop",
                BUILDKITE_BUILD_NUMBER: "42",
                BUILDKITE_LABEL: ":hammer: build",
                ...more,
            },
            { queue: "bk-operator", cluster },
            { chunk },
        );
    const said = () => spawners.map(({ output }) => output).join("\n");
    const ended = async (...jobs: readonly FakeJob[]) =>
        until(
            () => jobs.every(({ state }) => state === "finished" || state === "canceled"),
            "the jobs end",
            () => `${jobs.map(({ state }) => state).join(", ")}\n${said()}`,
        );
    /** The log that the store has of a job's build. */
    const stored = async (job: FakeJob) => {
        const tag = job.metaData.get(`ke1:build-tag:${job.id}`)!;
        const logs = (await stack.blobs(`${tag}/logs/`)).filter((name) => name.endsWith(".log"));
        return { tag, log: await stack.blob(logs.at(-1)!) };
    };

    it("runs each job in the cluster that its step asks for, and hands back log, status and artifacts", async () => {
        const [east, west] = [spawner("--tags", "cluster=east"), spawner("--tags", "cluster=west", "--spawn", "2")];
        east.start();
        west.start();
        const built = schedule(
            'make build; echo "this is job $BUILDKITE_BUILD_NUMBER, $FLAVOUR"; seq 1 3000; printf "no end of line"',
            "east",
            { FLAVOUR: "vanilla", DEPLOY_TOKEN: "not-for-builds", BUILDKITE_ARTIFACT_PATHS: "bin/**/*" },
        );
        const failing = schedule('echo "it does not work"; exit 7', "west");
        const refused = schedule("true", "west", { KE1_KUBE_CONTEXT: "mine" });
        await ended(built, failing, refused);

        const log = server.log(built);
        const { tag, log: bytes } = await stored(built);
        assert.match(bytes.toString(), /this is job 42, vanilla\n[^]*\n3000\nno end of line$/);
        const begin = log.indexOf("+++ Log\n") + "+++ Log\n".length;
        assert.deepEqual(log.subarray(begin, begin + bytes.length), bytes, "the same bytes");
        assert.equal(log.subarray(begin + bytes.length).toString(), "\n+++ Succeeded with 1 artifact(s)\n");
        assert.match(log.subarray(0, begin).toString(), /not passed on, as a build has no secret: DEPLOY_TOKEN/);
        assert.ok(built.chunks.size > 10, "in chunks of the size that the server takes");
        assert.equal(built.exit!["exit_status"], "0");
        assert.equal(built.exit!["chunks_failed_count"], 0);
        assert.match(tag, /^shop-42-/);
        const [artifact] = built.artifacts;
        assert.equal(artifact!["state"], "finished");
        assert.equal(artifact!["path"], "bin/greeting");
        assert.equal(artifact!["url"], `${stack.containerClient().url}/${tag}/bin/greeting`);
        assert.match(built.annotations[0]!["body"] as string, /\*\*Succeeded\*\*[^]*greeting/);

        assert.deepEqual(
            { status: failing.exit!["exit_status"], reason: failing.exit!["signal_reason"] },
            { status: "7", reason: undefined },
        );
        assert.match(server.log(failing).toString(), /it does not work\n[^]*\+\+\+ BuildFailed: .*7/);
        assert.deepEqual(
            { status: refused.exit!["exit_status"], reason: refused.exit!["signal_reason"] },
            { status: "-1", reason: "agent_refused" },
        );
        assert.match(
            server.log(refused).toString(),
            /this job is not run: KE1_KUBE_CONTEXT is nothing that a step may/,
        );

        const cluster = (job: FakeJob) => job.agent!.tags.get("cluster");
        assert.deepEqual([cluster(built), cluster(failing), cluster(refused)], ["east", "west", "west"]);
        assert.equal(server.agents.length, 3);
        assert.equal(await west.end(), 0, said());
        assert.deepEqual(server.agents.map(({ tags, state }) => `${tags.get("cluster")} ${state}`).sort(), [
            "east connected",
            "west disconnected",
            "west disconnected",
        ]);
        assert.deepEqual(server.violations, []);
        assert.ok(!said().includes(token), "no token is shown");
    });

    it("ends the build of a job that is cancelled", async () => {
        const job = schedule('echo begun; trap "echo ends in order; exit 1" TERM; sleep 600 & wait', "east");
        await until(() => server.log(job).includes("begun"), "the build runs", said);
        server.cancel(job);
        await ended(job);
        const { exit_status: status, signal, signal_reason: reason } = job.exit!;
        assert.deepEqual({ status, signal, reason }, { status: "-1", signal: "SIGTERM", reason: "cancel" });
        assert.match(server.log(job).toString(), /begun\n[^]*\+\+\+ Cancelled/);
    });

    it("goes on with the job of a spawner that was killed, and sends no byte twice", async () => {
        const [east] = spawners;
        const job = schedule('for i in $(seq 1 12); do echo "line $i"; sleep 1; done', "east", {}, 40);
        await until(() => server.log(job).includes("line 4\n"), "the build runs", said);
        await east!.end("SIGKILL");
        const state = path.join(east!.data.path, "spawn", "agent-1.json");
        assert.equal(fs.statSync(state).mode & 0o777, 0o600, "it has the agent's token and the job's");
        assert.equal(job.state, "running");
        const agents = server.agents.length;
        east!.start();
        await ended(job);
        assert.equal(job.exit!["exit_status"], "0", server.log(job).toString());
        const { tag, log } = await stored(job);
        const text = server.log(job).toString();
        assert.ok(text.includes(`+++ Log\n${log.toString()}\n+++ Succeeded`), text);
        assert.match(log.toString(), /line 1\n[^]*line 12\n$/);
        assert.equal((await stack.blobs(`${tag}/attempts/`)).filter((name) => name.endsWith("started.json")).length, 1);
        assert.deepEqual(server.violations, []);
        await until(() => server.agents.length === agents + 1, "it takes jobs again", said);
        assert.equal(await east!.end(), 0, said());
        assert.equal(fs.existsSync(state), false, "an agent that has disconnected leaves no token");
        const namespaces = await kubectl("get", "namespaces", "-o", "name");
        const builds = server.jobs.flatMap(
            (each) => /^build ([0-9a-f]{12})$/m.exec(server.log(each).toString())?.[1] ?? [],
        );
        assert.equal(builds.length, 4);
        assert.ok(!builds.some((id) => namespaces.includes(id)), "nothing is left in the cluster");
        assert.deepEqual(fs.readdirSync(path.join(east!.data.path, "builds")), [], "nor of its sources here");
    });
});
