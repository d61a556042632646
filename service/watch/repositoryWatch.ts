import { setTimeout as sleep } from "node:timers/promises";

import { firstLineOf, UserError } from "../../contract/errors";
import type { BuildRecord } from "../build";
import { isFinal } from "../build";
import type { BuildQueue } from "../queue";
import type { Clone } from "./clone";
import type { WatchEvent } from "./events";
import { laneName } from "./names";
import { isBranch, shortRef } from "./patterns";
import { listRefs, type Refs, watchedRefs } from "./refs";
import type { WatchedRepository } from "./repository";
import { requestFor, watchCaller } from "./request";
import { plain } from "./plain";
import { cloneSecret } from "./source";
import type { KnownRef, WatchState } from "./state";

/** The longest between two looks at a repository that does not answer, in seconds. */
const longestBackoff = 600;
/** How soon to look again after a webhook whose commit was not there yet, in seconds, and how often. */
const eagerSeconds = 3;
const eagerLooks = 3;
/** What stands for all tags of a repository: they have one lane, and are built one after another. */
const allTags = "refs/tags";

export interface RepositoryWatchOptions {
    readonly repository: WatchedRepository;
    readonly queue: BuildQueue;
    readonly state: WatchState;
    readonly clone: Clone;
    /** Between two looks, in seconds. */
    readonly interval: number;
    readonly ownNamespaces: boolean;
    readonly tell: (event: WatchEvent) => void;
}

/** What of an event the watch adds itself. */
type Told = WatchEvent extends infer Each
    ? Each extends WatchEvent
        ? Omit<Each, "repository" | "name">
        : never
    : never;

/** Looks at one repository again and again, and has the queue build what is new on its branches. */
export class RepositoryWatch {
    private failures = 0;
    private eager = 0;
    private woken = false;
    private awaken: AbortController | undefined;
    private lastProblem: string | undefined;
    /** Which of its refs have been said to be known already. */
    private readonly said = new Set<string>();

    public constructor(private readonly options: RepositoryWatchOptions) {}

    public get repository(): WatchedRepository {
        return this.options.repository;
    }

    /** Looks until it is told to stop. */
    public async run(signal: AbortSignal): Promise<void> {
        while (!signal.aborted) {
            this.woken = false;
            const found = await this.look(signal);
            // Who was woken in the meantime looks again at once: what it was for may have come after the look.
            if (!this.wasWoken()) {
                this.eager = found > 0 ? 0 : this.eager;
                await this.pause(signal);
            }
        }
    }

    private wasWoken(): boolean {
        return this.woken;
    }

    /** Looks at once instead of after the interval: somebody says that there is something new. */
    public wake(): void {
        this.woken = true;
        this.eager = eagerLooks;
        this.awaken?.abort();
    }

    /**
     * Looks once.
     *
     * @returns how many builds were asked for
     * @throws UserError where git cannot be run at all
     */
    public async look(signal?: AbortSignal): Promise<number> {
        const { repository, state } = this.options;
        try {
            const refs = await listRefs(
                repository.address,
                repository.patterns,
                state.known(repository.address).map(({ ref }) => ref),
                { directory: "/", ...(signal ? { signal } : {}) },
            );
            const built = await this.reconcile(refs, signal);
            if (this.failures > 0) {
                this.tell({ event: "reachable" });
            }
            this.failures = 0;
            return built;
        } catch (error) {
            if (error instanceof UserError) {
                throw error;
            }
            if (signal?.aborted !== true) {
                this.failures++;
                if (this.failures === 1) {
                    this.tell({ event: "unreachable", problem: firstLineOf(error) });
                }
            }
            return 0;
        }
    }

    /** Whether the last look found the repository in order. */
    public get problem(): string | undefined {
        return this.failures > 0 ? "it does not answer" : this.lastProblem;
    }

    private async reconcile(refs: Refs, signal?: AbortSignal): Promise<number> {
        const { repository, state, clone } = this.options;
        const known = new Map(state.known(repository.address).map((each) => [each.ref, each]));
        const watched = watchedRefs(refs, repository.patterns);
        this.sayWhatIsMissing(refs, watched);
        for (const gone of [...known.values()].filter(({ ref }) => isBranch(ref) && !refs.commits.has(ref))) {
            await this.leave(gone);
        }
        const old = this.tagsFromBefore(watched);
        for (const ref of old.filter((each) => !known.has(each))) {
            state.remember({ ...this.place(ref), commit: refs.commits.get(ref) ?? "" });
        }
        const fresh = watched.filter((ref) => {
            const commit = refs.commits.get(ref);
            return commit !== known.get(ref)?.commit && !(old.includes(ref) && !known.has(ref));
        });
        watched.filter((ref) => !fresh.includes(ref)).forEach((ref) => this.sayKnown(known.get(ref)));
        await clone.fetch(fresh, signal);
        let built = 0;
        for (const ref of fresh) {
            // What was fetched may be newer than what was listed.
            built += (await this.launch(ref, await clone.commitOf(ref), known.get(ref))) ? 1 : 0;
        }
        return built;
    }

