import type { FastifyInstance } from "fastify";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

import type { BuildEvent, BuildRecord } from "./build";
import { isFinal } from "./build";
import type { ServiceContext } from "./http/context";
import type { CallbackResult } from "./notify/callbacks";
import type { BuildQueue } from "./queue";

/** What the metrics are read from when they are asked for. */
export interface MetricSources {
    readonly queue: Pick<BuildQueue, "get" | "list" | "counts" | "on">;
    /** Builds at once. */
    readonly parallel: number;
    readonly notifications: {
        readonly callbacks: { readonly pending: () => number };
        readonly kafka: { readonly buffered: () => number };
    };
}

/** Seconds: from builds that are there already to the longest that the service allows by default. */
const buildBuckets = [1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 2400, 4800];
const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Methods that a label may have; anybody can send others. */
const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/**
 * What Prometheus is told of the service; docs/monitoring.md describes each metric. No label has a value that a caller
 * chooses, so that there are never more series than the ones there.
 */
export class ServiceMetrics {
    private readonly registry = new Registry();
    private readonly asked = this.counter("builds_asked_total", "Builds that were asked for.", ["kind"]);
    private readonly ended = this.counter("builds_ended_total", "Builds that ended.", ["kind", "state", "outcome"]);
    private readonly durations = new Histogram({
        name: "ke1_service_build_duration_seconds",
        help: "Of builds that ended: waiting in the queue (queued), from there to the end (build), and both (whole).",
        labelNames: ["kind", "phase"],
        buckets: buildBuckets,
        registers: [this.registry],
    });
    private readonly requests = this.counter("http_requests_total", "HTTP requests that were answered.", [
        "method",
        "route",
        "status",
    ]);
    private readonly requestDurations = new Histogram({
        name: "ke1_service_http_request_duration_seconds",
        help: "Until the answer was sent; a stream of events is as long as somebody listens.",
        labelNames: ["method", "route"],
        buckets: requestBuckets,
        registers: [this.registry],
    });
    private readonly callbackTries = this.counter("callback_tries_total", "Tries at telling a callback.", ["result"]);
    private readonly kafka = this.counter("kafka_messages_total", "Messages for Kafka.", ["result"]);

    public constructor(private readonly sources: MetricSources) {
        const { queue } = sources;
        collectDefaultMetrics({ register: this.registry });
        this.gauge("queue_builds", "Builds that wait.", () => queue.counts().queued);
        this.gauge("running_builds", "Builds that run.", () => queue.counts().running);
        this.gauge("parallel_builds", "Builds that may run at once.", () => sources.parallel);
        this.gauge("queue_oldest_seconds", "How long the oldest of those that wait does; 0 when none does.", () =>
            this.oldest(),
        );
        this.gauge("callbacks_pending", "Changes that callbacks have not been told of yet.", () =>
            sources.notifications.callbacks.pending(),
        );
        this.gauge("kafka_buffered_messages", "Messages that wait to be sent to Kafka.", () =>
            sources.notifications.kafka.buffered(),
        );
        (["delivered", "retried", "failed"] as const).forEach((result) => this.callbackTries.inc({ result }, 0));
        (["sent", "dropped"] as const).forEach((result) => this.kafka.inc({ result }, 0));
        queue.on("event", (event) => this.count(event));
    }

    public callbackTried(result: CallbackResult): void {
        this.callbackTries.inc({ result });
    }

    public kafkaMessages(result: "sent" | "dropped", messages: number): void {
        this.kafka.inc({ result }, messages);
    }

    /** Counts the requests of a server, and serves the metrics at `/metrics`. */
    public register(app: FastifyInstance, context: Pick<ServiceContext, "require">): void {
        app.addHook("onResponse", (request, reply, done) => {
            const method = methods.has(request.method) ? request.method : "other";
            // The route's pattern and not what was asked for, which may be anything.
            const route = request.routeOptions.url ?? "none";
            this.requests.inc({ method, route, status: String(reply.statusCode) });
            this.requestDurations.observe({ method, route }, reply.elapsedTime / 1000);
            done();
        });
        app.get(
            "/metrics",
            { onRequest: context.require("builds:read"), schema: { summary: "Metrics for Prometheus", hide: true } },
            async (_, reply) => reply.type(this.registry.contentType).send(await this.registry.metrics()),
        );
    }

    public async text(): Promise<string> {
        return this.registry.metrics();
    }

    private count({ type, build }: BuildEvent): void {
        const record = type === "queued" || type === "ended" ? this.sources.queue.get(build) : undefined;
        if (!record) {
            return;
        }
        const { kind } = record.request;
        if (type === "queued") {
            this.asked.inc({ kind });
        } else if (isFinal(record.state)) {
            this.ended.inc({ kind, state: record.state, outcome: record.outcome ?? "none" });
            this.time(record);
        }
    }

    private time({ request: { kind }, createdAt, startedAt, endedAt }: BuildRecord): void {
        const seconds = (from: string, to: string) => Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
        if (endedAt === undefined) {
            return;
        }
        // What was cancelled while it waited has no build.
        this.durations.observe({ kind, phase: "queued" }, seconds(createdAt, startedAt ?? endedAt));
        this.durations.observe({ kind, phase: "whole" }, seconds(createdAt, endedAt));
        if (startedAt !== undefined) {
            this.durations.observe({ kind, phase: "build" }, seconds(startedAt, endedAt));
        }
    }

    private oldest(): number {
        const oldest = this.sources.queue.list({ state: "queued" }).at(-1);
        return oldest ? (Date.now() - Date.parse(oldest.createdAt)) / 1000 : 0;
    }

    private counter<T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> {
        return new Counter({ name: `ke1_service_${name}`, help, labelNames, registers: [this.registry] });
    }

    private gauge(name: string, help: string, value: () => number): void {
        new Gauge({
            name: `ke1_service_${name}`,
            help,
            registers: [this.registry],
            collect() {
                this.set(value());
            },
        });
    }
}
