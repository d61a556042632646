import { AsyncLocalStorage } from "node:async_hooks";
import type { DatabaseSync } from "node:sqlite";

import type { FastifyInstance, FastifyRequest } from "fastify";

import type { TraceParent } from "../launcher/tracing";
import { spanId, traceId, traceParentOf, traceParentVariable, Tracing } from "../launcher/tracing";
import type { BuildEvent, BuildRecord } from "./build";
import type { BuildQueue } from "./queue";

const schema = "CREATE TABLE IF NOT EXISTS traces (build TEXT PRIMARY KEY, parent TEXT NOT NULL) STRICT;";

/** Paths that are asked for all the time, and by machines. */
const untraced = new Set(["/healthz", "/readyz", "/metrics"]);

/**
 * The service's traces: one for each build, from the request that asked for it, through the queue, to `ke1 up`, which adds
 * its own. Where a build belongs is in the service's database, so that a trace survives the service.
 */
export class ServiceTracing {
    /** The request that is answered now. */
    private readonly current = new AsyncLocalStorage<TraceParent>();
    private readonly requests = new WeakMap<FastifyRequest, { readonly place: TraceParent; readonly start: Date }>();

    private constructor(
        private readonly tracing: Tracing,
        private readonly database: DatabaseSync,
    ) {
        database.exec(schema);
    }

    /** @returns undefined where the environment asks for no traces. */
    public static async open(database: DatabaseSync): Promise<ServiceTracing | undefined> {
        const tracing = await Tracing.open();
        return tracing && new ServiceTracing(tracing, database);
    }

    /** What the launcher of a build is given, so that its spans are part of the build's. */
    public readonly variables = ({ id }: BuildRecord): NodeJS.ProcessEnv => ({
        [traceParentVariable]: this.tracing.place({
            name: "launch",
            parent: this.build(id),
            id: spanId(`${id} launch`),
        }),
    });

    /** Records the builds of a queue as they end. */
    public follow(queue: Pick<BuildQueue, "get" | "on">): void {
        queue.on("event", (event) => this.handle(event, queue));
    }

    /** Records the requests of a server. */
    public register(app: FastifyInstance): void {
        app.addHook("onRequest", (request, _, done) => {
            if (!untraced.has(request.routeOptions.url ?? "")) {
                const parent = traceParentOf(headerOf(request));
                const place = this.tracing.place({ name: nameOf(request), parent });
                this.requests.set(request, { place, start: new Date() });
            }
            done();
        });
        // As late as can be: what reads the body loses what was said before.
        app.addHook("preHandler", (request, _, done) => {
            const place = this.requests.get(request)?.place;
            if (place === undefined) {
                done();
            } else {
                this.current.run(place, done);
            }
        });
        app.addHook("onResponse", (request, reply, done) => {
            const traced = this.requests.get(request);
            if (traced) {
                const { place, start } = traced;
                const { statusCode } = reply;
                this.tracing.record({
                    ...idsOf(place),
                    ...{ name: nameOf(request), start, end: new Date(), isServer: true },
                    parent: traceParentOf(headerOf(request)),
                    attributes: {
                        "http.request.method": request.method,
                        "http.route": request.routeOptions.url,
                        "http.response.status_code": statusCode,
                    },
                    error: statusCode >= 500 ? `answered ${statusCode}` : undefined,
                });
            }
            done();
        });
    }

    public async close(): Promise<void> {
        await this.tracing.close();
    }

    private handle({ type, build }: BuildEvent, queue: Pick<BuildQueue, "get">): void {
        if (type === "queued") {
            this.database
                .prepare("INSERT OR IGNORE INTO traces VALUES (?, ?)")
                .run(build, this.current.getStore() ?? "");
        } else if (type === "ended") {
            const record = queue.get(build);
            if (record) {
                this.recordBuild(record);
            }
        } else if (type === "removed") {
            this.database.prepare("DELETE FROM traces WHERE build = ?").run(build);
        }
    }

    private recordBuild(record: BuildRecord): void {
        const { id, createdAt, startedAt, endedAt, outcome, state, message, request, buildTag } = record;
        if (endedAt === undefined) {
            return;
        }
        const [created, ended] = [new Date(createdAt), new Date(endedAt)];
        const error = state === "succeeded" ? undefined : (message ?? outcome ?? state);
        const root = this.build(id);
        this.tracing.record({
            ...idsOf(root),
            ...{ name: `build ${request.kind}`, parent: this.parent(id), start: created, end: ended, error },
            attributes: { "ke1.build.id": id, "ke1.build.tag": buildTag, "ke1.outcome": outcome },
        });
        const started = startedAt === undefined ? ended : new Date(startedAt);
        this.tracing.record({ name: "queue", parent: root, start: created, end: started });
        if (startedAt !== undefined) {
            const launch = spanId(`${id} launch`);
            this.tracing.record({ name: "launch", id: launch, parent: root, start: started, end: ended, error });
        }
    }

    /** The place of a build: its ids follow from its own, and whether it is sampled from its parent or its trace. */
    private build(id: string): TraceParent {
        const own = { id: spanId(`${id} build`), traceId: traceId(id) };
        return this.tracing.place({ name: "build", parent: this.parent(id), ...own });
    }

    /** The request that asked for a build. */
    private parent(id: string): TraceParent | undefined {
        return traceParentOf(
            this.database.prepare("SELECT parent FROM traces WHERE build = ?").get(id)?.["parent"]?.toString(),
        );
    }
}

function nameOf(request: FastifyRequest): string {
    return `${request.method} ${request.routeOptions.url ?? "no such route"}`;
}

function headerOf(request: FastifyRequest): string | undefined {
    const { traceparent } = request.headers;
    return typeof traceparent === "string" ? traceparent : undefined;
}

/** The ids of a place that was handed on already. */
function idsOf(place: TraceParent): { readonly id?: string; readonly traceId?: string } {
    const [, trace, id] = place.split("-");
    return { id, traceId: trace };
}
