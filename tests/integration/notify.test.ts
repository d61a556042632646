import * as assert from "node:assert/strict";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { BatchV1Api, CoreV1Api, KubeConfig } from "@kubernetes/client-node";

import { outcomes } from "../../contract/outcome";
import { groupPath, metrics } from "../../launcher/notify/metrics";
import type { NotifiedBuild, NotifiedEnding, NotifierOptions } from "../../launcher/notify/notifier";
import { Notifier } from "../../launcher/notify/notifier";
import { eventWriter } from "../../launcher/notify/event";
import { kubectl, platform, projectDirectory, run } from "../helpers/ke1";
import { Pushgateway } from "../helpers/pushgateway";
import { StuckListener } from "../helpers/stuckListener";
import { WebhookReceiver } from "../helpers/webhook";

const secret = `whsec_${Buffer.alloc(32, 5).toString("base64")}`;
const build: NotifiedBuild = {
    buildTag: "0b6f5a1",
    namespace: `tmp-notify-${process.pid}`,
    job: "ke-1-build-0b6f5a1",
    stack: "dev",
    source: { commit: "0".repeat(40), tree: "1".repeat(40) },
    command: ["make", "build"],
    startedAt: new Date(Date.now() - 10_000),
};
const succeeded: NotifiedEnding = {
    outcome: "Succeeded",
    endedAt: new Date(),
    exitCode: 0,
    attempt: 2,
    durations: { buildSeconds: 7.5, exportSeconds: 0.25 },
    artifacts: 3,
    logUrl: "https://a.blob.core.windows.net/ke-1-builds/0b6f5a1/logs/x.log",
    manifestUrl: "https://a.blob.core.windows.net/ke-1-builds/0b6f5a1/manifest.json",
};
const failed: NotifiedEnding = {
    outcome: "BuildFailed",
    endedAt: new Date(),
    message: "`make build` ended with exit code 2",
    exitCode: 2,
    attempt: 1,
    durations: { buildSeconds: 1, exportSeconds: 0.1 },
};

/** Tells of a start and an end; what was said of it, and how long the end was held up. */
async function tell(options: NotifierOptions, ending: NotifiedEnding, between: () => Promise<unknown>) {
    const said: string[] = [];
    const notifier = new Notifier({ ...options, say: (line) => said.push(line) });
    notifier.started(build);
    await between();
    const begun = performance.now();
    notifier.ended(build, ending);
    await notifier.close();
    return { said, seconds: (performance.now() - begun) / 1000 };
}
const atOnce = async () => Promise.resolve();

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
    const end = Date.now() + 10_000;
    while (Date.now() < end) {
        if (await condition()) {
            return;
        }
        await sleep(20);
    }
    assert.fail("waited ten seconds in vain");
}

