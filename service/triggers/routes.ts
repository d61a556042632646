import type { FastifyInstance } from "fastify";

import { problem } from "../http/auth";
import type { ServiceContext } from "../http/context";
import { refusals } from "../http/schemas";
import { isSigned } from "../http/webhooks";
import { repositoriesOfEnvelope, repositoryOfPackage } from "./notification";
import type { Triggers } from "./triggers";

/** What a registry sends at most at once, in bytes: Docker's sends envelopes of a few events. */
const bodyLimit = 1024 * 1024;

const answer = {
    type: "object",
    required: ["triggers"],
    properties: { triggers: { type: "array", items: { type: "string" }, description: "Those that look now." } },
} as const;

/**
 * `POST /v1/webhooks/registry`: a registry says that something was pushed. It is no more than a hint to look at what is
 * watched anyway, so that whoever can send one can start nothing that the registry does not have. All the same it takes a
 * token (`builds:write`), which Docker's registry can be told to send, or GitHub's signature.
 */
export function registerTriggers(
    app: FastifyInstance,
    context: ServiceContext,
    triggers: Triggers,
    webhookSecret: () => string | undefined,
): void {
    app.get(
        "/v1/triggers",
        {
            onRequest: context.require("builds:read"),
            schema: {
                summary: "The registry triggers, and what each has seen",
                response: {
                    200: { type: "array", items: { type: "object", additionalProperties: true } },
                    ...refusals,
                },
            },
        },
        () => triggers.status(),
    );
    void app.register((scope, _, done) => {
        // A signature is of the bytes as they came.
        scope.removeAllContentTypeParsers();
        scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit }, (__, body, parsed) => parsed(null, body));
        const authenticate = context.require("builds:write");
        scope.post<{ Body: Buffer | undefined }>(
            "/v1/webhooks/registry",
            {
                bodyLimit,
                onRequest: async (request, reply) => {
                    if (request.headers["x-hub-signature-256"] === undefined) {
                        await authenticate(request, reply);
                    }
                },
                schema: {
                    summary: "Notifications of Docker's registry, and of GitHub's for packages",
                    response: { 202: answer, ...refusals },
                },
            },
            async (request, reply) => {
                const body = request.body ?? Buffer.alloc(0);
                const signature = request.headers["x-hub-signature-256"];
                const secrets = [webhookSecret() ?? ""].filter((secret) => secret !== "");
                if (signature !== undefined && !isSigned(body, String(signature), secrets)) {
                    return reply
                        .code(401)
                        .send(problem(401, "the signature is not of this service's webhookSecretFile"));
                }
                let document: unknown;
                try {
                    document = JSON.parse(body.toString("utf8"));
                } catch {
                    return reply.code(400).send(problem(400, "the notification is not JSON"));
                }
                const event = request.headers["x-github-event"];
                const repositories =
                    event === undefined
                        ? repositoriesOfEnvelope(document)
                        : repositoryOfPackage(String(event), document);
                const looking = new Set(repositories.flatMap((repository) => triggers.notified(repository)));
                return reply.code(202).send({ triggers: [...looking] });
            },
        );
        done();
    });
}
