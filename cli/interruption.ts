/**
 * Aborted by the first SIGINT or SIGTERM; a second one ends the process at once. The embedded engine ends its commands with
 * SIGTERM when `ke1 up` is interrupted.
 */
export function interruption(): AbortSignal {
    const interrupted = new AbortController();
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
        process.once(signal, () => interrupted.abort());
    }
    return interrupted.signal;
}
