import * as assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { BuildableRepository } from "../helpers/buildable";
import { Collector } from "../helpers/collector";
import type { CollectedSpan } from "../helpers/collector";
import { ke1 } from "../helpers/ke1";
import { RunningService } from "../helpers/service";
import { WebhookReceiver } from "../helpers/webhook";

const secret = `whsec_${Buffer.alloc(32, 9).toString("base64")}`;

describe("what ke1 serve tells others of its builds", () => {
    const collector = new Collector();
    const receiver = new WebhookReceiver(secret);
    let service: RunningService;
    let repository: BuildableRepository;
    let callback: string;
    const tags: string[] = [];

    before(async () => {
        callback = await receiver.start();
        service = new RunningService("events", ["--local-sources", "--allow-callback", "127.0.0.1"]);
        repository = new BuildableRepository(["mkdir -p bin", "sleep 2", "echo made > bin/made"]);
        tags.push(repository.commit());
        repository.recipe(["echo it does not work; exit 3"]);
        tags.push(repository.commit());
        await service.start({
            KE1_SERVICE_CALLBACK_SECRET: secret,
            OTEL_EXPORTER_OTLP_ENDPOINT: await collector.start(),
            OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=ke1",
            OTEL_SERVICE_NAME: "builds",
        });
    });
    after(async () => {
        await service.remove();
        repository.remove();
        await receiver.stop();
        await collector.stop();
    });

    const launch = async (ref: string, headers: Record<string, string> = {}) => {
        const response = await fetch(`${service.url}/v1/builds`, {
            method: "POST",
            headers: { authorization: `Bearer ${service.token}`, "content-type": "application/json", ...headers },
            body: JSON.stringify({ source: repository.path, ref, callback, callbackAuthorization: "Bearer hush" }),
        });
        assert.equal(response.status, 202, await response.clone().text());
        return service.ended(((await response.json()) as { id: string }).id);
    };

    it("makes one trace of request, queue, launch, build and export, in the caller's", async () => {
        const traceId = randomBytes(16).toString("hex");
        const caller = randomBytes(8).toString("hex");
        const { id } = await launch(tags[0]!, { traceparent: `00-${traceId}-${caller}-01` });
        const names = ["POST /v1/builds", "build build", "queue", "launch", "ke1 up", "image", "create", "await"];
        const spans = await collector.trace(traceId, [...names, "build", "export", "ke1 destroy", "delete"]);
        const only = (name: string): CollectedSpan => {
            const found = spans.filter((span) => span.name === name);
            assert.equal(found.length, 1, `${name}: ${found.length}`);
            return found[0]!;
        };
        const parents = {
            "build build": "POST /v1/builds",
            queue: "build build",
            launch: "build build",
            "ke1 up": "launch",
            image: "ke1 up",
            create: "ke1 up",
            await: "ke1 up",
            build: "await",
            export: "await",
            "ke1 destroy": "launch",
            delete: "ke1 destroy",
        };
        assert.equal(only("POST /v1/builds").parentSpanId, caller);
        assert.equal(only("POST /v1/builds").kind, 2, "SPAN_KIND_SERVER");
        assert.equal(only("POST /v1/builds").attributes["http.response.status_code"], 202);
        for (const [name, parent] of Object.entries(parents)) {
            assert.equal(only(name).parentSpanId, only(parent).spanId, `${name} is a part of ${parent}`);
        }
        const build = only("build");
        assert.equal(build.attributes["ke1.build.tag"], tags[0]);
        assert.ok(build.end - build.start >= 2000 && build.end - build.start < 20_000, "as long as the build took");
        assert.ok(only("export").start >= build.end - 1000 && only("await").end >= only("export").end);
        assert.equal(only("build build").attributes["ke1.build.id"], id);
        assert.ok(spans.every((span) => span.service === "builds" && !span.failed && span.end >= span.start));
        assert.ok(collector.headers.every((headers) => headers["x-tenant"] === "ke1"));
    });

    it("marks what failed in the trace of a build that nobody traced before, and tells its callback", async () => {
        const ended = await launch(tags[1]!);
        const root = collector.spans.filter(({ name }) => name === "POST /v1/builds").at(-1)!;
        assert.equal(root.parentSpanId, undefined);
        const spans = await collector.trace(root.traceId, ["build build", "launch", "ke1 up", "await", "build"]);
        const failed = spans.filter((span) => span.failed).map(({ name }) => name);
        assert.deepEqual(failed.sort(), ["await", "build", "build build", "ke1 up", "launch"]);

        const { body } = await service.ask("GET", `/v1/builds/${ended.id}/callbacks`);
        assert.deepEqual(
            body.callbacks.map(({ state, status, tries }: any) => [state, status, tries[0].status]),
            ["queued", "running", "failed"].map((state) => [state, "delivered", 204]),
        );
        const told = receiver.received.filter(({ body: event }) => event["subject"] === ended.id);
        assert.ok(told.every(({ signed }) => signed));
        assert.equal(told.at(-1)!.body["data"].outcome, "BuildFailed");
    });

    it("has metrics for Prometheus, for those who may look at builds", async () => {
        assert.equal((await service.ask("GET", "/metrics", undefined, "nobody")).status, 401);
        await service.ask("GET", `/v1/builds/${"0".repeat(12)}`);
        await service.ask("GET", "/no/such/path");
        const expected = [
            'ke1_service_builds_asked_total{kind="build"} 2',
            'ke1_service_builds_ended_total{kind="build",state="succeeded",outcome="Succeeded"} 1',
            'ke1_service_builds_ended_total{kind="build",state="failed",outcome="BuildFailed"} 1',
            "ke1_service_queue_builds 0",
            "ke1_service_queue_oldest_seconds 0",
            "ke1_service_running_builds 0",
            "ke1_service_parallel_builds 4",
            'ke1_service_build_duration_seconds_count{kind="build",phase="whole"} 2',
            'ke1_service_http_requests_total{method="GET",route="/v1/builds/:id",status="404"} 1',
            'ke1_service_http_requests_total{method="GET",route="none",status="404"} 1',
            'ke1_service_callback_tries_total{result="delivered"} 6',
            "ke1_service_callbacks_pending 0",
            'ke1_service_kafka_messages_total{result="dropped"} 0',
        ];
        let found = await service.ask("GET", "/metrics");
        const missing = () => expected.filter((line) => !found.text.split("\n").includes(line));
        // A build has ended for its caller a moment before the service has told everybody else.
        for (let attempt = 0; attempt < 50 && missing().length > 0; attempt++) {
            await sleep(200);
            found = await service.ask("GET", "/metrics");
        }
        assert.deepEqual(missing(), [], found.text);
        const { text, headers } = found;
        assert.match(headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
        assert.match(text, /^process_cpu_seconds_total /m);
        assert.doesNotMatch(text, /hush|no\/such|[/"]0{12}/);
    });

    it("takes no callback and no broker that cannot be", async () => {
        for (const [more, problem] of [
            [{ callback: "ftp://example.com/" }, /`callback` must be a URL that begins with https/],
            [{ callback: "https://a:hush@example.com/" }, /without a user and password/],
            [{ kafkaHosts: ["example.com"] }, /`kafkaHosts` must be brokers as host:port/],
        ] as const) {
            const answer = await service.ask("POST", "/v1/builds", { source: repository.path, ...more });
            assert.equal(answer.status, 400);
            assert.match(answer.text, problem);
            assert.doesNotMatch(answer.text, /hush/);
        }
    });

    it("does not start with settings that cannot be, and says so in one line", async () => {
        const { code, stderr } = await ke1(["serve", "--port", "1"], { KAFKA_TLS: "perhaps" });
        assert.equal(code, 2);
        assert.equal(stderr, "error: KAFKA_TLS must be true or false, not perhaps\n");
    });
});
