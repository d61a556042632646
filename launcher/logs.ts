import { UserError } from "../contract/errors";
import { LogFollower } from "./logFollower";
import type { BuildStore } from "./store";

export interface ShowLogOptions {
    /** Go on until the build ends. */
    readonly follow: boolean;
    /** Byte to begin at. */
    readonly offset: number;
    /** Milliseconds between two looks at the store. */
    readonly pollInterval: number;
    /** Milliseconds to wait for a build that has not begun, when following. */
    readonly startLimit: number;
}

/**
 * Writes the log of a build's last attempt, byte for byte.
 *
 * @throws UserError when there is no such build.
 */
export async function showLog(
    store: BuildStore,
    buildTag: string,
    options: ShowLogOptions,
    onBytes: (bytes: Buffer) => void,
    signal: AbortSignal,
): Promise<{ readonly offset: number }> {
    const begun = Date.now();
    let attempt = (await store.attempts(buildTag)).at(-1);
    while (!attempt?.started) {
        if (!options.follow || Date.now() - begun > options.startLimit || signal.aborted) {
            throw new UserError(`there is no log of ${buildTag}; \`ke1 builds\` lists what there is`);
        }
        await new Promise((resolve) => setTimeout(resolve, options.pollInterval));
        attempt = (await store.attempts(buildTag)).at(-1);
    }
    const follower = new LogFollower(store, `${buildTag}/${attempt.started.log}`, options.offset);
    for (;;) {
        // Asked for first: what is in the log when the build has finished is all there will be.
        const finished = await store.finished(buildTag, attempt.attempt);
        await follower.drain(onBytes);
        if (finished || !options.follow || signal.aborted) {
            return { offset: follower.offset };
        }
        await new Promise((resolve) => setTimeout(resolve, options.pollInterval));
    }
}
