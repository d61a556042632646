import { setTimeout as sleep } from "node:timers/promises";

/** Asked anew after each wait, of which a property's type knows nothing. */
export function isAborted(signal: AbortSignal): boolean {
    return signal.aborted;
}

/** Waits, or does not when the signal aborts. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
}