describe("a Pushgateway", () => {
    let gateway: Pushgateway;
    before(async function () {
        this.timeout(300_000);
        gateway = await Pushgateway.start();
    });
    after(async () => gateway.stop());

    /** The value of each metric of the build's group, where it has one series. */
    const values = async () => {
        const scraped = await gateway.scrape();
        const of = (name: string) =>
            (scraped.get(name) ?? []).filter(({ labels }) => labels["namespace"] === build.namespace);
        return { of, value: (name: string) => of(name)[0]?.value };
    };

    it("has everything about a build that has ended, under the names and labels that are documented", async () => {
        const { said } = await tell({ pushgateway: gateway.url }, succeeded, async () => {
            await until(async () => (await values()).value("ke1_build_start_time_seconds") !== undefined);
            assert.deepEqual((await values()).of("ke1_build_success"), []);
        });
        assert.deepEqual(said, []);
        const { of, value } = await values();
        assert.deepEqual(
            [...(await gateway.scrape()).keys()].filter((name) => name.startsWith("ke1_")).sort(),
            Object.keys(metrics).sort(),
        );
        assert.equal(value("ke1_build_start_time_seconds"), build.startedAt.getTime() / 1000);
        assert.equal(value("ke1_build_last_success_time_seconds"), succeeded.endedAt.getTime() / 1000);
        assert.equal(value("ke1_build_command_duration_seconds"), 7.5);
        assert.equal(value("ke1_build_attempts"), 2);
        assert.deepEqual(
            of("ke1_build_outcome")
                .map(({ labels, value: number }) => [labels["outcome"], number])
                .sort(),
            outcomes.map((outcome) => [outcome, outcome === "Succeeded" ? 1 : 0]).sort(),
        );
        const { instance, ...labels } = of("ke1_build_info")[0]!.labels;
        assert.equal(instance, "", "so that Prometheus adds none");
        assert.deepEqual(labels, {
            job: "ke1_build",
            namespace: build.namespace,
            stack: "dev",
            build_tag: build.buildTag,
            commit: build.source.commit,
            tree: build.source.tree,
        });
        assert.equal((await gateway.scrape()).get("push_failure_time_seconds")?.[0]?.value, 0);
    });

    it("keeps what it knew of the last build while the next one runs, and the last success when that fails", async () => {
        const before = await values();
        const later = { ...build, buildTag: "second", startedAt: new Date() };
        const notifier = new Notifier({ pushgateway: gateway.url });
        notifier.started(later);
        await until(
            async () =>
                (await values()).value("ke1_build_start_time_seconds") !== before.value("ke1_build_start_time_seconds"),
        );
        const running = await values();
        assert.equal(running.value("ke1_build_success"), 1);
        assert.equal(running.of("ke1_build_info")[0]?.labels["build_tag"], build.buildTag);

        notifier.ended(later, { outcome: "OutOfMemory", endedAt: new Date(), message: "too much" });
        await notifier.close();
        const ended = await values();
        assert.equal(ended.value("ke1_build_success"), 0);
        assert.equal(ended.of("ke1_build_outcome").find(({ value }) => value === 1)?.labels["outcome"], "OutOfMemory");
        assert.deepEqual(
            ended.of("ke1_build_info").map(({ labels }) => labels["build_tag"]),
            ["second"],
        );
        assert.equal(ended.value("ke1_build_export_duration_seconds"), NaN);
        assert.equal(
            ended.value("ke1_build_last_success_time_seconds"),
            before.value("ke1_build_last_success_time_seconds"),
        );
    });

    it("takes any name of a stack, keeps the groups apart, and forgets one when it is told to", async () => {
        const odd = { ...build, stack: 'org/a "b"\\' };
        const notifier = new Notifier({ pushgateway: `${gateway.url}/` });
        notifier.ended(odd, succeeded);
        await notifier.close();
        const stacks = async () => (await values()).of("ke1_build_success").map(({ labels }) => labels["stack"]);
        assert.deepEqual(await stacks(), ["dev", 'org/a \\"b\\"\\\\']);
        for (const [left, which] of [
            [["dev"], odd],
            [[], build],
        ] as const) {
            const response = await fetch(gateway.url + groupPath(which), { method: "DELETE" });
            assert.equal(response.status, 202);
            assert.deepEqual(await stacks(), left);
        }
    });
});

