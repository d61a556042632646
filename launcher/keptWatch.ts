import { setTimeout } from "node:timers/promises";

import type { KubeConfig } from "@kubernetes/client-node";
import { Watch } from "@kubernetes/client-node";

import { isNotYetReady } from "./patience";

/** What goes with each connection of a watch that is made again and again. */
export interface Connection {
    /** @returns more of the query */
    readonly begin: () => Promise<Record<string, string | undefined>>;
    readonly onBreak: () => void;
}

type Beginning = { readonly query: Record<string, string | undefined> } | { readonly failure: unknown };

async function beginningOf(connection: Connection | undefined): Promise<Beginning> {
    try {
        return { query: (await connection?.begin()) ?? {} };
    } catch (failure) {
        return { failure };
    }
}

/**
 * Watches until the signal aborts. A connection that breaks is made again.
 *
 * @throws Error when the server refuses, for example for want of a permission.
 */
export async function keepWatching(
    config: KubeConfig,
    path: string,
    query: Record<string, string>,
    onEvent: (type: string, object: unknown) => void,
    signal: AbortSignal,
    connection?: Connection,
): Promise<void> {
    const watch = new Watch(config);
    for (let failures = 0; !signal.aborted;) {
        const started = Date.now();
        const begun = await beginningOf(connection);
        // Without a resourceVersion a watch begins with one ADDED for each object there is.
        const failure = await new Promise<unknown>((resolve) => {
            if ("failure" in begun) {
                resolve(begun.failure);
                return;
            }
            let controller: AbortController | undefined;
            const abort = () => {
                controller?.abort();
                resolve(undefined);
            };
            signal.addEventListener("abort", abort, { once: true });
            watch
                .watch(
                    path,
                    { ...query, ...begun.query },
                    (type, object: unknown) => {
                        if (type !== "BOOKMARK" && type !== "ERROR") {
                            onEvent(type, object);
                        }
                    },
                    (error: unknown) => {
                        signal.removeEventListener("abort", abort);
                        resolve(error ?? undefined);
                    },
                )
                .then((made) => {
                    controller = made;
                    if (signal.aborted) {
                        made.abort();
                    }
                }, resolve);
        });
        connection?.onBreak();
        if (!isNotYetReady(failure) && /\b40[13]\b|forbidden|unauthorized/i.test(String(failure))) {
            throw failure instanceof Error ? failure : new Error(String(failure));
        }
        // The API server may be restarting: be patient, and tell nobody for the first minute.
        failures = Date.now() - started > 10_000 ? 0 : failures + 1;
        if (failures > 40) {
            throw new Error(`the API server cannot be reached: ${String(failure)}`);
        }
        await pause(Math.min(2000, 50 * 2 ** failures), signal);
    }
}

/** Waits, but not beyond the signal. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    await setTimeout(milliseconds, undefined, { signal }).catch(() => undefined);
}
