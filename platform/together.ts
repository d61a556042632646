/**
 * Runs actions beside each other. The first to fail has the others end, and is told when they have: what they work on is
 * then nobody's any more.
 * @param signal ends them all
 */
export async function allOrNone(
    signal: AbortSignal | undefined,
    actions: readonly ((ended: AbortSignal) => Promise<void>)[],
): Promise<void> {
    const failed = new AbortController();
    const ended = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
    await Promise.allSettled(
        actions.map(async (action) => {
            try {
                await action(ended);
            } catch (error) {
                failed.abort(error);
            }
        }),
    );
    signal?.throwIfAborted();
    failed.signal.throwIfAborted();
}
