import type { FastifyInstance } from "fastify";

import { problem } from "./auth";
import type { ServiceContext } from "./context";
import { idParameter, refusals } from "./schemas";

const callbackSchema = {
    type: "object",
    properties: {
        id: { type: "string", description: "The header webhook-id of every try." },
        state: { type: "string", description: "The state of the build that it tells of." },
        status: { type: "string", enum: ["pending", "delivered", "failed"] },
        createdAt: { type: "string", format: "date-time" },
        nextTry: { type: "string", format: "date-time" },
        tries: {
            type: "array",
            items: {
                type: "object",
                properties: {
                    at: { type: "string", format: "date-time" },
                    milliseconds: { type: "integer" },
                    status: { type: "integer", description: "Of the answer; absent where there was none." },
                    problem: { type: "string" },
                },
            },
        },
    },
} as const;

/** `/v1/builds/{id}/callbacks`: what a build's callback was told, and each try at it. */
export function registerCallbacks(app: FastifyInstance, context: ServiceContext): void {
    app.get<{ Params: { readonly id: string } }>(
        "/v1/builds/:id/callbacks",
        {
            onRequest: context.require("builds:read"),
            schema: {
                summary: "What a build's callback was told, and each try at it",
                params: idParameter,
                response: {
                    200: { type: "object", properties: { callbacks: { type: "array", items: callbackSchema } } },
                    ...refusals,
                },
            },
        },
        async (request, reply) => {
            const { id } = request.params;
            return context.queue.get(id)
                ? { callbacks: context.callbacks?.of(id) ?? [] }
                : reply.code(404).send(problem(404, `there is no build ${id}`));
        },
    );
}
