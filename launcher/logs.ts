import { setTimeout as sleep } from "node:timers/promises";

import { UserError } from "../contract/errors";
import type { BuildKey } from "../contract/layout";
import { layout, nameOfKey } from "../contract/layout";
import type { BuildStore } from "./store";

/** At most this much of a log is read at once, in bytes. */
const readLimit = 4 * 1024 * 1024;

export interface ShowLogOptions {
    /** Go on until the build ends. */
    readonly follow: boolean;
    /** An init container or a sidecar; the build itself, or the init container that failed, if absent. */
    readonly container?: string;
    /** Byte to begin at. */
    readonly offset: number;
    /** Milliseconds between two looks at the store. */
    readonly pollInterval: number;
    /** Milliseconds to wait for a build that has not begun, when following. */
    readonly startLimit: number;
}

/**
 * Passes on the log of a build's last attempt, byte for byte.
 *
 * @param onBytes is waited for, so that no more of the log is in memory than its reader has taken
 * @returns the byte to go on at; all before it were passed on
 * @throws UserError when there is no such build.
 */
export async function showLog(
    store: BuildStore,
    key: BuildKey,
    options: ShowLogOptions,
    onBytes: (bytes: Buffer) => Promise<void> | void,
    signal: AbortSignal,
): Promise<{ readonly offset: number }> {
    const begun = Date.now();
    let attempt = await lastAttempt(store, key, options.container);
    while (!attempt) {
        if (!options.follow || Date.now() - begun > options.startLimit) {
            throw new UserError(`there is no log of ${nameOfKey(key)}; \`ke1 builds\` lists what there is`);
        }
        if (!(await pause(options.pollInterval, signal))) {
            return { offset: options.offset };
        }
        attempt = await lastAttempt(store, key, options.container);
    }
    let { offset } = options;
    for (;;) {
        // Asked for first: what is in the log when the build has finished is all there will be.
        const finished = await store.finished(key, attempt.number);
        // An init container failed, and so there is no log of the build.
        const log = options.container === undefined ? (finished?.log?.name ?? attempt.log) : attempt.log;
        let bytes: Buffer | undefined;
        do {
            bytes = signal.aborted ? undefined : await store.bytes(`${key}/${log}`, offset, readLimit);
            if (bytes && bytes.length > 0) {
                await onBytes(bytes);
                offset += bytes.length;
            }
        } while (bytes?.length === readLimit);
        if (finished || !options.follow || !(await pause(options.pollInterval, signal))) {
            return { offset };
        }
    }
}

/** A number may be taken by an attempt that could not say anything: that one has no log. */
async function lastAttempt(
    store: BuildStore,
    key: BuildKey,
    container: string | undefined,
): Promise<{ readonly number: number; readonly log: string } | undefined> {
    const last = (await store.attempts(key)).findLast(({ started }) => started !== undefined);
    if (!last?.started) {
        // An init container was killed before there was an exporter.
        const kept = (await store.names(layout.logsPrefix(key))).at(-1);
        return kept === undefined ? undefined : { number: 0, log: kept.slice(key.length + 1) };
    }
    if (container === undefined) {
        return { number: last.attempt, log: last.started.log };
    }
    const companions = last.started.companions ?? [];
    const found = companions.find(({ name }) => name === container);
    if (!found) {
        const those = companions.length > 0 ? companions.map(({ name }) => name).join(", ") : "none";
        throw new UserError(`${nameOfKey(key)} has no init container or sidecar ${container}; it has ${those}`);
    }
    return { number: last.attempt, log: found.log };
}

/** @returns whether to go on */
async function pause(milliseconds: number, signal: AbortSignal): Promise<boolean> {
    await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
    return !signal.aborted;
}
