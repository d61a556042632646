import * as assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import { BuildableRepository, smallBuild } from "../helpers/buildable";
import { deliver, payloads } from "../helpers/githubWebhook";
import { GitServer } from "../helpers/gitServer";
import { kubectl, TemporaryStack } from "../helpers/ke1";
import { freePort } from "../helpers/ports";
import { TemporaryDirectory } from "../helpers/temporary";
import { RunningService } from "../helpers/service";
import { WatchProcess } from "../helpers/watchProcess";
import { eventually } from "../helpers/watching";

describe("ke1 watch", () => {
    const cleanUp: (() => unknown)[] = [];
    let stack: TemporaryStack;
    let data: TemporaryDirectory;

    beforeEach(() => {
        data = new TemporaryDirectory();
        cleanUp.push(() => data.remove());
        stack = new TemporaryStack("watch", { admission: false });
        cleanUp.push(async () => stack.remove());
    });

    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    const repositoryOf = (recipe: readonly string[]) => {
        const repository = new BuildableRepository(recipe);
        cleanUp.push(() => repository.remove());
        return repository;
    };
    const watch = (args: readonly string[], environment: NodeJS.ProcessEnv = {}) => {
        const all = ["--stack", stack.name, "--data", data.path, "--interval", "1", ...args];
        const process = new WatchProcess(all, { PULUMI_CONFIG_PASSPHRASE: "test", ...environment });
        cleanUp.push(async () => {
            await process.end("SIGKILL");
            const lanes = new Set(process.told("commit").map(({ lane }) => lane));
            for (const lane of lanes) {
                await kubectl("delete", "namespace", lane, "--ignore-not-found", "--wait=false");
            }
        });
        return process;
    };
    const namespaceOf = async (lane: string | undefined) =>
        kubectl("get", "namespace", lane ?? "", "--ignore-not-found", "-o", "name");

    it("builds what GitHub tells of under its tag, of a burst what runs and the newest, and remembers", async () => {
        const repository = repositoryOf([...smallBuild, "sleep 2"]);
        const first = repository.commit("one");
        const server = await GitServer.start("127.0.0.1");
        cleanUp.push(async () => server.stop());
        const address = await server.push(repository, "ke-1");
        const secret = randomBytes(32).toString("hex");
        const port = await freePort("127.0.0.1");
        const target = "https://github.com/kerbodyne/ke-1.git^main";
        // By itself it looks only once.
        const options = ["--interval", "3600", "--webhook-secret-file", data.file("webhook-secret", secret, 0o600)];
        const environment = {
            GIT_CONFIG_COUNT: "1",
            GIT_CONFIG_KEY_0: `url.${address}.insteadOf`,
            GIT_CONFIG_VALUE_0: "https://github.com/kerbodyne/ke-1.git",
        };
        const one = watch([...options, "--listen", String(port), target], environment);
        await one.until("started");
        const tell = async (change: (body: string) => string = (body) => body) => {
            const after = repository.git("rev-parse", "HEAD");
            const payload = payloads.push("kerbodyne/ke-1", "refs/heads/main", "0", after);
            const { headers, body } = deliver("push", payload, secret);
            const url = `http://127.0.0.1:${port}/v1/webhooks/github`;
            return (await fetch(url, { method: "POST", headers, body: change(body) })).status;
        };
        const burst: string[] = [];
        for (const message of ["two", "three", "four"]) {
            burst.push(repository.commit(message));
            await server.push(repository, "ke-1");
            assert.equal(await tell((body) => body.replace("main", "next")), 401, "a forged one");
            assert.equal(await tell(), 202);
        }
        await one.until("ended", 2);
        const newest = burst.at(-1) ?? "";
        assert.deepEqual(
            one.told("ended").map(({ buildTag, state, outcome, artifacts }) => [buildTag, state, outcome, artifacts]),
            [
                [first, "succeeded", "Succeeded", 1],
                [newest, "succeeded", "Succeeded", 1],
            ],
        );
        const skipped = one.told("skipped").flatMap(({ commits }) => commits.map((commit) => commit.slice(0, 7)));
        assert.deepEqual([...new Set(skipped)].sort(), burst.slice(0, -1).sort());
        for (const tag of [first, newest]) {
            assert.equal((await stack.blob(`${tag}/bin/greeting`)).toString(), `hello from ${tag}\n`);
        }
        assert.deepEqual(await stack.blobs(`${burst[0] ?? ""}/`), []);
        const lane = one.told("commit")[0]?.lane;
        assert.match(lane ?? "", /^ke1-ke-1-main-[0-9a-f]{8}$/);
        assert.equal(await one.end("SIGTERM"), 0);
        assert.doesNotMatch(JSON.stringify(one.events) + one.stderr, new RegExp(secret));

        const two = watch(["--once", target], environment);
        assert.equal(await two.end(), 0, two.stderr);
        assert.equal(two.told("known")[0]?.state, "succeeded");
        assert.deepEqual([two.told("commit").length, two.told("ended").length], [0, 0]);
        assert.equal(await namespaceOf(lane), "", "nothing is left in the cluster");
    });

    it("keeps in debug mode what failed until the next commit, and leaves what runs to the next watcher", async () => {
        const repository = repositoryOf(["echo it is broken; exit 7"]);
        const broken = repository.commit();
        const one = watch(["--debug", "--once", `${repository.path}^main`]);
        assert.equal(await one.end(), 1, one.stderr);
        const [end] = one.told("ended");
        assert.deepEqual([end?.buildTag, end?.outcome], [broken, "BuildFailed"]);
        assert.match(end?.message ?? "", /ended with exit code 2/);
        const lane = end?.kept ?? "";
        const pods = async () =>
            kubectl(
                "get",
                "pods",
                "-n",
                lane,
                "-o",
                "jsonpath={range .items[*]}{.metadata.labels} {.status.phase}{end}",
            );
        assert.match(await pods(), new RegExp(`"${broken}".* Failed`), "the pod that failed is there");

        repository.recipe([...smallBuild, "sleep 6"]);
        const fixed = repository.commit();
        const two = watch(["--debug", `${repository.path}^main`]);
        await two.until("started");
        const running = new RegExp(`"${fixed}".* Running`);
        let seen = await pods();
        while (!running.test(seen)) {
            seen = await pods();
        }
        assert.doesNotMatch(seen, new RegExp(broken), "what was kept is gone");
        assert.equal(await two.end("SIGINT"), 130);
        assert.match(two.stderr, /a build of it goes on in the cluster/);

        const three = watch(["--debug", "--once", `${repository.path}^main`]);
        assert.equal(await three.end(), 0, three.stderr);
        assert.deepEqual(
            three.told("ended").map(({ buildTag, state, kept }) => [buildTag, state, kept]),
            [[fixed, "succeeded", undefined]],
        );
        assert.equal((await stack.blob(`${fixed}/bin/greeting`)).toString(), `hello from ${fixed}\n`);
        assert.deepEqual(await stack.blobs(`${fixed}/attempts/2/`), [], "it was not launched twice");
        assert.equal(await namespaceOf(lane), "");
    });

    it("is a part of the service, too: its builds are the queue's, and webhooks come to its address", async () => {
        const repository = repositoryOf(smallBuild);
        const tag = repository.commit();
        const secret = randomBytes(32).toString("hex");
        data.file("secret", secret, 0o600);
        const file = data.file(
            "watch.yaml",
            `repositories:
  - { repository: "${repository.path}", branches: [main], config: { memoryLimit: 1Gi } }
  - { repository: "https://ke1.invalid/kerbodyne/ke-1", webhookSecretFile: secret }
`,
        );
        const service = new RunningService("watched", ["--watch", file]);
        cleanUp.push(async () => service.remove());
        await service.start();
        await eventually("it does not answer", () => /ke-1: does not answer: .*\n/.test(service.output));
        let listed = await service.ask("GET", "/v1/builds");
        while (listed.body.builds.length === 0) {
            listed = await service.ask("GET", "/v1/builds");
        }
        const [build] = listed.body.builds;
        assert.deepEqual(
            [build.caller, build.labels.sha.slice(0, 7), build.request.source],
            ["watch", tag, repository.path],
        );
        const ping = payloads.ping("kerbodyne/ke-1");
        const changed = JSON.stringify(ping).replaceAll("https://github.com", "https://ke1.invalid");
        const url = `${service.url}/v1/webhooks/github`;
        const signed = deliver("ping", changed, secret);
        assert.equal((await fetch(url, { method: "POST", ...signed })).status, 200);
        assert.equal((await fetch(url, { method: "POST", ...deliver("ping", changed, `${secret}0`) })).status, 401);
        const document = await service.ask("GET", "/openapi.json");
        assert.ok(document.body.paths["/v1/webhooks/github"].post);
        const ended = await service.ended(build.id);
        assert.equal(ended.state, "succeeded", ended.message);
    });

    it("says in one line what is wrong with what was typed, and makes nothing", async () => {
        for (const [args, why] of [
            [["/nonexistent^main"], /^error: there is no directory \/nonexistent to watch; .*\n$/],
            [["https://ghp_secret@github.com/kerbodyne/ke-1"], /^error: (?!.*ghp_secret).*credential helper.*\n$/],
            [[".^a b"], /^error: `a b` is not the name of a branch.*\n$/],
            [["--listen", "nowhere", "."], /^error: option '--listen <address>' argument 'nowhere' is invalid/],
        ] as const) {
            const process = watch(args);
            assert.equal(await process.end(), 2, process.stderr);
            assert.match(process.stderr, why);
        }
    });
});
