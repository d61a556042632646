import type { FastifyReply, FastifyRequest } from "fastify";

import type { BuildStore } from "../../launcher/store";
import type { ServiceMetrics } from "../metrics";
import type { CallbackRecord } from "../notify/outbox";
import type { BuildQueue } from "../queue";
import type { ServiceTracing } from "../tracing";
import type { ServiceSettings } from "../settings";
import type { Scope } from "../scopes";
import type { Caller } from "./auth";

/** What every part of the HTTP interface is given. */
export interface ServiceContext {
    readonly queue: BuildQueue;
    readonly settings: ServiceSettings;
    /** The store that a container's address stands for. */
    readonly openStore: (containerUrl: string) => BuildStore;
    /** What was told of a build's changes (service/notify). */
    readonly callbacks?: { readonly of: (build: string) => readonly CallbackRecord[] };
    readonly metrics?: ServiceMetrics;
    readonly tracing?: ServiceTracing;
    /** A handler for a route's `onRequest`: answers 401 or 403 unless the caller has the scope. */
    readonly require: (scope: Scope) => (request: FastifyRequest, reply: FastifyReply) => Promise<void>;
    /** Aborted when the server is about to close: what would go on for long ends by itself. */
    readonly closing: AbortSignal;
    /** Who a request that was let through is from. */
    readonly callerOf: (request: FastifyRequest) => Caller;
}
