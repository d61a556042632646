import type { FastifyInstance, FastifyRequest } from "fastify";

import { buildKey } from "../../contract/layout";
import type { BuildRecord, BuildRequest, BuildSecrets, BuildState } from "../build";
import { buildStates } from "../build";
import { checkCallerConfig, ownTagSuffix } from "../callerConfig";
import { credentialSecrets } from "../imageRequest";
import { attemptLogPath, launcherLog, logLimit } from "../log";
import { checkCallback } from "../notify/callbacks";
import { kafkaHosts } from "../notify/settings";
import { isTheirs, problem } from "./auth";
import type { ServiceContext } from "./context";
import { sendEvents } from "./events";
import { idParameter, refusals } from "./schemas";

interface Id {
    readonly id: string;
}

interface ListQuery {
    readonly state?: BuildState;
    readonly label?: readonly string[];
    readonly lane?: string;
    readonly text?: string;
    readonly before?: string;
    readonly limit: number;
}

type Body = Omit<BuildRequest, "namespace"> & {
    readonly callbackAuthorization?: string;
    readonly registryUsername?: string;
    readonly registryPassword?: string;
};

/** `/v1/builds`: launch, look, follow, cancel, remove. */
export function registerBuilds(app: FastifyInstance, context: ServiceContext): void {
    const { queue, openStore } = context;
    const reads = { onRequest: context.require("builds:read") };
    const writes = { onRequest: context.require("builds:write") };
    const one = { response: { 200: { $ref: "Build#" }, ...refusals } };

    app.post<{ Body: Body }>(
        "/v1/builds",
        {
            ...writes,
            schema: {
                summary: "Launch a build",
                body: { $ref: "BuildRequest#" },
                response: { 202: { $ref: "Build#" }, ...refusals },
            },
        },
        async (request, reply) => {
            const { callbackAuthorization, registryUsername, registryPassword, ...asked } = request.body;
            checkCallerConfig(asked.config, asked.kind);
            if (asked.release && !context.callerOf(request).scopes.has("admin")) {
                return reply
                    .code(403)
                    .send(problem(403, "a release is made with the service's token: it takes the scope admin"));
            }
            if (asked.callback !== undefined) {
                checkCallback(asked.callback);
            }
            if (asked.kafkaHosts !== undefined) {
                kafkaHosts(asked.kafkaHosts, "`kafkaHosts`");
            }
            const secrets: BuildSecrets = {
                ...(callbackAuthorization === undefined ? {} : { callback_auth: callbackAuthorization }),
                ...(registryUsername !== undefined && registryPassword !== undefined
                    ? credentialSecrets("registry", { username: registryUsername, password: registryPassword })
                    : {}),
            };
            const caller = context.callerOf(request).name;
            // A lane is its caller's: that of a watched branch, or of somebody else, has a stack that is none of theirs.
            const lane = asked.lane === undefined ? {} : { lane: `${caller}/${asked.lane}` };
            const suffix = asked.kind === "image" ? "" : ownTagSuffix(asked.config, caller);
            const config = suffix === "" ? asked.config : { ...asked.config, buildTagSuffix: suffix };
            const record = queue.submit({ ...asked, ...lane, config }, caller, secrets);
            return reply.code(202).header("location", `/v1/builds/${record.id}`).send(shown(record));
        },
    );

    app.get<{ Querystring: ListQuery }>(
        "/v1/builds",
        {
            ...reads,
            schema: {
                summary: "List builds, the newest first",
                querystring: {
                    type: "object",
                    properties: {
                        state: { type: "string", enum: buildStates },
                        label: {
                            type: "array",
                            items: { type: "string", pattern: "^[^=]+=" },
                            description: "name=value",
                        },
                        lane: { type: "string", description: "<caller>/<lane>" },
                        text: { type: "string", maxLength: 256 },
                        before: { type: "string", description: "Only builds made before this one: the next page." },
                        limit: { type: "integer", minimum: 1, maximum: 500, default: 50 },
                    },
                },
                response: {
                    200: { type: "object", properties: { builds: { type: "array", items: { $ref: "Build#" } } } },
                    ...refusals,
                },
            },
        },
        (request) => {
            const { label = [], ...filter } = request.query;
            const labels = Object.fromEntries(
                label.map((each) => [each.slice(0, each.indexOf("=")), each.slice(each.indexOf("=") + 1)]),
            );
            return Promise.resolve({ builds: queue.list({ ...filter, labels }).map(shown) });
        },
    );

    app.get<{ Params: Id }>(
        "/v1/builds/:id",
        { ...reads, schema: { summary: "One build", params: idParameter, ...one } },
        async (request, reply) => {
            const record = find(context, request);
            return record ? shown(record) : reply.code(404).send(unknown(request.params.id));
        },
    );

    app.post<{ Params: Id }>(
        "/v1/builds/:id/cancel",
        { ...writes, schema: { summary: "End a build", params: idParameter, ...one } },
        async (request, reply) => {
            const record = find(context, request);
            if (!record) {
                return reply.code(404).send(unknown(request.params.id));
            }
            if (!isTheirs(context.callerOf(request), record)) {
                return reply.code(403).send(notTheirs(record));
            }
            return shown(queue.cancel(record.id, context.callerOf(request).name));
        },
    );

    app.delete<{ Params: Id }>(
        "/v1/builds/:id",
        {
            ...writes,
            schema: {
                summary: "Forget a build that has ended",
                params: idParameter,
                response: { 204: { type: "null" }, ...refusals },
            },
        },
        async (request, reply) => {
            const record = find(context, request);
            if (!record) {
                return reply.code(404).send(unknown(request.params.id));
            }
            if (!isTheirs(context.callerOf(request), record)) {
                return reply.code(403).send(notTheirs(record));
            }
            if (record.state === "queued" || record.state === "running") {
                return reply.code(409).send(problem(409, `the build ${record.id} is ${record.state}; cancel it first`));
            }
            await queue.remove(record.id);
            return reply.code(204).send(null);
        },
    );

    app.get<{ Params: Id; Querystring: { readonly offset: number; readonly of: "build" | "launcher" } }>(
        "/v1/builds/:id/log",
        {
            ...reads,
            schema: {
                summary: "A build's log, as far as it is there",
                params: idParameter,
                querystring: {
                    type: "object",
                    properties: {
                        offset: { type: "integer", minimum: 0, default: 0, description: "Begin at this byte." },
                        of: { type: "string", enum: ["build", "launcher"], default: "build" },
                    },
                },
                produces: ["text/plain"],
            },
        },
        async (request, reply) => {
            const record = find(context, request);
            if (!record) {
                return reply.code(404).send(unknown(request.params.id));
            }
            const { offset, of } = request.query;
            const { bytes, name } =
                of === "launcher"
                    ? { bytes: launcherLog(queue.launchLog(record.id), offset), name: "launcher" }
                    : await buildLog(context, record, offset);
            return (
                reply
                    .type("text/plain; charset=utf-8")
                    .header("x-ke1-next-offset", String(offset + bytes.length))
                    // Another attempt has another log, which begins anew.
                    .headers(name === undefined ? {} : { "x-ke1-log": name })
                    .send(bytes)
            );
        },
    );

    app.get<{ Params: Id; Querystring: { readonly log: boolean } }>(
        "/v1/builds/:id/events",
        {
            ...reads,
            schema: {
                summary:
                    "What happens to a build, and its log, as server-sent events; Last-Event-ID goes on after a break",
                params: idParameter,
                querystring: { type: "object", properties: { log: { type: "boolean", default: true } } },
                produces: ["text/event-stream"],
            },
        },
        async (request, reply) => {
            const record = find(context, request);
            if (!record) {
                return reply.code(404).send(unknown(request.params.id));
            }
            await sendEvents(context, record, request, reply);
            return reply;
        },
    );

    app.get<{ Params: Id }>(
        "/v1/builds/:id/artifacts",
        { ...reads, schema: { summary: "A build's artifacts, with size, SHA-256 and address", params: idParameter } },
        async (request, reply) => {
            const record = find(context, request);
            if (record?.buildTag === undefined || record.containerUrl === undefined) {
                return reply.code(404).send(unknown(request.params.id));
            }
            const manifest = await openStore(record.containerUrl).manifest(buildKey(record.buildTag));
            return manifest
                ? { buildTag: record.buildTag, artifacts: manifest.artifacts }
                : reply.code(404).send(problem(404, `${record.buildTag} has no artifacts`));
        },
    );
}

