/**
 * The reason of a signal that ends a wait, and not its build: whoever waited was killed, and may come again. The build keeps
 * what it holds, as it does when a launcher of its own is killed.
 */
export const abandoned = Symbol("abandoned");

export function isAbandoned(signal: AbortSignal): boolean {
    return signal.aborted && signal.reason === abandoned;
}
