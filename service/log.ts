import * as fs from "node:fs";

import { buildKey } from "../contract/layout";
import type { BuildStore } from "../launcher/store";
import type { BuildRecord } from "./build";

/** At most this much of a log in one answer, in bytes; its end says where to go on. */
export const logLimit = 8 * 1024 * 1024;

/**
 * The blob of the log of a build's newest attempt; undefined while there is none.
 *
 * A tag that was built before has attempts of then: they are this build's too, as its outcome is `AlreadyBuilt`.
 */
export async function attemptLogPath(store: BuildStore, { buildTag }: BuildRecord): Promise<string | undefined> {
    if (buildTag === undefined) {
        return undefined;
    }
    const key = buildKey(buildTag);
    const attempts = await store.attempts(key).catch((error: unknown) => {
        // The store's container is made by the first build.
        if ((error as { readonly statusCode?: number }).statusCode === 404) {
            return [];
        }
        throw error;
    });
    const newest = attempts.findLast(({ started }) => started !== undefined);
    return newest?.started && `${key}/${newest.started.log}`;
}

/**
 * What a build's launcher has printed from a byte on: the log of an image that is all there is to be built, and of a pipeline.
 *
 * @param limit at most this much, in bytes
 */
export function launcherLog(file: string, offset: number, limit = logLimit): Buffer {
    if (!fs.existsSync(file)) {
        return Buffer.alloc(0);
    }
    const descriptor = fs.openSync(file, "r");
    try {
        const bytes = Buffer.alloc(Math.min(limit, Math.max(0, fs.fstatSync(descriptor).size - offset)));
        return bytes.subarray(0, fs.readSync(descriptor, bytes, 0, bytes.length, offset));
    } finally {
        fs.closeSync(descriptor);
    }
}