/** A build's record, for those that it is shown to. */
export function shown({ request, ...record }: BuildRecord): Record<string, unknown> {
    const { labels, ...rest } = request;
    return { ...record, labels, request: rest };
}

function notTheirs({ id, caller }: BuildRecord) {
    return problem(403, `the build ${id} is ${caller}'s`);
}

function find({ queue }: ServiceContext, { params }: FastifyRequest<{ Params: Id }>): BuildRecord | undefined {
    return queue.get(params.id);
}

function unknown(id: string) {
    return problem(404, `there is no build ${id}`);
}

/** The log of an image that is all there is to be built is what its launcher prints: it has no pod. */
export async function buildLog(
    context: ServiceContext,
    record: BuildRecord,
    offset: number,
): Promise<{ readonly bytes: Buffer; readonly name?: string }> {
    if (record.request.kind === "image") {
        return { bytes: launcherLog(context.queue.launchLog(record.id), offset) };
    }
    if (record.buildTag === undefined || record.containerUrl === undefined) {
        return { bytes: Buffer.alloc(0) };
    }
    const store = context.openStore(record.containerUrl);
    const name = await attemptLogPath(store, record);
    const bytes = name === undefined ? undefined : await store.bytes(name, offset, logLimit);
    return { bytes: bytes ?? Buffer.alloc(0), name };
}
