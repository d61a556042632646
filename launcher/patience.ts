import { setTimeout } from "node:timers/promises";

import { RestError } from "@azure/storage-blob";

import { firstLineOf } from "../contract/errors";
import { NotYetAllowed } from "./store";

/**
 * How long the cluster or the store may be away before that is said to be the end of it, in milliseconds. Longer than the
 * exporter waits at the end of a build (docs/exporter.md), so that its outcome is known by then.
 */
const limit = 240_000;
/** After this, in milliseconds, what is known without the one that is away is good enough. */
const enough = 30_000;
const pause = 1000;
/**
 * How long a role of Azure's may take from its assignment to its effect, in milliseconds
 * (https://learn.microsoft.com/azure/role-based-access-control/troubleshooting#symptom---role-assignment-changes-are-not-being-detected).
 * The stack may have assigned the launcher's own a moment ago.
 */
const roleLimit = 600_000;

/** What the network says when nobody answers (node:net, undici). */
const networkCodes = new Set([
    "ECONNREFUSED",
    "ECONNRESET",
    "ECONNABORTED",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EPIPE",
    "ETIMEDOUT",
    "UND_ERR_SOCKET",
    "UND_ERR_CONNECT_TIMEOUT",
]);

/** Bears with an API server or a store that is restarted: an error that may pass is none until it has lasted. */
export class Patience {
    private awaySince: number | undefined;

    public constructor(private readonly say: (text: string) => void) {}

    /** Asks until there is an answer, or the errors have lasted. */
    public async until<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
        for (;;) {
            try {
                return this.answered(await ask());
            } catch (error) {
                this.bear(error);
                if (signal.aborted) {
                    throw error;
                }
                await setTimeout(pause);
            }
        }
    }

    /**
     * Asks once.
     *
     * @param otherwise what to say when it is known that no answer will be of use any more
     */
    public async once<T>(ask: () => Promise<T | undefined>, otherwise: () => T | undefined): Promise<T | undefined> {
        try {
            return this.answered(await ask());
        } catch (error) {
            const isNew = this.awaySince === undefined;
            const away = Date.now() - (this.awaySince ?? Date.now());
            const known = away > enough || !mayPass(error) ? otherwise() : undefined;
            if (known !== undefined) {
                return known;
            }
            this.bear(error);
            await setTimeout(isNew ? 0 : pause);
            return undefined;
        }
    }

    private answered<T>(answer: T): T {
        if (this.awaySince !== undefined) {
            this.awaySince = undefined;
            this.say("there it is again");
        }
        return answer;
    }

    /** @throws the error, if it cannot pass, or has not in all this time. */
    private bear(error: unknown): void {
        const lasts = error instanceof NotYetAllowed ? roleLimit : limit;
        if (!mayPass(error) || (this.awaySince !== undefined && Date.now() - this.awaySince > lasts)) {
            throw error;
        }
        if (this.awaySince === undefined) {
            this.awaySince = Date.now();
            const why = firstLineOf(error);
            this.say(
                error instanceof NotYetAllowed
                    ? `${why}: waiting`
                    : `${awayOf(error)} does not answer (${why}): trying again`,
            );
        }
    }
}

/** Whether trying again can help: nobody answered, the server said that it could not for now, or a role is not in effect yet. */
export function mayPass(error: unknown): boolean {
    if (error instanceof NotYetAllowed || isNotYetReady(error)) {
        return true;
    }
    if (error instanceof RestError) {
        const code = error.code ?? "";
        // Its code is the network's own, where there is one.
        return code === "REQUEST_SEND_ERROR" || networkCodes.has(code) || isServerError(error.statusCode);
    }
    const { code, cause } = error as { readonly code?: unknown; readonly cause?: unknown };
    return (
        (typeof code === "string" && networkCodes.has(code)) ||
        (typeof code === "number" && isServerError(code)) ||
        (cause !== undefined && cause !== error && mayPass(cause))
    );
}

/** What an API server answers, with 403, while it starts (the admission plugins of k8s.io/apiserver). */
export function isNotYetReady(error: unknown): boolean {
    return error instanceof Error && error.message.includes("not yet ready to handle request");
}

function isServerError(status: number | undefined): boolean {
    return status !== undefined && (status >= 500 || status === 429 || status === 408);
}

function awayOf(error: unknown): string {
    return error instanceof RestError ? "the store" : "the cluster";
}