    /**
     * Has the queue build one commit; what waits for its turn on the same branch gives way to it.
     *
     * @returns whether there is a build more
     */
    private async launch(ref: string, commit: string, before: KnownRef | undefined): Promise<boolean> {
        const { repository, queue, state, clone, ownNamespaces } = this.options;
        if (commit === before?.commit) {
            return false;
        }
        const place = this.place(ref);
        const branch = shortRef(ref);
        const progress = before === undefined ? undefined : await this.progress(before.commit, commit);
        // Asked for by a watcher that was killed before it could remember, or the branch is back where it was.
        const underWay = this.builds(place.lane).find(
            ({ state: is, request }) => !isFinal(is) && request.labels["sha"] === commit,
        );
        const skipped = [...(progress?.skipped ?? [])];
        const waiting = isBranch(ref) ? this.builds(place.lane).filter((build) => build.state === "queued") : [];
        for (const { id, request } of waiting.filter((build) => build.id !== underWay?.id)) {
            queue.cancel(id, `the newer commit ${commit.slice(0, 12)}`);
            skipped.unshift(request.labels["sha"] ?? id);
        }
        if (skipped.length > 0) {
            this.tell({ event: "skipped", branch, commits: [...new Set(skipped)], for: commit });
        }
        if (underWay !== undefined) {
            state.remember({ ...place, commit, build: underWay.id });
            return false;
        }
        const subject = plain(await clone.subject(commit));
        const request = requestFor(repository, { ref, commit, lane: place.lane, ownNamespace: ownNamespaces });
        const { id } = queue.submit(request, watchCaller, cloneSecret(repository, clone, commit));
        state.remember({ ...place, commit, build: id });
        this.said.add(ref);
        const rewritten = progress?.rewritten ?? false;
        this.tell({ event: "commit", branch, commit, subject, build: id, lane: place.lane, rewritten });
        return true;
    }

    /** The lane's builds that are a watcher's: somebody else may have named the lane. */
    private builds(lane: string): readonly BuildRecord[] {
        return this.options.queue.list({ lane }).filter(({ caller }) => caller === watchCaller);
    }

    private async progress(from: string, to: string) {
        const { clone } = this.options;
        return (await clone.hasCommit(from)) ? clone.progress(from, to) : { skipped: [], rewritten: true };
    }

    /**
     * Ends what there is of a branch that is gone. It takes more than one look: a build that runs ends in order first, and
     * its stack goes with it.
     */
    private async leave({ repository, ref, lane }: KnownRef): Promise<void> {
        const { queue, state } = this.options;
        const builds = this.builds(lane);
        const live = builds.filter((build) => !isFinal(build.state));
        for (const { id } of live) {
            queue.cancel(id, `the end of the branch ${shortRef(ref)}`);
        }
        for (const { id } of builds.filter((build) => isFinal(build.state) && build.kept && build.request.keepFailed)) {
            await queue.remove(id);
        }
        if (!this.builds(lane).some((build) => !isFinal(build.state) || build.kept)) {
            state.forget(repository, ref);
            this.said.delete(ref);
            this.tell({ event: "gone", branch: shortRef(ref), lane });
        }
    }

    /** Tags that a glob matches and that were there when it was first looked at: releases of years are not built anew. */
    private tagsFromBefore(watched: readonly string[]): readonly string[] {
        const { repository, state } = this.options;
        return repository.patterns
            .filter(({ kind, ref }) => kind === "tag" && ref === undefined)
            .filter(({ text }) => state.note(`tags ${repository.address} ${text}`, new Date().toISOString()))
            .flatMap(({ matches }) => watched.filter(matches));
    }

    private sayWhatIsMissing(refs: Refs, watched: readonly string[]): void {
        const { repository } = this.options;
        const missing = repository.patterns.filter(
            ({ kind, ref, matches }) => ref !== undefined && kind !== "default" && !watched.some(matches),
        );
        const problem =
            missing[0] !== undefined
                ? `there is no ${missing.map(({ kind, text }) => `${kind === "tag" ? "" : "branch "}${text}`).join(", ")} yet`
                : refs.head === undefined && repository.patterns.some(({ kind }) => kind === "default")
                  ? "its HEAD is on no branch with a commit; name a branch, as in REPO^main"
                  : undefined;
        if (problem !== undefined && problem !== this.lastProblem) {
            this.tell({ event: "nothing", problem });
        }
        this.lastProblem = problem;
    }

    private sayKnown(known: KnownRef | undefined): void {
        if (known === undefined || this.said.has(known.ref)) {
            return;
        }
        this.said.add(known.ref);
        if (known.build !== undefined) {
            const build = this.options.queue.get(known.build);
            const more = build === undefined ? {} : { build: build.id, state: build.state };
            this.tell({ event: "known", branch: shortRef(known.ref), commit: known.commit, ...more });
        }
    }

    private place(ref: string): Pick<KnownRef, "repository" | "ref" | "lane"> {
        const { repository, state } = this.options;
        const lane = laneName(state.owner, repository.address, isBranch(ref) ? ref : allTags);
        return { repository: repository.address, ref, lane };
    }

    private async pause(signal: AbortSignal): Promise<void> {
        const { interval } = this.options;
        const backoff = Math.min(longestBackoff, interval * 2 ** Math.min(this.failures, 10));
        // Not all at the same moment, where one server has many of them.
        let seconds = this.failures > 0 ? Math.max(interval, backoff) * (0.8 + Math.random() * 0.4) : interval;
        if (this.eager > 0) {
            this.eager--;
            seconds = Math.min(seconds, eagerSeconds);
        }
        this.awaken = new AbortController();
        await sleep(seconds * 1000, undefined, { signal: AbortSignal.any([signal, this.awaken.signal]) }).catch(
            () => undefined,
        );
        this.awaken = undefined;
    }

    private tell(event: Told): void {
        const { address, name } = this.repository;
        this.options.tell({ repository: address, name, ...event });
    }
}
