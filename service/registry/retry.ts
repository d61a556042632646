import { setTimeout as sleep } from "node:timers/promises";

import { HttpError } from "./errors";

/** How often, and after how long, what may pass is tried again. */
export interface RetryPolicy {
    readonly tries: number;
    /** Milliseconds before the second try; doubled for each that follows. */
    readonly delay: number;
    /** A server that wants to be left alone for longer is not waited for, in milliseconds. */
    readonly longest: number;
}

export const defaultRetries: RetryPolicy = { tries: 5, delay: 500, longest: 60_000 };

/** Whether a second try may go better: no answer, a server's own failure, too many requests. */
export function mayPass(error: unknown): boolean {
    if (error instanceof HttpError) {
        return error.status === 408 || error.status === 429 || error.status >= 500 || error.retryAfter !== undefined;
    }
    // What `fetch` throws where there is no answer: a TypeError with the system's error as its cause.
    return error instanceof TypeError && error.cause !== undefined;
}

/** Does something until it goes well, or fails for good. */
export async function withRetries<T>(
    work: () => Promise<T>,
    policy: RetryPolicy = defaultRetries,
    signal?: AbortSignal,
): Promise<T> {
    for (let attempt = 1; ; attempt++) {
        try {
            return await work();
        } catch (error) {
            const asked = error instanceof HttpError ? error.retryAfter : undefined;
            const own = policy.delay * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
            const wait = Math.max(asked ?? 0, own);
            if (
                attempt >= policy.tries ||
                !mayPass(error) ||
                (asked ?? 0) > policy.longest ||
                signal?.aborted === true
            ) {
                throw error;
            }
            await sleep(Math.min(wait, policy.longest), undefined, signal ? { signal } : {});
        }
    }
}
