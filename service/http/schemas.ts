import { outcomes } from "../../contract/outcome";
import { buildStates } from "../build";

/** The JSON schemas of what goes over the wire; the OpenAPI document is made of them. */
const text = { type: "string" } as const;
const labels = {
    type: "object",
    maxProperties: 32,
    additionalProperties: { type: "string", maxLength: 256 },
    description: "What the caller calls the build by.",
} as const;

export const buildRequestSchema = {
    $id: "BuildRequest",
    type: "object",
    required: ["source"],
    additionalProperties: false,
    properties: {
        kind: { type: "string", enum: ["build", "image"], default: "build" },
        source: { ...text, minLength: 1, maxLength: 8 * 1024 * 1024, description: "Where the source is: a URI." },
        ref: { ...text, maxLength: 256, description: "A commit, tag or branch of it." },
        config: {
            type: "object",
            default: {},
            description: "Keys of the stack's configuration, over those of the service's stack.",
        },
        labels: { ...labels, default: {} },
        callback: { ...text, format: "uri", maxLength: 2048, description: "Told of each change of the build's state." },
        callbackAuthorization: { ...text, maxLength: 4096, description: "Sent to it as the header Authorization." },
        kafkaHosts: {
            type: "array",
            minItems: 1,
            maxItems: 16,
            items: { ...text, maxLength: 260 },
            description: "Kafka brokers (host:port) that the log and the changes are streamed to.",
        },
        registryUsername: { ...text, maxLength: 256, description: "Who pushes to `config.registry`." },
        registryPassword: { ...text, maxLength: 65536 },
        lane: {
            ...text,
            minLength: 1,
            maxLength: 128,
            description: "The caller's builds of one lane run one after another.",
        },
        keepFailed: {
            type: "boolean",
            description: "What a failed build leaves in the cluster stays until it is removed.",
        },
        keep: { type: "boolean", description: "So does what any other has left." },
        release: {
            type: "object",
            description: "A release on GitHub, and the push of images, once it is built. Takes the scope admin.",
            required: ["repository"],
            additionalProperties: false,
            properties: {
                repository: { ...text, pattern: "^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$" },
                tag: { ...text, pattern: "^[A-Za-z0-9]", maxLength: 200 },
                images: { type: "array", maxItems: 20, items: { ...text, pattern: "^[a-z0-9]" }, default: [] },
                step: { ...text, pattern: "^[a-z0-9-]+$" },
            },
        },
        timeoutSeconds: { type: "integer", minimum: 1, maximum: 86_400 },
    },
} as const;

export const buildSchema = {
    $id: "Build",
    type: "object",
    additionalProperties: true,
    required: ["id", "state", "createdAt"],
    properties: {
        id: text,
        state: { type: "string", enum: buildStates },
        caller: text,
        createdAt: { ...text, format: "date-time" },
        startedAt: { ...text, format: "date-time" },
        endedAt: { ...text, format: "date-time" },
        buildTag: text,
        commit: text,
        outcome: { type: "string", enum: [...outcomes, "NotStarted", "NotReleased"] },
        message: text,
        labels,
    },
} as const;

export const problemSchema = {
    $id: "Problem",
    type: "object",
    description: "RFC 9457",
    required: ["status", "detail"],
    properties: { status: { type: "integer" }, detail: text },
} as const;

export const idParameter = {
    type: "object",
    required: ["id"],
    properties: { id: { type: "string", pattern: "^[0-9a-f]{12}$" } },
} as const;

export const refusals = { "4xx": { $ref: "Problem#" } } as const;
