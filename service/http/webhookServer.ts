import fastifyRateLimit from "@fastify/rate-limit";
import type { FastifyInstance } from "fastify";
import { fastify } from "fastify";

import { problem } from "./auth";
import { registerWebhooks, type WebhookTarget } from "./webhooks";

/** Of one address, in a minute: a busy organisation sends some, and nobody who guesses gets far. */
const requestsPerMinute = 300;

/** What listens for webhooks beside a watcher that serves nothing else. */
export async function createWebhookServer(target: WebhookTarget): Promise<FastifyInstance> {
    const app = fastify({ trustProxy: false, requestTimeout: 30_000 });
    await app.register(fastifyRateLimit, { max: requestsPerMinute, timeWindow: "1 minute" });
    app.setErrorHandler((error: Error & { readonly statusCode?: number }, request, reply) => {
        const status = error.statusCode ?? 500;
        if (status >= 500) {
            process.stderr.write(`${request.method} ${request.routeOptions.url ?? "?"}: ${error.message}\n`);
        }
        return reply.code(status).send(problem(status, status >= 500 ? "the watcher has failed" : error.message));
    });
    app.setNotFoundHandler((_, reply) => reply.code(404).send(problem(404, "there is no such path")));
    app.get("/healthz", () => ({ status: "ok" }));
    registerWebhooks(app, target);
    return app;
}