describe("a webhook", () => {
    let receiver: WebhookReceiver;
    let url: string;
    beforeEach(async () => {
        receiver = new WebhookReceiver(secret);
        url = await receiver.start();
    });
    afterEach(async () => receiver.stop());
    const options = () => ({ webhook: url, webhookSecret: secret });

    it("gets a signed CloudEvent of the start and of the end", async () => {
        const { said } = await tell(options(), failed, async () => until(() => receiver.received.length === 1));
        assert.deepEqual(said, []);
        const [start, end] = receiver.received;
        assert.equal(receiver.received.length, 2);
        assert.ok(start!.signed && end!.signed);
        assert.match(start!.contentType, /^application\/cloudevents\+json\b/);
        assert.equal(start!.id, start!.body["id"]);
        assert.notEqual(start!.id, end!.id);
        assert.equal(start!.body["type"], "dev.ke1.build.started.v1");
        assert.equal(end!.body["type"], "dev.ke1.build.failed.v1");
        assert.equal(end!.body["data"].message, failed.message);
        assert.ok(!JSON.stringify(receiver.received).includes(secret));
    });

    it("that fails is told again, with the same id and a signature of its own, while the build runs", async () => {
        const answers: ((response: Parameters<typeof receiver.answer>[0]) => unknown)[] = [
            (response) => response.writeHead(503).end(),
            (response) => response.destroy(),
            (response) => response.socket?.end("rubbish\r\n\r\n"),
            (response) => response.writeHead(429, { "retry-after": "2" }).end(),
            (response) => response.writeHead(408).end(),
        ];
        receiver.answer = (response, nth) =>
            (answers[nth - 1] ?? (() => response.writeHead(200).end("thanks")))(response);
        const { said } = await tell(options(), succeeded, async () => until(() => receiver.received.length === 6));
        assert.deepEqual(said, []);
        const [start, end] = [receiver.received.slice(0, 6), receiver.received.slice(6)];
        assert.equal(new Set(start.map(({ id }) => id)).size, 1);
        assert.ok(start.every(({ signed }) => signed));
        assert.ok(start.at(-1)!.timestamp > start[0]!.timestamp);
        assert.ok(start[4]!.after - start[3]!.after >= 1950, "Retry-After");
        assert.deepEqual([end.length, end[0]!.body["type"]], [1, "dev.ke1.build.succeeded.v1"]);
    });

    it("that refuses is left alone", async () => {
        receiver.answer = (response) => response.writeHead(410).end();
        const { said, seconds } = await tell(options(), succeeded, async () => sleep(1000));
        assert.equal(receiver.received.length, 2);
        assert.ok(seconds < 2.8, String(seconds));
        const { host } = new URL(url);
        assert.deepEqual(said, [`the webhook at ${host} could not be told of the build's start and end: answered 410`]);
    });

    it("that sends elsewhere is not followed", async () => {
        const other = new WebhookReceiver(secret);
        const elsewhere = await other.start();
        try {
            receiver.answer = (response) => response.writeHead(307, { location: elsewhere }).end();
            const { said } = await tell(options(), succeeded, async () => sleep(500));
            assert.equal(other.received.length, 0);
            assert.equal(receiver.received.length, 2);
            assert.match(said[0]!, /answered 307, and redirects are not followed$/);
        } finally {
            await other.stop();
        }
    });

    it("that hangs, dribbles, or is not there holds nothing up for more than three seconds", async () => {
        receiver.answer = () => undefined;
        const hung = await tell(options(), succeeded, atOnce);
        assert.ok(hung.seconds > 2.9 && hung.seconds < 9, String(hung.seconds));
        assert.match(
            hung.said[0]!,
            /^the webhook at \S+ could not be told of the build's start and end: no answer in time$/,
        );

        let dribbling: NodeJS.Timeout | undefined;
        let cutOff = 0;
        receiver.answer = (response) => {
            response.writeHead(200).write("...");
            dribbling ??= setInterval(() => response.write("."), 50);
            response.on("close", () => cutOff++);
        };
        const dribbled = await tell(options(), succeeded, atOnce);
        await until(() => cutOff === 2).finally(() => clearInterval(dribbling));
        assert.deepEqual(dribbled.said, []);
        assert.ok(dribbled.seconds < 2.9, String(dribbled.seconds));

        const nowhere = "http://127.0.0.1:1";
        const nobody = await tell({ ...options(), webhook: nowhere, pushgateway: nowhere }, succeeded, atOnce);
        assert.ok(nobody.seconds > 2.9 && nobody.seconds < 9, "it is tried until the end");
        assert.deepEqual(nobody.said, [
            "the Pushgateway at 127.0.0.1:1 could not be told of the build's end: ECONNREFUSED",
            "the webhook at 127.0.0.1:1 could not be told of the build's start and end: ECONNREFUSED",
        ]);
    });

    it("that hangs, or cannot even be connected to, does not keep the process from ending, nor makes it fail", async () => {
        receiver.answer = () => undefined;
        const stuck = await StuckListener.start();
        try {
            await Promise.all([tellAndEnd(url), tellAndEnd(`http://127.0.0.1:${stuck.port}/?token=in-the-address`)]);
        } finally {
            await stuck.stop();
        }
    });

    async function tellAndEnd(webhook: string): Promise<void> {
        const ended = await run(
            process.execPath,
            ["-r", "ts-node/register/transpile-only", path.join(projectDirectory, "tests/helpers/notifying.ts")],
            { KE1_PUSHGATEWAY: new URL(webhook).origin, KE1_WEBHOOK: webhook, KE1_WEBHOOK_SECRET: secret },
        );
        assert.equal(ended.code, 0, ended.stderr);
        const { closed, ending } = JSON.parse(ended.stdout) as { closed: number; ending: number };
        assert.ok(closed > 2.9 && closed < 4, `closed after ${closed} s`);
        assert.ok(ending < 0.5, `ended ${ending} s after that`);
        assert.equal(ended.stderr.trim().split("\n").length, 2, ended.stderr);
        assert.ok(!ended.stderr.includes("in-the-address") && !ended.stderr.includes(secret), ended.stderr);
    }
});

