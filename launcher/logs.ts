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
    /** Which log, by the name that `listLogs` gives it; by default that of the build's output. */
    readonly file?: string;
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
    const file = options.file ?? outputLog;
    let { offset } = options;
    let found = file === outputLog;
    for (;;) {
        // Asked for first: what is in the log when the build has finished is all there will be.
        const finished = await store.finished(key, attempt.number);
        // Where an init container failed, there is no log of the build.
        const output = options.container === undefined ? (finished?.log?.name ?? attempt.log) : attempt.log;
        const log = file === outputLog ? `${key}/${output}` : layout.logFile(key, attempt.log, file);
        let bytes: Buffer | undefined;
        do {
            bytes = signal.aborted ? undefined : await store.bytes(log, offset, readLimit);
            found ||= bytes !== undefined;
            if (bytes && bytes.length > 0) {
                await onBytes(bytes);
                offset += bytes.length;
            }
        } while (bytes?.length === readLimit);
        if (!found && (finished || !options.follow)) {
            throw new UserError(
                `${nameOfKey(key)} has no log ${file}; \`ke1 logs ${nameOfKey(key)} --list\` shows which there are`,
            );
        }
        if (finished || !options.follow || !(await pause(options.pollInterval, signal))) {
            return { offset };
        }
    }
}

/** What the log of the build's output is called beside the others. */
export const outputLog = "output";

/** The logs of a build's last attempt, that of its output first, and their sizes in bytes. */
export async function listLogs(
    store: BuildStore,
    key: BuildKey,
): Promise<readonly { readonly name: string; readonly size: number }[]> {
    const attempt = await lastAttempt(store, key, undefined);
    if (!attempt) {
        throw new UserError(`there is no log of ${nameOfKey(key)}; \`ke1 builds\` lists what there is`);
    }
    const prefix = layout.logFilesPrefix(key, attempt.log);
    const [output] = await store.sizes(`${key}/${attempt.log}`);
    const files = await store.sizes(prefix);
    return [
        { name: outputLog, size: output?.size ?? 0 },
        ...files.map(({ name, size }) => ({ name: name.slice(prefix.length), size })),
    ];
}

/** A number may be taken by an attempt that could not say anything: that one has no log. */
async function lastAttempt(
    store: BuildStore,
    key: BuildKey,
    container: string | undefined,
): Promise<{ readonly number: number; readonly log: string } | undefined> {
    const begun = async () => (await store.attempts(key)).findLast(({ started }) => started !== undefined);
    let last = await begun();
    if (!last?.started) {
        const kept = (await store.names(layout.logsPrefix(key))).at(-1);
        if (kept === undefined) {
            return undefined;
        }
        // An attempt that began in between has said so before there was a log of it.
        last = await begun();
        if (!last?.started) {
            // An init container was killed before there was an exporter.
            return { number: 0, log: kept.slice(key.length + 1) };
        }
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
