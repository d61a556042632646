import * as fs from "node:fs";
import * as path from "node:path";

import type { BuildEvent, BuildRecord } from "../build";
import { isFinal } from "../build";
import type { BuildQueue } from "../queue";
import { Clone } from "./clone";
import type { WatchEvent } from "./events";
import type { WatchedRepository } from "./repository";
import { repositoryIdentity } from "./repository";
import { plain } from "./plain";
import { RepositoryWatch } from "./repositoryWatch";
import { watchCaller } from "./request";
import type { WatchState } from "./state";

export interface WatcherOptions {
    readonly repositories: readonly WatchedRepository[];
    readonly queue: BuildQueue;
    readonly state: WatchState;
    /** Where the clones are kept, below it. */
    readonly dataDirectory: string;
    /** Seconds between two looks; `defaultInterval` where it is left out. */
    readonly interval?: number;
    /** Whether each branch has a namespace of its own; otherwise the queue says where builds run. */
    readonly ownNamespaces: boolean;
    readonly tell: (event: WatchEvent) => void;
}

/** A look at a local repository costs some milliseconds; a remote's server has more to do than to answer us. */
const intervals = { local: 5, remote: 60 } as const;

/** Watches repositories, each on its own, and tells what becomes of the builds that come of it. */
export class Watcher {
    private readonly watches: readonly RepositoryWatch[];
    private readonly stopping = new AbortController();
    private running: Promise<unknown> = Promise.resolve();
    /** Builds whose ends are to be told: those of this watcher, also from before. */
    private readonly ended = new Map<string, BuildRecord>();

    public constructor(private readonly options: WatcherOptions) {
        const { repositories, queue, state, dataDirectory, ownNamespaces, tell } = options;
        this.watches = repositories.map((repository) => {
            const clone = new Clone(path.join(dataDirectory, "watch"), repository);
            const interval = options.interval ?? (repository.local ? intervals.local : intervals.remote);
            tell({
                ...{ repository: repository.address, name: repository.name, event: "watching", interval },
                branches: repository.patterns.map(({ text }) => text),
            });
            return new RepositoryWatch({ repository, queue, state, clone, interval, ownNamespaces, tell });
        });
        queue.on("event", this.onEvent);
    }

    /** Looks at all of them again and again, until `stop`; fails where git cannot be run at all. */
    public async start(): Promise<void> {
        const { signal } = this.stopping;
        this.running = Promise.all([
            ...this.watches.map(async (watch) => watch.run(signal)),
            // Also where there is nothing to look at.
            new Promise((resolve) => signal.addEventListener("abort", resolve)),
        ]);
        await this.running;
    }

    /** Looks once at all of them, waits for what is built then, and says how all of that ended. */
    public async once(): Promise<{ readonly builds: readonly BuildRecord[]; readonly problems: readonly string[] }> {
        const { queue } = this.options;
        await Promise.all(this.watches.map(async (watch) => watch.look(this.stopping.signal)));
        await queue.idle();
        return {
            builds: [...this.ended.values()],
            problems: this.watches.flatMap(({ repository, problem }) =>
                problem === undefined ? [] : [`${repository.name}: ${problem}`],
            ),
        };
    }

    /** Looks no more. The queue goes on: it is stopped by itself. */
    public async stop(): Promise<void> {
        this.stopping.abort();
        await this.running.catch(() => undefined);
        this.options.queue.off("event", this.onEvent);
    }

    /** The watched repository that an address of it stands for, however that is written. */
    public find(address: string): WatchedRepository | undefined {
        const identity = repositoryIdentity(address);
        const named = this.watches.find(
            ({ repository }) => !repository.local && repositoryIdentity(repository.address) === identity,
        );
        return identity === undefined ? undefined : named?.repository;
    }

    /** Looks at it now. */
    public wake(repository: WatchedRepository, delivery: string): void {
        const { address, name } = repository;
        this.options.tell({ repository: address, name, event: "webhook", delivery });
        this.watches.find((watch) => watch.repository === repository)?.wake();
    }

    private readonly onEvent = ({ build: id, type }: BuildEvent): void => {
        const build = ["started", "ended", "destroyed"].includes(type) ? this.options.queue.get(id) : undefined;
        const watch = this.watches.find(({ repository }) => repository.address === build?.request.source);
        if (build?.caller !== watchCaller || watch === undefined) {
            return;
        }
        const { labels } = build.request;
        const place = {
            repository: watch.repository.address,
            name: watch.repository.name,
            branch: labels["branch"] ?? `tags/${labels["tag"] ?? ""}`,
            commit: labels["sha"] ?? "",
            build: id,
        };
        if (type === "destroyed") {
            // Its working copy: git has it, and nobody is to wonder after a year where the disk has gone.
            const copy = path.join(this.options.dataDirectory, "builds", id, "source");
            fs.rm(copy, { recursive: true, force: true }, () => undefined);
        } else if (type === "started") {
            // After the commit that it is for, which is told when the queue has taken it.
            queueMicrotask(() => this.options.tell({ ...place, event: "started" }));
        } else if (isFinal(build.state) && build.startedAt !== undefined) {
            this.ended.set(id, build);
            this.options.tell({ ...place, event: "ended", ...endOf(build) });
        }
    };
}

/** What is to be said of a build's end. */
function endOf(build: BuildRecord) {
    const { state, outcome, message, buildTag, request, stack, namespace, outputs } = build;
    const artifacts = outputs?.["artifacts"];
    const isKept = state === "failed" && request.keepFailed === true;
    return {
        state,
        seconds: (Date.parse(build.endedAt ?? "") - Date.parse(build.startedAt ?? "")) / 1000,
        artifacts: Array.isArray(artifacts) ? artifacts.length : 0,
        ...(buildTag === undefined ? {} : { buildTag }),
        ...(outcome === undefined ? {} : { outcome }),
        ...(message === undefined ? {} : { message: plain(message) }),
        ...(isKept ? { kept: namespace ?? stack } : {}),
    };
}
