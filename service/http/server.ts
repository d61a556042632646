import fastifyRateLimit from "@fastify/rate-limit";
import fastifySwagger from "@fastify/swagger";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { fastify } from "fastify";

import { version } from "../../package.json";
import { UserError } from "../../contract/errors";
import type { Authenticator, Caller } from "./auth";
import { problem } from "./auth";
import { registerBuilds } from "./builds";
import { registerCallbacks } from "./callbacks";
import type { ServiceContext } from "./context";
import { registerPage } from "./page";
import { buildRequestSchema, buildSchema, problemSchema } from "./schemas";
import { registerShuttle } from "./shuttle";
import { registerUploads } from "./uploads";

/** What the HTTP interface itself is told. */
export interface ServerSettings {
    readonly authenticator: Authenticator;
    /** Requests of one caller in a minute. */
    readonly requestsPerMinute: number;
    /** Of one request's body, in bytes. */
    readonly bodyLimit: number;
    /** Whether the build shuttle's paths are for whoever is on this machine, without a token. */
    readonly openShuttle?: boolean;
}

/** The HTTP interface of the service, with its OpenAPI document at `/openapi.json`. */
export async function createServer(
    base: Omit<ServiceContext, "require" | "callerOf" | "closing">,
    settings: ServerSettings,
    /** Adds the routes of parts that not every service has. */
    register: (app: FastifyInstance, context: ServiceContext) => void = () => undefined,
): Promise<FastifyInstance> {
    const app = fastify({
        bodyLimit: settings.bodyLimit,
        // Who may send what is said by the tokens; a proxy's headers are nobody's word.
        trustProxy: false,
        // Time for a whole request, of which an archive may be one; what the service sends has no limit, as a log may take long.
        requestTimeout: 600_000,
        http: { headersTimeout: 60_000 },
        ajv: { customOptions: { removeAdditional: false, coerceTypes: "array" } },
    });
    const callers = new WeakMap<FastifyRequest, Caller>();
    const closing = new AbortController();
    app.addHook("preClose", (done) => {
        closing.abort();
        done();
    });
    const context: ServiceContext = {
        ...base,
        closing: closing.signal,
        require: (scope) => settings.authenticator.require(scope, callers),
        callerOf: (request) => {
            const caller = callers.get(request);
            if (!caller) {
                throw new Error("the route does not ask who calls");
            }
            return caller;
        },
    };
    await app.register(fastifyRateLimit, {
        global: false,
        max: settings.requestsPerMinute,
        timeWindow: "1 minute",
        // Of whoever is known by a token, and of an address for all others: an invented token is no other caller.
        keyGenerator: async (request) => (await settings.authenticator.callerFrom(request))?.name ?? request.ip,
        errorResponseBuilder: (_, { after }) =>
            Object.assign(new Error(), { statusCode: 429, message: `too many requests; try again in ${after}` }),
    });
    // Of the whole service, so that it comes before the routes' own hooks: whoever is refused is counted too. A route with a
    // limit of its own counts by itself, as a request is counted once.
    const limit = app.rateLimit();
    app.addHook("onRequest", async function (request, reply) {
        if (!("rateLimit" in request.routeOptions.config)) {
            await limit.call(this, request, reply);
        }
    });
    await app.register(fastifySwagger, {
        openapi: {
            openapi: "3.1.0",
            info: { title: "ke1", version, description: "Builds in a Kubernetes cluster." },
            components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
            security: [{ bearer: [] }],
        },
        refResolver: {
            buildLocalReference: ({ $id }, _, __, index) => (typeof $id === "string" ? $id : `def-${index}`),
        },
    });
    for (const schema of [buildRequestSchema, buildSchema, problemSchema]) {
        app.addSchema(schema);
    }
    context.metrics?.register(app, context);
    context.tracing?.register(app);
    app.addHook("onSend", (_, reply, payload, done) => {
        void reply.header("x-content-type-options", "nosniff").header("cache-control", "no-store");
        done(null, payload);
    });
    app.setErrorHandler((error: Error & { readonly statusCode?: number }, request, reply) => {
        const status = error instanceof UserError ? 400 : (error.statusCode ?? 500);
        if (status >= 500) {
            process.stderr.write(
                `${request.method} ${request.routeOptions.url ?? "?"}: ${error.stack ?? error.message}\n`,
            );
        }
        return reply
            .code(status)
            .send(problem(status, status >= 500 ? "the service has failed; its log says why" : error.message));
    });
    app.setNotFoundHandler((_, reply) =>
        reply.code(404).send(problem(404, "there is no such path; see /openapi.json")),
    );

    app.get("/healthz", { schema: { summary: "Whether the service runs", security: [] } }, () => ({ status: "ok" }));
    app.get("/readyz", { schema: { summary: "Whether it takes builds", security: [] } }, () => ({
        status: "ok",
        ...context.queue.counts(),
    }));
    app.get("/openapi.json", { schema: { hide: true } }, () => app.swagger());
    registerBuilds(app, context);
    registerCallbacks(app, context);
    await registerPage(app, context, async (token) => settings.authenticator.callerOf(token));
    await registerUploads(app, context);
    registerShuttle(app, context, settings.openShuttle ?? false);
    register(app, context);
    return app;
}
