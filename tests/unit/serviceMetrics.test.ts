import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { ServiceMetrics } from "../../service/metrics";
import { TestQueue } from "../helpers/buildQueue";
import { projectDirectory } from "../helpers/ke1";

describe("the service's metrics", () => {
    const cleanUp: (() => unknown)[] = [];
    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });
    const opened = (parallel: number) => {
        const test = new TestQueue(undefined, { parallel });
        cleanUp.push(() => test.directory.remove());
        cleanUp.push(() => test.close());
        cleanUp.push(async () => test.queue.stop());
        const notifications = { callbacks: { pending: () => 3 }, kafka: { buffered: () => 7 } };
        return { test, metrics: new ServiceMetrics({ queue: test.queue, parallel, notifications }) };
    };
    const linesOf = async (metrics: ServiceMetrics) => (await metrics.text()).split("\n");

    it("count builds by kind, state and outcome, and say how many wait, and how long", async () => {
        const { test, metrics } = opened(1);
        const first = test.submit({ labels: { app: "secret-name" } });
        test.submit({ kind: "image" });
        test.queue.start();
        await test.running(first.id);
        const before = await linesOf(metrics);
        for (const line of [
            'ke1_service_builds_asked_total{kind="build"} 1',
            'ke1_service_builds_asked_total{kind="image"} 1',
            "ke1_service_queue_builds 1",
            "ke1_service_running_builds 1",
            "ke1_service_parallel_builds 1",
            "ke1_service_callbacks_pending 3",
            "ke1_service_kafka_buffered_messages 7",
        ]) {
            assert.ok(before.includes(line), line);
        }
        const oldest = before.find((line) => line.startsWith("ke1_service_queue_oldest_seconds "));
        assert.ok(Number(oldest?.split(" ")[1]) > 0);
        await test.end(first.id, { state: "failed", outcome: "OutOfMemory", message: "no" });
        metrics.callbackTried("retried");
        metrics.kafkaMessages("dropped", 12);
        const after = await linesOf(metrics);
        for (const line of [
            'ke1_service_builds_ended_total{kind="build",state="failed",outcome="OutOfMemory"} 1',
            'ke1_service_build_duration_seconds_count{kind="build",phase="queued"} 1',
            'ke1_service_build_duration_seconds_count{kind="build",phase="build"} 1',
            'ke1_service_build_duration_seconds_count{kind="build",phase="whole"} 1',
            'ke1_service_callback_tries_total{result="retried"} 1',
            'ke1_service_callback_tries_total{result="failed"} 0',
            'ke1_service_kafka_messages_total{result="dropped"} 12',
        ]) {
            assert.ok(after.includes(line), line);
        }
        assert.ok(!after.join("\n").includes(first.id) && !after.join("\n").includes("secret-name"));
    });

    it("are described in docs/monitoring.md, each with its labels, and no other; and shown on the dashboard", async () => {
        const { metrics } = opened(1);
        const text = await metrics.text();
        const names = [...text.matchAll(/^# TYPE (ke1_\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`);
        const docs = fs.readFileSync(path.join(projectDirectory, "docs/monitoring.md"), "utf8");
        const rows = [...docs.matchAll(/^\| `(ke1_service_\w+)[^|]*\| (\w+)/gm)];
        assert.deepEqual(rows.map(([, name, type]) => `${name} ${type}`).sort(), [...names].sort());
        const dashboard = fs.readFileSync(path.join(projectDirectory, "docs/grafana/ke1-service.json"), "utf8");
        const known = new Set(rows.map(([, name]) => name));
        for (const [shown] of dashboard.matchAll(/ke1_service_[a-z_]+/g)) {
            assert.ok(known.has(shown.replace(/_bucket$/, "")), shown);
        }
    });
});
