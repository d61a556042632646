import { strict as assert } from "node:assert";
import { setTimeout as sleep } from "node:timers/promises";

import { BuildableRepository } from "../tests/helpers/buildable";
import { RunningService } from "../tests/helpers/service";
import { reportTable } from "./report";
import { summarize } from "./statistics";

/**
 * `ke1 serve` under load: REQUESTS at once, of which BUILDS launch a build of a commit of their own and the others look; the
 * service is killed in the middle. Every build that was accepted must succeed, once, and never more than PARALLEL at a time.
 */
const requests = Number(process.env["REQUESTS"] ?? "500");
const builds = Number(process.env["BUILDS"] ?? "50");
const parallel = Number(process.env["PARALLEL"] ?? "4");

interface Timed {
    readonly status: number;
    readonly seconds: number;
    readonly body: any;
}

async function main(): Promise<void> {
    const options = ["--local-sources", "--parallel", String(parallel), "--requests-per-minute", "100000"];
    const service = new RunningService("bench-serve", options);
    const repository = new BuildableRepository(["mkdir -p bin", "sleep 1", "date > bin/made"]);
    try {
        const commits = Array.from({ length: builds }, (_, index) => {
            repository.file("number", String(index));
            return repository.commit();
        });
        await service.start();
        const started = performance.now();
        const asked = await Promise.all(
            Array.from({ length: requests }, async (_, index) =>
                index < builds
                    ? timed(service, "POST", "/v1/builds", { source: repository.path, ref: commits[index] })
                    : timed(service, "GET", "/v1/builds?limit=50"),
            ),
        );
        const ids = asked.slice(0, builds).map(({ status, body }) => {
            assert.equal(status, 202, JSON.stringify(body));
            return body.id as string;
        });
        assert.ok(asked.every(({ status }) => status < 300));
        const watch = new Watch(service);
        const watching = watch.run();
        while ((await watch.count("succeeded")) < builds / 3) {
            await sleep(500);
        }
        await service.end("SIGKILL");
        const killedAfter = (performance.now() - started) / 1000;
        await service.start();
        while ((await watch.count("queued")) + (await watch.count("running")) > 0) {
            await sleep(500);
        }
        const whole = (performance.now() - started) / 1000;
        watch.stop();
        await watching;
        const records = await Promise.all(ids.map(async (id) => (await service.ask("GET", `/v1/builds/${id}`)).body));
        const failed = records.filter(({ state }) => state !== "succeeded");
        const manifests = (await service.stack.blobs()).filter((name) => name.endsWith("/manifest.json"));
        process.stdout.write(
            `${builds} builds, ${parallel} at a time: ${whole.toFixed(0)} s in all, killed after ${killedAfter.toFixed(0)} s; ` +
                `${failed.length} failed, ${manifests.length} manifests, at most ${watch.most} at once\n`,
        );
        assert.deepEqual(failed, []);
        assert.equal(manifests.length, builds);
        assert.ok(watch.most <= parallel);
        const latencies = (some: readonly Timed[]) => summarize(some.map(({ seconds }) => seconds));
        const waited = (from: string, to: string) =>
            summarize(records.map((record) => (Date.parse(record[to]) - Date.parse(record[from])) / 1000));
        reportTable(
            "service",
            `seconds, of ${requests} requests at once`,
            {
                [`POST /v1/builds (${builds})`]: latencies(asked.slice(0, builds)),
                [`GET /v1/builds (${requests - builds})`]: latencies(asked.slice(builds)),
                "a build in the queue": waited("createdAt", "startedAt"),
                "a build from its start to its end": waited("startedAt", "endedAt"),
            },
            { requests, builds, parallel, whole, killedAfter },
        );
    } finally {
        await service.remove();
        repository.remove();
    }
}

/** Looks all the time how many run. */
class Watch {
    public most = 0;
    private ends = false;

    public constructor(private readonly service: RunningService) {}

    public async run(): Promise<void> {
        while (!this.ends) {
            this.most = Math.max(this.most, await this.count("running"));
            await sleep(100);
        }
    }

    public stop(): void {
        this.ends = true;
    }

    /** Waits while the service is away. */
    public async count(state: string): Promise<number> {
        for (;;) {
            try {
                return (await this.service.ask("GET", `/v1/builds?state=${state}&limit=500`)).body.builds
                    .length as number;
            } catch {
                await sleep(200);
            }
        }
    }
}

async function timed(service: RunningService, method: string, route: string, body?: object): Promise<Timed> {
    const started = performance.now();
    const answer = await service.ask(method, route, body);
    return { status: answer.status, body: answer.body, seconds: (performance.now() - started) / 1000 };
}

void main();
