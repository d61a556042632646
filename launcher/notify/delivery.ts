import { setTimeout as sleep } from "node:timers/promises";

/** What came of one try at telling somebody. */
export type Answer =
    | { readonly kind: "told" }
    /** They need not be told, or must not be: nothing to trouble a person with. */
    | { readonly kind: "unwanted"; readonly reason: string }
    | {
          readonly kind: "failed";
          readonly reason: string;
          readonly retry: boolean;
          /** Milliseconds that the other side asked to be left alone for. */
          readonly after?: number;
      };

/** One try. It ends when the signal aborts, and is made anew for the next one. */
export type Try = (signal: AbortSignal) => Promise<Answer>;

/** Milliseconds. */
export interface Timing {
    /** For an answer. */
    readonly request: number;
    /** Before the second try; twice as much before each that follows. */
    readonly firstDelay: number;
    readonly longestDelay: number;
    /** The longest wait that the other side may ask for. */
    readonly longestRetryAfter: number;
}

export const usualTiming: Timing = {
    request: 5_000,
    firstDelay: 250,
    longestDelay: 30_000,
    longestRetryAfter: 60_000,
};

/**
 * Tries until it is told, is refused, or the signal aborts.
 *
 * @returns what the last try came to; never rejects
 */
export async function deliver(attempt: Try, timing: Timing, signal: AbortSignal): Promise<Answer> {
    let last: Answer = { kind: "failed", reason: "no answer in time", retry: true };
    for (let failures = 0; !signal.aborted; failures++) {
        const answer = await untilAborted(tried(attempt, timing, signal), signal);
        if (!answer) {
            break;
        }
        last = answer;
        if (answer.kind !== "failed" || !answer.retry) {
            break;
        }
        const delay = Math.max(backoff(failures, timing), Math.min(answer.after ?? 0, timing.longestRetryAfter));
        // Not a reason for the process to stay: `Notifier.close` is.
        await sleep(delay, undefined, { signal, ref: false }).catch(() => undefined);
    }
    return last;
}

/**
 * Milliseconds before the next try: between half and all of the delay, so that builds which failed together do not come back
 * together.
 */
export function backoff(failures: number, timing: Timing): number {
    return Math.min(timing.longestDelay, timing.firstDelay * 2 ** failures) * (0.5 + Math.random() / 2);
}

/** One try, with an end to it; never rejects. */
export async function tried(attempt: Try, timing: Timing, signal: AbortSignal): Promise<Answer> {
    const controller = new AbortController();
    const abort = () => controller.abort();
    signal.addEventListener("abort", abort, { once: true });
    const timer = setTimeout(abort, timing.request);
    timer.unref();
    const noAnswer: Answer = { kind: "failed", reason: `no answer in ${timing.request / 1000} s`, retry: true };
    try {
        return (await untilAborted(attempt(controller.signal), controller.signal)) ?? noAnswer;
    } catch (error) {
        return controller.signal.aborted ? noAnswer : { kind: "failed", reason: reasonOf(error), retry: true };
    } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        // Whatever is left of the request, such as a body that never ends.
        abort();
    }
}

/** The code of a system error is all that is said of it: a message may have the address, and that may be a secret. */
function reasonOf(error: unknown): string {
    const { code, errors, cause } = error as { code?: unknown; errors?: readonly unknown[]; cause?: unknown };
    if (typeof code === "string") {
        return code;
    }
    // One error for each address of the host; and what `fetch` says is in the cause.
    const inner = errors?.[0] ?? cause;
    return inner === undefined ? "the request failed" : reasonOf(inner);
}

/** The promise's value, or undefined when the signal aborts before there is one. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    let stop: () => void = () => undefined;
    const aborted = new Promise<undefined>((resolve) => {
        stop = () => resolve(undefined);
        signal.addEventListener("abort", stop, { once: true });
        if (signal.aborted) {
            stop();
        }
    });
    promise.catch(() => undefined);
    try {
        return await Promise.race([promise, aborted]);
    } finally {
        signal.removeEventListener("abort", stop);
    }
}
