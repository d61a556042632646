import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import type { OperationTimings } from "../../cli/timings";
import type { AttemptFinished, Manifest } from "../../contract/manifest";
import { BuildableRepository, smallBuild } from "../helpers/buildable";
import { ke1, kubectl, projectDirectory, TemporaryStack } from "../helpers/ke1";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

interface Outputs {
    readonly buildTag: string;
    readonly image: string;
    readonly job: string;
    readonly outcome: string;
    readonly binUrl: string;
    readonly logsUrl: string;
    readonly manifestUrl: string;
    readonly artifacts: readonly { name: string; url: string; size: number; sha256: string }[];
    readonly durations: Manifest["durations"] & { phases: Record<string, number>; inexact: readonly string[] };
}

/** The names of the rows of the table of timings. */
const timingsIn = (shown: string) =>
    (/^Timings.*\n((?: {2}.*\n)+)/m.exec(shown)?.[1] ?? "")
        .split("\n")
        .flatMap((row) => /^ {2}(\S+(?: \S+)*)/.exec(row)?.[1] ?? []);

describe("launching a build", () => {
    const cleanUp: (() => unknown)[] = [];
    const repositoryOf = (recipe: readonly string[] = smallBuild) => {
        const repository = new BuildableRepository(recipe);
        cleanUp.push(() => repository.remove());
        return repository;
    };
    const stackOf = (source: string, config: Record<string, unknown> = {}) => {
        const stack = new TemporaryStack("launch", { source, ...config });
        cleanUp.push(async () => stack.remove());
        return stack;
    };
    const outputsOf = async (stack: TemporaryStack) =>
        JSON.parse((await stack.ke1(["stack", "output", "--json"])).stdout) as Outputs;

    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    it("hands back artifacts, log and manifest, labelled with the commit", async () => {
        const repository = repositoryOf();
        const tag = repository.commit();
        const stack = stackOf(repository.path);
        const up = await stack.ke1(["up", "--yes", "--timings"]);
        assert.equal(up.code, 0, up.stderr);
        assert.match(up.stderr, /^.*built$/m, "the log is shown as it comes");
        const launched = ["program start", "image", "create"];
        const built = ["scheduled", "pulled", "started", "built", "exported", "seen"];
        // On a machine with much to do, Kubernetes takes a moment to make the pod.
        const shown = timingsIn(up.stderr).filter((phase) => phase !== "queued");
        assert.deepEqual(shown, ["phase", ...launched, ...built, "done"]);

        const outputs = await outputsOf(stack);
        assert.equal(outputs.buildTag, tag);
        assert.equal(outputs.outcome, "Succeeded");
        assert.match(outputs.image, /\/ke-1-build@sha256:[0-9a-f]{64}$/);
        assert.match(outputs.job, new RegExp(`^${stack.namespace}/ke-1-build-${tag}-[0-9a-f]{8}$`));
        assert.ok(outputs.binUrl.endsWith(`/${stack.container}/${tag}/bin/`));
        const content = `hello from ${tag}\n`;
        assert.deepEqual(
            outputs.artifacts.map(({ name, size, sha256 }) => ({ name, size, sha256 })),
            [{ name: "greeting", size: content.length, sha256: createHash("sha256").update(content).digest("hex") }],
        );

        const blobs = await stack.blobs();
        assert.match(blobs.join("\n"), new RegExp(`^${tag}/logs/\\d{8}T\\d{6}\\.\\d{3}Z\\.log$`, "m"));
        for (const name of [
            "attempts/1/started.json",
            "attempts/1/finished.json",
            "provenance.json",
            "manifest.json",
        ]) {
            assert.ok(blobs.includes(`${tag}/${name}`), name);
        }
        const manifest = JSON.parse((await stack.blob(`${tag}/manifest.json`)).toString()) as Manifest;
        const { phases, inexact, ...ofManifest } = outputs.durations;
        assert.deepEqual(ofManifest, manifest.durations);
        assert.deepEqual(
            built.filter((phase) => phases[phase] === undefined),
            [],
        );
        assert.deepEqual([phases["built"], phases["exported"]], Object.values(manifest.durations));
        assert.ok(inexact.length > 0, "the API server writes the Job's creation in whole seconds");
        assert.equal(manifest.source.commit, repository.git("rev-parse", "HEAD"));
        assert.equal(manifest.image, outputs.image);

        const log = await stack.ke1(["logs"]);
        assert.match(log.stdout, /^built$/m);
        assert.equal(
            (await stack.ke1(["logs", tag, "--offset", String(log.stdout.length - 3)])).stdout,
            log.stdout.slice(-3),
        );
        const builds = JSON.parse((await stack.ke1(["builds", "--json"])).stdout) as {
            buildTag: string;
            outcome: string;
        }[];
        assert.deepEqual(
            builds.map(({ buildTag, outcome }) => [buildTag, outcome]),
            [[tag, "Succeeded"]],
        );

        const again = await stack.ke1(["up", "--yes", "--timings"]);
        assert.equal(again.code, 0, again.stderr);
        assert.deepEqual(timingsIn(again.stderr), ["phase", "program start", "engine", "done"], "nothing was awaited");
        assert.equal(
            (await stack.blobs(`${tag}/attempts/`)).length,
            blobs.filter((blob) => blob.includes("/attempts/")).length,
        );
        assert.deepEqual(await outputsOf(stack), outputs);
    });

    it("keeps the artifacts when the stack is destroyed, and nothing else", async () => {
        const repository = repositoryOf();
        const tag = repository.commit();
        const stack = stackOf(repository.path);
        assert.equal((await stack.ke1(["up", "--yes"])).code, 0);
        const destroyed = await stack.ke1(["destroy", "--yes"]);
        assert.equal(destroyed.code, 0, destroyed.stderr);
        assert.equal(await kubectl("get", "namespace", stack.namespace, "--ignore-not-found"), "");
        const target = new TemporaryDirectory();
        cleanUp.push(() => target.remove());
        const downloaded = await stack.ke1(["artifacts", tag, "--to", target.path]);
        assert.equal(downloaded.code, 0, downloaded.stderr);
        assert.equal(fs.readFileSync(path.join(target.path, "greeting"), "utf8"), `hello from ${tag}\n`);
    });

    it("refuses an artifact that is not what the manifest says, and leaves no file", async () => {
        const repository = repositoryOf();
        const tag = repository.commit();
        const stack = stackOf(repository.path);
        assert.equal((await stack.ke1(["up", "--yes"])).code, 0);
        await stack.containerClient().getBlockBlobClient(`${tag}/bin/greeting`).upload("hellO", 5);
        const target = new TemporaryDirectory();
        cleanUp.push(() => target.remove());
        const downloaded = await stack.ke1(["artifacts", tag, "--to", target.path]);
        assert.equal(downloaded.code, 1);
        assert.match(downloaded.stderr, /greeting is not what the build made/);
        assert.deepEqual(fs.readdirSync(target.path), []);
    });

    it("fails with the outcome, the log's last lines and its address; a fix is a new build", async () => {
        const repository = repositoryOf(["echo before the end", "echo it is broken >&2; exit 7"]);
        const broken = repository.commit();
        const stack = stackOf(repository.path);
        const failed = await stack.ke1(["up", "--yes", "--timings", "--json"]);
        assert.equal(failed.code, 1, failed.stderr);
        const { timings } = JSON.parse(failed.stdout) as { timings: OperationTimings };
        const [timed] = timings.builds;
        assert.deepEqual([timed?.buildTag, timed?.outcome, timed?.attempt], [broken, "BuildFailed", 1]);
        assert.ok(timed?.phases.some(({ phase }) => phase === "built"));
        assert.match(failed.stderr, /BuildFailed: `make build` ended with exit code 2/);
        assert.match(failed.stderr, /it is broken/);
        assert.match(failed.stderr, new RegExp(`log: http://.*/${broken}/logs/`));
        assert.match(failed.stderr, new RegExp(`ke1 logs ${broken}`));
        const finished = JSON.parse(
            (await stack.blob(`${broken}/attempts/1/finished.json`)).toString(),
        ) as AttemptFinished;
        assert.equal(finished.outcome, "BuildFailed");
        assert.equal(finished.exitCode, 2);
        assert.equal((await stack.blobs()).includes(`${broken}/manifest.json`), false);

        const once = await stack.ke1(["up", "--yes"]);
        assert.equal(once.code, 1, "a failed build is not run again");
        assert.match(once.stderr, /BuildFailed: `make build` ended with exit code 2/, "and told as it was");
        assert.match(once.stderr, new RegExp(`log: http://.*/${broken}/logs/`));
        assert.equal(
            (await stack.blobs(`${broken}/attempts/`)).some((name) => name.includes("/attempts/2/")),
            false,
        );

        repository.recipe(smallBuild);
        const fixed = repository.commit();
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        assert.equal((await outputsOf(stack)).buildTag, fixed);
    });

    it("does not build what is built: not for another stack, and not when the Job is gone", async () => {
        const repository = repositoryOf();
        const tag = repository.commit();
        const first = stackOf(repository.path);
        assert.equal((await first.ke1(["up", "--yes"])).code, 0);

        const second = stackOf(repository.path, { blobContainer: first.container });
        const up = await second.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        assert.equal((await outputsOf(second)).outcome, "AlreadyBuilt");

        const { job } = await outputsOf(first);
        await kubectl("delete", "job", "-n", first.namespace, job.split("/")[1] ?? "", "--wait=true");
        const refreshed = await first.ke1(["refresh", "--yes"]);
        assert.equal(refreshed.code, 0, refreshed.stderr);
        const again = await first.ke1(["up", "--yes"]);
        assert.equal(again.code, 0, again.stderr);
        assert.equal(
            (await first.blobs(`${tag}/attempts/`)).some((name) => name.includes("/attempts/2/")),
            false,
        );
    });

    it("never overwrites a tag that was built from another tree", async () => {
        const repository = repositoryOf();
        repository.commit();
        repository.git("tag", "v1");
        const stack = stackOf(repository.path, { buildTag: "v1" });
        assert.equal((await stack.ke1(["up", "--yes"])).code, 0);
        const built = (await stack.blob("v1/bin/greeting")).toString();

        repository.recipe([...smallBuild, "echo more >> bin/greeting"]);
        repository.commit();
        repository.git("tag", "--force", "v1");
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /v1 was built from another tree/);
        assert.equal((await stack.blob("v1/bin/greeting")).toString(), built);
    });

    it("builds a commit twice to the same SHA-256", async () => {
        const hashes = [];
        for (let round = 0; round < 2; round++) {
            const stack = stackOf("example/ke-1", { allowDirty: true });
            const up = await stack.ke1(["up", "--yes"]);
            assert.equal(up.code, 0, up.stderr);
            const { artifacts } = await outputsOf(stack);
            assert.deepEqual(
                artifacts.map(({ name }) => name),
                ["ke-1-ctl"],
            );
            hashes.push(artifacts[0]?.sha256);
        }
        assert.equal(hashes[0], hashes[1]);
    });

    it("builds any repository: no `build-wrapper`, an image whose files are root's, a directory of it", async () => {
        const repository = new TemporaryRepository();
        cleanUp.push(() => repository.remove());
        repository.file("part/Dockerfile", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY . /opt/part\nWORKDIR /opt/part\n");
        repository.file(
            "part/Makefile",
            "build:\n\tmkdir bin && cp Makefile bin/ && mkdir bin/sub && ln -s ../Makefile bin/sub/link\n",
        );
        repository.commit();
        const stack = stackOf(path.join(repository.path, "part"));
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const target = new TemporaryDirectory();
        cleanUp.push(() => target.remove());
        assert.equal((await stack.ke1(["artifacts", "--to", target.path])).code, 0);
        assert.equal(fs.readlinkSync(path.join(target.path, "sub/link")), "../Makefile");
    });

    it("builds several tags at once", async () => {
        const repository = repositoryOf();
        repository.commit();
        repository.git("tag", "v1");
        repository.file("more", "x");
        repository.commit();
        repository.git("tag", "v2");
        const stack = stackOf(repository.path, { buildTags: ["v1", "v2"] });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const { builds } = JSON.parse((await stack.ke1(["stack", "output", "--json"])).stdout) as {
            builds: Record<string, Outputs>;
        };
        assert.deepEqual(Object.keys(builds).sort(), ["v1", "v2"]);
        assert.deepEqual(
            Object.values(builds).map(({ outcome }) => outcome),
            ["Succeeded", "Succeeded"],
        );
    });

    it("builds a tag once when two launch it at the same time", async () => {
        const repository = repositoryOf(["sleep 2", ...smallBuild]);
        repository.commit();
        const first = stackOf(repository.path);
        const second = stackOf(repository.path, { blobContainer: first.container });
        const ups = await Promise.all([first.ke1(["up", "--yes"]), second.ke1(["up", "--yes"])]);
        ups.forEach((up) => assert.equal(up.code, 0, up.stderr));
        const outcomes = [(await outputsOf(first)).outcome, (await outputsOf(second)).outcome];
        assert.deepEqual(outcomes.sort(), ["AlreadyBuilt", "Succeeded"]);
    });

    it("shows the build no credential, no token, no network, and no privilege", async () => {
        const repository = repositoryOf([
            "mkdir -p bin; env | sort > bin/env; id > bin/id; grep -E 'Cap(Eff|Bnd)|Seccomp:|NoNewPrivs' /proc/self/status > bin/status",
            "ls -A /ke1 > bin/ke1; ls -A /var/run/secrets > bin/secrets 2>&1 || true; cat /proc/net/route > bin/route",
            "cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' > bin/environs; true",
        ]);
        const tag = repository.commit();
        const stack = stackOf(repository.path);
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const read = async (name: string) => (await stack.blob(`${tag}/bin/${name}`)).toString();
        for (const name of ["env", "environs"]) {
            assert.doesNotMatch(await read(name), /sig=|sas|credential|token|KE1_CONTAINER_URL/i);
        }
        assert.match(await read("id"), /uid=65532/);
        assert.match(await read("status"), /CapEff:\t0+\n/);
        assert.match(await read("status"), /CapBnd:\t0+\n/);
        assert.match(await read("status"), /NoNewPrivs:\t1/);
        assert.match(await read("status"), /Seccomp:\t2/);
        assert.deepEqual((await read("ke1")).trim().split("\n").sort(), ["bin", "shared"]);
        assert.doesNotMatch(await read("secrets"), /serviceaccount/);
        assert.doesNotMatch(await read("route"), /^\S+\t00000000\t/m, "no default route");

        const state = JSON.stringify(await stack.ke1(["stack", "export"]));
        assert.doesNotMatch(state, /sig=|AccountKey/);
        assert.doesNotMatch(up.stderr, /sig=|AccountKey/);
    });

    it("says at once that an image has no shell", async () => {
        const repository = new TemporaryRepository();
        cleanUp.push(() => repository.remove());
        repository.file("Dockerfile", "FROM scratch\nCOPY . .\n");
        repository.file("Makefile", "build:\n");
        repository.commit();
        const up = await stackOf(repository.path).ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /BuildFailed: the build's container cannot be started: .*no such file/);
    });

    it("says that a build left nothing", async () => {
        const repository = repositoryOf(["true"]);
        repository.commit();
        const up = await stackOf(repository.path).ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /BuildFailed: the build left nothing in bin\//);
    });

    it("says that a build ran out of memory", async () => {
        const repository = repositoryOf(["tail -c 400m /dev/zero | tail -n 1 > /dev/null"]);
        repository.commit();
        const stack = stackOf(repository.path, { memoryRequest: "64Mi", memoryLimit: "64Mi" });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /OutOfMemory: the container `build` used more memory/);
        const builds = JSON.parse((await stack.ke1(["builds", "--json"])).stdout) as { outcome: string }[];
        assert.equal(builds[0]?.outcome, "OutOfMemory", "and so does the store");
    });

    it("ends a build at its deadline, and keeps its log", async () => {
        const repository = repositoryOf(["echo going to sleep; sleep 300"]);
        const tag = repository.commit();
        const stack = stackOf(repository.path, { deadlineSeconds: 12 });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /DeadlineExceeded: the build took longer than its deadline of 12 s/);
        assert.match((await stack.ke1(["logs", tag])).stdout, /going to sleep/);
    });

    it("can be interrupted and cancelled, and goes on with the next `up`", async () => {
        const repository = repositoryOf(["echo going to sleep; sleep 8", ...smallBuild]);
        const tag = repository.commit();
        const stack = stackOf(repository.path);
        const running = spawn(path.join(projectDirectory, "bin/ke1"), ["up", "--yes", "--stack", stack.name], {
            cwd: projectDirectory,
            env: { ...process.env, ...stack.environment },
            stdio: ["ignore", "ignore", "pipe"],
        });
        let shown = "";
        running.stderr.setEncoding("utf8").on("data", (text: string) => (shown += text));
        await until(
            () => shown.includes("going to sleep"),
            () => shown,
        );
        running.kill("SIGINT");
        const code = await new Promise((resolve) => running.on("close", resolve));
        assert.equal(code, 130, shown);

        const second = stack.ke1(["up", "--yes"]);
        await until(async () => (await stack.blobs(`${tag}/attempts/`)).some((name) => name.includes("/2/started")));
        const cancelled = await stack.ke1(["cancel", tag]);
        assert.equal(cancelled.code, 0, cancelled.stderr);
        const up = await second;
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /Cancelled/);
        assert.equal((await stack.ke1(["cancel", tag])).code, 2, "there is nothing left to cancel");
        const builds = JSON.parse((await stack.ke1(["builds", "--json"])).stdout) as { outcome: string }[];
        assert.equal(builds[0]?.outcome, "Cancelled");

        const third = await stack.ke1(["up", "--yes"]);
        assert.equal(third.code, 0, third.stderr);
        assert.equal((await outputsOf(stack)).outcome, "Succeeded");
    });

    it("needs one clear line, and exit code 2, to say what is wrong", async () => {
        const empty = new TemporaryRepository();
        cleanUp.push(() => empty.remove());
        const cases: [string, () => string, RegExp, NodeJS.ProcessEnv?][] = [
            ["no commit", () => empty.path, /no commit yet/],
            [
                "no Dockerfile",
                () => (empty.file("Makefile", "build:\n"), empty.commit(), empty.path),
                /has no Dockerfile/,
            ],
            [
                "no build target",
                () => (
                    empty.file("Dockerfile", "FROM scratch\n"),
                    empty.file("Makefile", "all:\n"),
                    empty.commit(),
                    empty.path
                ),
                /no Makefile with a `build` target/,
            ],
            ["dirty", () => (empty.file("new", "x"), empty.path), /uncommitted changes .* new;/],
            ["unknown tag", () => empty.path, /no tag or commit v9/, { BUILD_TAG: "v9" }],
            ["no directory", () => "/nowhere", /no directory \/nowhere/],
        ];
        const stack = stackOf(empty.path);
        for (const [name, source, pattern, environment] of cases) {
            const up = await stack.ke1(["up", "--yes"], { SOURCE: source(), ...environment });
            assert.equal(up.code, 2, `${name}: ${up.stderr}`);
            assert.match(up.stderr, pattern, name);
            assert.equal(up.stderr.trim().split("\n").length, 1, `${name}: ${up.stderr}`);
        }
        const unknown = await ke1(["up", "--stack", "no-such-stack"]);
        assert.equal(unknown.code, 2);
        assert.match(unknown.stderr, /Pulumi\.no-such-stack\.yaml/);
        assert.equal((await ke1(["frobnicate"])).code, 2);
    });
});

async function until(condition: () => boolean | Promise<boolean>, state: () => string = () => ""): Promise<void> {
    const deadline = Date.now() + 60_000;
    while (!(await condition())) {
        if (Date.now() > deadline) {
            throw new Error(`waited in vain: ${state()}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}
