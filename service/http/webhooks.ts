import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { problem } from "./auth";
import { problemSchema } from "./schemas";
import type { WatchedRepository } from "../watch/repository";
import type { WatchState } from "../watch/state";

/** What the route needs of a watcher. */
export interface WebhookTarget {
    readonly state: Pick<WatchState, "takeDelivery">;
    readonly watcher: {
        readonly find: (address: string) => WatchedRepository | undefined;
        readonly wake: (repository: WatchedRepository, delivery: string) => void;
    };
}

/** What of GitHub's payloads is looked at (https://docs.github.com/en/webhooks/webhook-events-and-payloads). */
interface Payload {
    readonly ref_type?: unknown;
    readonly repository?: { readonly clone_url?: unknown; readonly html_url?: unknown };
}

/**
 * GitHub's own limit is 25 MB, for a push of thousands of commits. Whatever is larger than this is found at the next look:
 * nobody who has not signed anything is to fill our memory.
 */
const bodyLimit = 4 * 1024 * 1024;

/** For repositories that are not watched: they take as long to refuse as those that are. */
const nobody = randomBytes(32).toString("hex");

/**
 * `POST /v1/webhooks/github`: GitHub tells that there is something new, and the repository is looked at, at once. What is
 * built is what that look finds: nothing of what a payload says is believed, so that a request that is forged or sent again
 * can do no more than to have us look.
 *
 * Its signature is its authentication. A repository that is not watched, one without a secret and a signature that does not
 * match are answered alike.
 */
export function registerWebhooks(app: FastifyInstance, target: WebhookTarget): void {
    void app.register((scope, _options, done) => {
        scope.removeAllContentTypeParsers();
        // The signature is of the bytes as they came.
        scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit }, (_request, body, parsed) =>
            parsed(null, body),
        );
        scope.post("/v1/webhooks/github", { bodyLimit, schema: documentation }, async (request, reply) =>
            answer(target, request, reply),
        );
        done();
    });
}

const refusal = { type: "object", properties: problemSchema.properties } as const;
const message = { type: "object", properties: { status: { type: "string" } }, required: ["status"] } as const;
const documentation = {
    summary: "Receive a webhook of GitHub's",
    description:
        "Looks at the watched repository at once. Signed with its secret (`X-Hub-Signature-256`); events push, create, delete and ping.",
    tags: ["watch"],
    security: [],
    response: { 200: message, 202: message, 400: refusal, 401: refusal },
};

async function answer(target: WebhookTarget, request: FastifyRequest, reply: FastifyReply) {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const payload = parsePayload(body, header(request, "content-type"));
    const repository = addressesOf(payload)
        .map((address) => target.watcher.find(address))
        .find((found) => found !== undefined);
    if (
        !isSigned(body, header(request, "x-hub-signature-256"), repository?.webhookSecrets) ||
        repository === undefined
    ) {
        return reply.code(401).send(problem(401, "the signature is not that of a watched repository"));
    }
    const delivery = header(request, "x-github-delivery");
    if (!/^[\w-]{1,100}$/.test(delivery)) {
        return reply.code(400).send(problem(400, "X-GitHub-Delivery is missing"));
    }
    // The delivery's id is not signed: what is sent again under another one is known by its bytes.
    const digest = createHash("sha256").update(body).digest("hex");
    if (!target.state.takeDelivery([`github ${delivery}`, `body ${digest}`])) {
        return reply.code(200).send({ status: "known" });
    }
    const event = header(request, "x-github-event");
    if (event === "ping") {
        return reply.code(200).send({ status: "pong" });
    }
    if (event !== "push" && event !== "create" && event !== "delete") {
        return reply.code(202).send({ status: "ignored" });
    }
    target.watcher.wake(repository, delivery);
    return reply.code(202).send({ status: "looking" });
}

function header(request: FastifyRequest, name: string): string {
    const value = request.headers[name];
    return typeof value === "string" ? value : "";
}

/** As JSON, or as the field of a form, which is what GitHub sends unless it is told otherwise. */
function parsePayload(body: Buffer, contentType: string): Payload | undefined {
    try {
        const text = body.toString("utf8");
        const json = contentType.startsWith("application/x-www-form-urlencoded")
            ? (new URLSearchParams(text).get("payload") ?? "")
            : text;
        const payload: unknown = JSON.parse(json);
        return typeof payload === "object" && payload !== null ? payload : undefined;
    } catch {
        return undefined;
    }
}

function addressesOf(payload: Payload | undefined): readonly string[] {
    const repository = payload?.repository;
    return [repository?.clone_url, repository?.html_url].filter((address) => typeof address === "string");
}

/** https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries: compared in constant time. */
export function isSigned(body: Buffer, signature: string, secrets: readonly string[] | undefined): boolean {
    const given = Buffer.from(/^sha256=([0-9a-f]{64})$/i.exec(signature)?.[1] ?? "", "hex");
    const matches = (secrets && secrets.length > 0 ? secrets : [nobody]).map((secret) => {
        const expected = createHmac("sha256", secret).update(body).digest();
        return timingSafeEqual(expected, given.length === expected.length ? given : Buffer.alloc(expected.length));
    });
    return given.length > 0 && matches.includes(true);
}
