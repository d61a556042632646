import { setTimeout as sleep } from "node:timers/promises";

import { AgentApiError } from "./agentApi";

/** How often, and after how many milliseconds, something is asked for again. */
export interface Patience {
    readonly tries: number;
    readonly delay: (failures: number) => number;
}

const every = (delay: number, tries: number): Patience => ({ tries, delay: () => delay });
const growing = (first: number, factor: number, tries: number): Patience => ({
    tries,
    delay: (failures) => first * factor ** failures * (0.8 + Math.random() * 0.4),
});

/** As patient as the agent is, with each of its requests (core/client.go, agent/agent_worker.go). */
export const patience = {
    register: every(10_000, 30),
    connect: every(5_000, 10),
    heartbeat: every(5_000, 10),
    accept: every(5_000, 30),
    start: growing(2_000, 2, 7),
    /** Ten minutes in all: a log is worth waiting for. */
    upload: growing(2_000, 1.6, 12),
    finish: growing(2_000, 1.6, 12),
    disconnect: every(1_000, 4),
    /** What a job can do without. */
    extra: growing(1_000, 2, 4),
} as const;

/** Told of each failure that is not the last. */
export type OnFailure = (message: string) => void;

/**
 * Tries until it succeeds, the server refuses, the patience is at its end, or the signal aborts.
 *
 * @throws AgentApiError the last one
 */
export async function persistently<T>(
    attempt: () => Promise<T>,
    { tries, delay }: Patience,
    onFailure: OnFailure,
    signal?: AbortSignal,
): Promise<T> {
    for (let failures = 0; ; failures++) {
        try {
            return await attempt();
        } catch (error) {
            if (!(error instanceof AgentApiError) || !error.retryable || failures + 1 >= tries || signal?.aborted) {
                throw error;
            }
            const wait = Math.max(delay(failures), Math.min(error.retryAfter ?? 0, 60) * 1000);
            onFailure(`${error.message}; trying again in ${(wait / 1000).toFixed(1)} s`);
            await sleep(wait, undefined, { signal }).catch(() => {
                throw error;
            });
        }
    }
}
