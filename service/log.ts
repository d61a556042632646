import { buildKey } from "../contract/layout";
import type { BuildStore } from "../launcher/store";
import type { BuildRecord } from "./build";

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