describe("a build's Job", () => {
    const config = new KubeConfig();
    const writer = (kubeconfig: KubeConfig) =>
        eventWriter(kubeconfig.makeApiClient(BatchV1Api), kubeconfig.makeApiClient(CoreV1Api));
    before(async () => {
        config.loadFromFile(platform().kubeconfig);
        await kubectl("create", "namespace", build.namespace);
        // Its pod is never made: it is the Job's events that matter.
        const pod = { restartPolicy: "Never", containers: [{ name: "build", image: "none" }] };
        await config.makeApiClient(BatchV1Api).createNamespacedJob({
            namespace: build.namespace,
            body: { metadata: { name: build.job }, spec: { suspend: true, template: { spec: pod } } },
        });
    });
    after(async () => kubectl("delete", "namespace", build.namespace, "--ignore-not-found", "--wait=false"));

    const describeJob = async () => kubectl("describe", "job", build.job, "--namespace", build.namespace);

    it("shows in `kubectl describe` that and how it ended", async () => {
        const message = `why, at length: ${"ü".repeat(2000)}`;
        const { said } = await tell({ event: writer(config) }, { ...failed, message }, async () => sleep(300));
        assert.deepEqual(said, []);
        const shown = await describeJob();
        assert.match(shown, /Normal +BuildStarted .*ke1 +build 0b6f5a1: `make build`/);
        assert.match(shown, /Warning +BuildFailed .*ke1 +build 0b6f5a1: why, at length: ü+…/);
    });

    it("goes without when who launches may not write events, or the Job is gone", async () => {
        await kubectl("create", "serviceaccount", "nobody", "--namespace", build.namespace);
        const token = (await kubectl("create", "token", "nobody", "--namespace", build.namespace)).trim();
        const theirs = new KubeConfig();
        theirs.loadFromClusterAndUser(config.getCurrentCluster()!, { name: "nobody", token });
        const debugged: string[] = [];
        const debug = (line: string) => debugged.push(line);
        const forbidden = await tell({ event: writer(theirs), debug }, succeeded, atOnce);
        assert.deepEqual(forbidden.said, []);
        assert.match(debugged[0]!, /answered 403/);
        assert.doesNotMatch(await describeJob(), /BuildSucceeded/);

        const event = writer(config);
        const gone = await tell(
            { event: async (what, signal) => event({ ...what, job: "no-such-job" }, signal), debug },
            succeeded,
            atOnce,
        );
        assert.deepEqual(gone.said, []);
        assert.match(debugged.at(-1)!, /answered 404/);
    });

    it("is not waited for when the API server hangs", async () => {
        const silent = new WebhookReceiver(secret);
        silent.answer = () => undefined;
        const server = new URL(await silent.start()).origin;
        const hung = new KubeConfig();
        hung.loadFromClusterAndUser({ name: "silent", server, skipTLSVerify: true }, { name: "me" });
        try {
            const { said, seconds } = await tell({ event: writer(hung) }, succeeded, atOnce);
            assert.ok(seconds < 9, String(seconds));
            assert.match(said[0]!, /^the Job's events could not be told/);
        } finally {
            await silent.stop();
        }
    });
});
