import { strict as assert } from "node:assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { BuildableRepository } from "../helpers/buildable";
import { kubectl } from "../helpers/ke1";
import { RunningService } from "../helpers/service";

describe("ke1 serve on the cluster", () => {
    let service: RunningService;
    let repository: BuildableRepository;
    const tags: string[] = [];

    before(async () => {
        service = new RunningService("serve", ["--local-sources", "--parallel", "2"]);
        repository = new BuildableRepository(["mkdir -p bin", "echo made > bin/made", "echo this is the first"]);
        tags.push(repository.commit());
        repository.recipe(["mkdir -p bin", "sleep 6", "echo made again > bin/made", "echo this is the second"]);
        tags.push(repository.commit());
        repository.recipe(["echo it does not work; exit 3"]);
        tags.push(repository.commit());
        await service.start();
    });
    after(async () => {
        await service.remove();
        repository.remove();
    });

    const launch = async (ref: string | undefined, more: object = {}): Promise<string> => {
        const { status, body, headers } = await service.ask("POST", "/v1/builds", {
            source: repository.path,
            ref,
            labels: { app: "shop" },
            ...more,
        });
        assert.equal(status, 202);
        assert.equal(headers.get("location"), `/v1/builds/${body.id}`);
        return body.id as string;
    };

    it("builds a commit, and hands back its log, its events and its artifacts; nothing of it stays", async () => {
        const id = await launch(tags[0]);
        const events = await service.ask("GET", `/v1/builds/${id}/events`);
        const kinds = [...events.text.matchAll(/"type":"(\w+)"/g)].map(([, type]) => type);
        assert.deepEqual(kinds, ["queued", "started", "source", "ended"]);
        const sent = [...events.text.matchAll(/"bytes":"([^"]*)"/g)].map(([, text]) => Buffer.from(text!, "base64"));
        const ended = await service.ended(id);
        assert.equal(ended.outcome, "Succeeded");
        assert.equal(ended.buildTag, tags[0]);
        assert.equal(ended.commit, repository.git("rev-parse", tags[0]!));
        const log = await service.ask("GET", `/v1/builds/${id}/log`);
        assert.match(log.text, /this is the first/);
        assert.equal(Buffer.concat(sent).toString(), log.text, "the same bytes, as they came");
        assert.equal(log.headers.get("x-ke1-next-offset"), String(log.text.length));
        assert.equal((await service.ask("GET", `/v1/builds/${id}/log?offset=5`)).text, log.text.slice(5));
        const { body } = await service.ask("GET", `/v1/builds/${id}/artifacts`);
        assert.deepEqual(
            body.artifacts.map(({ name }: { name: string }) => name),
            ["made"],
        );
        assert.equal(body.artifacts[0].size, 5);
        const namespaces = await kubectl("get", "namespaces", "-o", "name");
        assert.equal(namespaces.includes(ended.stack), false, "its namespace is gone");
        assert.match((await service.ask("GET", `/v1/builds/${id}/log?of=launcher`)).text, /Succeeded: 1 artifact/);
    });

    it("says of a build that failed what failed, and with which exit code its log ends", async () => {
        const id = await launch(tags[2]);
        const ended = await service.ended(id);
        assert.equal(ended.state, "failed");
        assert.equal(ended.outcome, "BuildFailed");
        assert.match(ended.message, /exit code 2/);
        assert.match((await service.ask("GET", `/v1/builds/${id}/log`)).text, /it does not work/);
    });

    it("takes a build up again that was running when it was killed, and begins what was queued", async () => {
        const running = await launch(tags[1], { lane: "one" });
        const queued = await launch("no-such-commit", { lane: "one" });
        const jobOf = async () => {
            const { body } = await service.ask("GET", `/v1/builds/${running}`);
            const jobs = await kubectl(
                "get",
                "pods",
                "-n",
                `ke-1-build-${body.stack}`,
                "-o",
                "jsonpath={..uid} {..phase}",
            );
            return jobs.includes("Running") ? jobs : undefined;
        };
        let pod: string | undefined;
        for (const until = Date.now() + 60_000; pod === undefined && Date.now() < until;) {
            pod = await jobOf().catch(() => undefined);
            await sleep(200);
        }
        assert.ok(pod, "its pod runs");
        await service.end("SIGKILL");
        await service.start();
        assert.match(service.output, /\(1 queued, 1 running\)/);
        const ended = await service.ended(running);
        assert.equal(ended.outcome, "Succeeded", JSON.stringify(ended));
        const attempts = await service.stack.blobs(`${tags[1]!}/attempts/`);
        assert.deepEqual(
            attempts.filter((name) => name.endsWith("started.json")).length,
            1,
            "the pod that ran went on: there was no second attempt",
        );
        const next = await service.ended(queued);
        assert.equal(next.outcome, "NotStarted");
        assert.match(next.message, /there is no tag or commit no-such-commit/);
    });

    it("ends a build that runs when it is told to", async () => {
        repository.recipe(["echo begun", "sleep 600"]);
        const id = await launch(repository.commit());
        for (const until = Date.now() + 60_000; Date.now() < until;) {
            await sleep(200);
            if (/begun/.test((await service.ask("GET", `/v1/builds/${id}/log`)).text)) {
                break;
            }
        }
        assert.equal((await service.ask("POST", `/v1/builds/${id}/cancel`)).status, 200);
        const ended = await service.ended(id);
        assert.deepEqual([ended.state, ended.outcome], ["cancelled", "Cancelled"]);
        assert.equal((await service.ask("DELETE", `/v1/builds/${id}`)).status, 204);
        assert.equal((await service.ask("GET", `/v1/builds/${id}`)).status, 404);
        assert.equal(fs.existsSync(path.join(service.data.path, "builds", id)), false);
    });

    it("ends a build that takes longer than it may", async () => {
        repository.recipe(["sleep 601"]);
        const id = await launch(repository.commit(), { timeoutSeconds: 12 });
        const ended = await service.ended(id);
        assert.deepEqual([ended.state, ended.outcome], ["failed", "DeadlineExceeded"]);
    });
});
