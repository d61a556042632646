import { messageOf } from "../../contract/errors";
import type { FindCredential } from "../registry/authorization";
import { RepositoryClient } from "../registry/client";
import { HttpError } from "../registry/errors";
import type { RetryPolicy } from "../registry/retry";
import type { Trigger } from "./definition";
import type { Sighting } from "./memory";
import { tagsToWatch } from "./policy";

/** Of a pattern that fits more tags than this, only the last of them are looked at, in the order of their names. */
const mostTags = 200;
/** How many digests are asked for at once. */
const parallelLooks = 4;
/** A registry that fails is asked again after at most this, in milliseconds. */
const longestPause = 3_600_000;
/** And after at least this, also where notifications alone are heeded otherwise. */
const shortestPause = 5_000;

export interface LookContext {
    readonly credentials: FindCredential;
    readonly retries: RetryPolicy;
    readonly signal: AbortSignal;
}

/**
 * Looks at a trigger's repository.
 *
 * @param current what was last built; empty before the first look
 * @param known digests of the last look, which a registry need not send again
 * @returns the digest of each tag that the policy watches, the most wanted last
 */
export async function look(
    trigger: Trigger,
    current: string,
    known: ReadonlyMap<string, string>,
    { credentials, retries, signal }: LookContext,
): Promise<readonly Sighting[]> {
    const client = new RepositoryClient(trigger.image, credentials, retries, signal);
    const { policy } = trigger;
    const all = policy.kind === "force" ? [] : await client.tags();
    const tags = [...tagsToWatch(policy, current || trigger.tag, all)].sort(byName).slice(-mostTags);
    const found = new Map<string, string>();
    const pending = [...tags];
    const work = async () => {
        for (let tag = pending.shift(); tag !== undefined; tag = pending.shift()) {
            const digest = await client.digestOf(tag, known.get(tag));
            if (digest !== undefined) {
                found.set(tag, digest);
            }
        }
    };
    await Promise.all(Array.from({ length: parallelLooks }, work));
    return tags.flatMap((tag) => {
        const digest = found.get(tag);
        return digest === undefined ? [] : [{ tag, digest }];
    });
}

/** `build-9` comes before `build-10`. */
const collator = new Intl.Collator("en", { numeric: true });
function byName(a: string, b: string): number {
    return collator.compare(a, b);
}

/** When a repository is looked at again: after failures less and less often. */
export class Pace {
    private failures = 0;
    private asked = 0;
    private words: string | undefined;

    public constructor(private readonly intervalSeconds: number) {}

    /** Why the last look failed; undefined after one that did not. */
    public get problem(): string | undefined {
        return this.words;
    }

    /** @returns whether it had failed before */
    public succeeded(): boolean {
        const had = this.failures > 0;
        [this.failures, this.asked, this.words] = [0, 0, undefined];
        return had;
    }

    /** @returns whether this is the first failure in a row, or of another kind than the last */
    public failed(error: unknown): boolean {
        const isNews = this.words !== messageOf(error);
        this.failures++;
        this.asked = error instanceof HttpError ? (error.retryAfter ?? 0) : 0;
        this.words = messageOf(error);
        return isNews;
    }

    /** Milliseconds until the next look; a little more or less, so that many triggers do not all look at once. */
    public next(): number {
        const interval = this.intervalSeconds * 1000;
        const first = this.failures > 0 ? Math.max(interval, shortestPause) : interval;
        const pause = Math.min(first * 2 ** Math.min(this.failures, 20), Math.max(interval, longestPause));
        return Math.max(this.asked, pause * (0.9 + Math.random() * 0.2));
    }
}
