import { setTimeout as sleep } from "node:timers/promises";

import type { V1Job, V1ObjectMeta, V1Pod } from "@kubernetes/client-node";

import type { BuildChange, BuildState } from "./cluster";
import { createdAt, jobEnd, phaseOf } from "./podStatus";

/** A collection of the API server's, listed and watched: https://kubernetes.io/docs/reference/using-api/api-concepts/. */
export interface Collection<T> {
    /** What there is, and the version from which a watch goes on. */
    readonly list: () => Promise<{ readonly items: readonly T[]; readonly version: string | undefined }>;
    /** Calls `begin` before each connection, and then back for each change, until the signal aborts. */
    readonly watch: (
        begin: () => Promise<string | undefined>,
        onEvent: (type: string, object: T) => void,
        onBreak: () => void,
        signal: AbortSignal,
    ) => Promise<void>;
}

/** The longest that a build waits for the first list, in milliseconds, before it asks for itself. */
const firstListLimit = 2000;

interface Known {
    job: V1Job | undefined;
    readonly pods: Map<string, V1Pod>;
    readonly followers: Set<(change: BuildChange) => void>;
}

/**
 * The Jobs and pods of all builds in one namespace, by one watch of each: however many builds there are, the API server is
 * asked no more. What was deleted while a connection was broken is told with the next list.
 */
export class NamespaceWatch {
    private readonly known = new Map<string, Known>();
    private readonly current = { job: false, pod: false };
    private readonly stop = new AbortController();
    private readonly firstList: Promise<void>;
    private wasListed = false;
    private listed: () => void = () => undefined;
    /** Rejects when the server refuses; never resolves before the watch is closed. */
    public readonly ended: Promise<void>;

    public constructor(jobs: Collection<V1Job>, pods: Collection<V1Pod>) {
        this.firstList = new Promise((resolve) => (this.listed = resolve));
        this.ended = Promise.all([this.keep("job", jobs), this.keep("pod", pods)]).then(() => undefined);
        this.ended.catch(() => this.close());
    }

    public get followers(): number {
        return [...this.known.values()].reduce((sum, { followers }) => sum + followers.size, 0);
    }

    /** Those of all builds. */
    public get pods(): readonly V1Pod[] {
        return [...this.known.values()].flatMap(({ pods }) => [...pods.values()]);
    }

    public close(): void {
        this.stop.abort();
    }

    /** A build as it is known; undefined where the API server has to be asked. */
    public async state(job: string): Promise<BuildState | undefined> {
        if (!this.wasListed) {
            const limit = sleep(firstListLimit, undefined, { ref: false });
            await Promise.race([this.firstList, this.ended.catch(() => undefined), limit]);
        }
        const known = this.known.get(job);
        return this.isCurrent && known?.job ? { job: known.job, pods: podsOf(known) } : undefined;
    }

    /** Calls back with the Job and its pods as they are, and whenever one changes, until the signal aborts. */
    public async follow(job: string, onChange: (change: BuildChange) => void, signal: AbortSignal): Promise<void> {
        const known = this.of(job);
        known.followers.add(onChange);
        if (known.job) {
            onChange({ kind: "job", deleted: false, job: known.job });
        }
        podsOf(known).forEach((pod) => onChange({ kind: "pod", deleted: false, pod }));
        let done: () => void = () => undefined;
        const over = new Promise<void>((resolve) => (done = resolve));
        signal.addEventListener("abort", done, { once: true });
        try {
            await (signal.aborted ? undefined : Promise.race([over, this.ended]));
        } finally {
            signal.removeEventListener("abort", done);
            known.followers.delete(onChange);
            this.forget(job, known);
        }
    }

    private get isCurrent(): boolean {
        return this.current.job && this.current.pod;
    }

    private async keep<K extends "job" | "pod", T extends (K extends "job" ? V1Job : V1Pod)>(
        kind: K,
        collection: Collection<T>,
    ): Promise<void> {
        const begin = async () => {
            const { items, version } = await collection.list();
            const there = new Set(items.map(({ metadata }) => metadata?.uid));
            for (const known of this.known.values()) {
                const had = kind === "job" ? [known.job] : [...known.pods.values()];
                had.filter((each) => each !== undefined)
                    .filter(({ metadata }) => !there.has(metadata?.uid))
                    .forEach((gone) => this.take(kind, gone, true));
            }
            items.forEach((item) => this.take(kind, item, false));
            this.current[kind] = true;
            if (this.isCurrent) {
                this.wasListed = true;
                this.listed();
            }
            return version;
        };
        const onBreak = () => {
            this.current[kind] = false;
        };
        const onEvent = (type: string, object: T) => this.take(kind, object, type === "DELETED");
        await collection.watch(begin, onEvent, onBreak, this.stop.signal);
    }

    private take(kind: "job" | "pod", object: V1Job | V1Pod, deleted: boolean): void {
        const { metadata } = object;
        const name = kind === "job" ? metadata?.name : metadata?.labels?.["batch.kubernetes.io/job-name"];
        if (name === undefined) {
            return;
        }
        strip(metadata);
        const known = this.of(name);
        if (kind === "job") {
            known.job = deleted ? undefined : (object as V1Job);
        } else if (deleted) {
            known.pods.delete(metadata?.uid ?? "");
        } else {
            known.pods.set(metadata?.uid ?? "", object as V1Pod);
        }
        const change: BuildChange =
            kind === "job" ? { kind, deleted, job: object as V1Job } : { kind: "pod", deleted, pod: object as V1Pod };
        [...known.followers].forEach((tell) => tell(change));
        this.forget(name, known);
    }

    private of(job: string): Known {
        const known = this.known.get(job) ?? { job: undefined, pods: new Map<string, V1Pod>(), followers: new Set() };
        this.known.set(job, known);
        return known;
    }

    /** What has ended, and nobody follows, is not kept: whoever comes for it asks for itself. */
    private forget(name: string, known: Known): void {
        const isOver = known.job
            ? jobEnd(known.job) !== undefined
            : [...known.pods.values()].every((pod) => phaseOf(pod).name === "ended");
        if (known.followers.size === 0 && isOver) {
            this.known.delete(name);
        }
    }
}

function podsOf({ pods }: Known): readonly V1Pod[] {
    return [...pods.values()].sort((a, b) => createdAt(a) - createdAt(b));
}

/** Who has set which field is half of an object, and of no use here. */
function strip(metadata: V1ObjectMeta | undefined): void {
    if (metadata) {
        delete metadata.managedFields;
    }
}
