import { EventEmitter } from "node:events";

import { messageOf, UserError } from "../contract/errors";
import type { BuildEvent, BuildRecord, BuildRequest, BuildSecrets } from "./build";
import { isFinal, isToBeKept } from "./build";
import { newId, readableName } from "./names";
import type { RunEnd } from "./runner";
import { Abandoned, type Runner } from "./runner";
import type { ServiceSettings } from "./settings";
import { takeIn } from "./sources/intake";
import type { BuildChange, BuildFilter, QueueStore } from "./store";

/** Between two looks for builds that are to be forgotten, in milliseconds. */
const pruneInterval = 3600 * 1000;

interface QueueEvents {
    /** After what it tells of is on the disk. */
    event: [BuildEvent];
}

/** One build that is worked on. */
interface Running {
    readonly cancel: AbortController;
    readonly namespace: string | undefined;
    readonly lane: string | undefined;
    readonly stack: string;
    readonly done: Promise<void>;
}

/**
 * Takes builds in the order in which they were asked for, so many at once, one of each lane and in each namespace. It is
 * durable: builds that were queued or running when the service ended, however that was, go on when it is back.
 */
export class BuildQueue extends EventEmitter<QueueEvents> {
    private readonly running = new Map<string, Running>();
    private started = false;
    private pruning: NodeJS.Timeout | undefined;

    public constructor(
        private readonly store: QueueStore,
        private readonly runner: Runner,
        private readonly settings: ServiceSettings,
        /** Where the blobs of a request's build will be. */
        private readonly containerUrl: (request: BuildRequest) => string,
    ) {
        super();
        this.setMaxListeners(0);
    }

    /** Takes up what an earlier service has left, and begins. */
    public start(): void {
        this.started = true;
        for (const record of this.store.inState("running")) {
            this.begin(record);
        }
        for (const record of this.store.kept().filter(({ request, state }) => !isToBeKept(request, state))) {
            // It ended, and its stack had not been destroyed yet.
            this.track(record, async () => this.destroy(record));
        }
        this.next();
        void this.prune();
        this.pruning = setInterval(() => void this.prune(), pruneInterval).unref();
    }

    /** Begins no more builds, and leaves those that run to be taken up again. */
    public async stop(): Promise<void> {
        this.started = false;
        clearInterval(this.pruning);
        this.runner.abandon();
        await Promise.all([...this.running.values()].map(async ({ done }) => done));
    }

    /** Until nothing is queued and nothing runs. */
    public async idle(): Promise<void> {
        while (this.running.size > 0 || (this.started && this.store.count("queued") > 0)) {
            await Promise.race([...this.running.values()].map(async ({ done }) => done));
        }
    }

    public submit(asked: BuildRequest, caller: string, given: BuildSecrets = {}): BuildRecord {
        const { request, secrets } = takeIn(asked, given);
        const id = newId();
        const createdAt = new Date().toISOString();
        const stack = request.lane === undefined ? `build-${id}` : readableName([request.lane], 40);
        const record: BuildRecord = { id, state: "queued", request, caller, stack, createdAt, kept: false };
        const event = this.store.transaction(() => {
            this.store.add(record, secrets);
            return this.store.addEvent(id, "queued", { caller }, createdAt);
        });
        this.tell(event);
        this.next();
        return record;
    }

    public get(id: string): BuildRecord | undefined {
        return this.store.get(id);
    }

    public list(filter?: BuildFilter): readonly BuildRecord[] {
        return this.store.list(filter);
    }

    public secrets(id: string): BuildSecrets {
        return this.store.secrets(id);
    }

    public events(after: number, build?: string): readonly BuildEvent[] {
        return this.store.events(after, build);
    }

    public counts(): { readonly queued: number; readonly running: number } {
        return { queued: this.store.count("queued"), running: this.store.count("running") };
    }

    /** What the launcher of a build prints, as a file. */
    public launchLog(id: string): string {
        return this.runner.logFile(id);
    }

    /**
     * Ends a build: one that is queued at once, one that runs in order.
     *
     * @returns its record; that of a build that has ended is left as it is
     */
    public cancel(id: string, by: string): BuildRecord {
        const record = this.known(id);
        if (isFinal(record.state)) {
            return record;
        }
        if (record.state === "queued") {
            return this.end(record, { state: "cancelled", outcome: "Cancelled", message: `cancelled by ${by}` });
        }
        // Kept in its events, so that a service that is killed now remembers.
        if (!this.isCancelling(id)) {
            this.note(id, "cancelling", { by });
        }
        this.running.get(id)?.cancel.abort();
        return this.known(id);
    }

    /** Forgets a build that has ended, and destroys its stack if that was kept. Artifacts and logs stay in the store. */
    public async remove(id: string): Promise<void> {
        const record = this.known(id);
        if (!isFinal(record.state)) {
            throw new UserError(`the build ${id} is ${record.state}; cancel it first`);
        }
        await this.running.get(id)?.done;
        if (this.known(id).kept) {
            this.track(record, async () => this.destroy(record));
            await this.running.get(id)?.done;
            if (this.known(id).kept) {
                throw new Error(`the stack of the build ${id} is not destroyed; its launcher's log says why`);
            }
        }
        this.runner.remove(record);
        const event = this.store.transaction(() => {
            this.store.remove(id);
            return this.store.addEvent(id, "removed", {}, new Date().toISOString());
        });
        this.tell(event);
    }

    /** Forgets what ended long ago, with the sources and launchers' logs that are on the disk. */
    public async prune(now = Date.now()): Promise<void> {
        const { keepDays } = this.settings;
        if (keepDays === undefined) {
            return;
        }
        const before = new Date(now - keepDays * 24 * 3600 * 1000).toISOString();
        for (const { id } of this.store.endedBefore(before)) {
            await this.remove(id).catch((error: unknown) => {
                process.stderr.write(`build ${id}: ${messageOf(error)}\n`);
            });
        }
    }

    /** Whoever listens and fails fails alone: what is told of is on the disk, and goes on. */
    private tell(event: BuildEvent): void {
        for (const listener of this.listeners("event")) {
            try {
                listener(event);
            } catch (error) {
                process.stderr.write(`build ${event.build}: a listener has failed: ${messageOf(error)}\n`);
            }
        }
    }

    private known(id: string): BuildRecord {
        const record = this.store.get(id);
        if (!record) {
            throw new UserError(`there is no build ${id}`);
        }
        return record;
    }

    private next(): void {
        if (!this.started) {
            return;
        }
        for (const record of this.store.inState("queued")) {
            if (this.running.size >= this.settings.parallel) {
                return;
            }
            const { lane } = record.request;
            // By the stack too: two lanes whose names somebody has made to give one stack must not share it.
            if (
                [...this.running.values()].some(
                    (other) => other.stack === record.stack || (lane !== undefined && other.lane === lane),
                )
            ) {
                continue;
            }
            const namespace = this.namespaceFor(record);
            if (namespace === "none is free") {
                continue;
            }
            const startedAt = new Date().toISOString();
            this.begin(this.note(record.id, "started", { namespace }, { state: "running", startedAt, namespace }));
        }
    }

    /** The namespace that a build runs in; undefined is one that its stack makes, and names, itself. */
    private namespaceFor({ request }: BuildRecord): string | undefined {
        const taken = new Set([...this.running.values()].map(({ namespace }) => namespace));
        if (request.namespace !== undefined) {
            return taken.has(request.namespace) ? "none is free" : request.namespace;
        }
        if (this.settings.namespaces.length === 0) {
            return undefined;
        }
        const kept = new Set(this.store.kept().map(({ namespace }) => namespace));
        const free = this.settings.namespaces.filter((name) => !taken.has(name));
        return free.find((name) => !kept.has(name)) ?? free[0] ?? "none is free";
    }

    private begin(record: BuildRecord): void {
        this.track(record, async (cancel) => {
            const end = await this.run(record, cancel.signal);
            const ended = this.end(record, end);
            if (!isToBeKept(record.request, end.state)) {
                await this.destroy(ended);
            }
        });
    }

    /** Does one thing with a build at a time, and then what comes next. */
    private track(record: BuildRecord, work: (cancel: AbortController) => Promise<void>): void {
        const { id, namespace, request } = record;
        const cancel = new AbortController();
        if (record.state === "running" && this.isCancelling(id)) {
            cancel.abort();
        }
        const done = work(cancel)
            .catch((error: unknown) => {
                if (!(error instanceof Abandoned)) {
                    process.stderr.write(`build ${id}: ${messageOf(error)}\n`);
                }
            })
            .finally(() => {
                this.running.delete(id);
                this.next();
            });
        this.running.set(id, { cancel, namespace, lane: request.lane, stack: record.stack, done });
    }

    private async run(record: BuildRecord, cancelled: AbortSignal): Promise<RunEnd> {
        try {
            await this.makeRoom(record);
            return await this.runner.run(
                record,
                this.store.secrets(record.id),
                {
                    source: ({ buildTag, commit }) =>
                        this.note(
                            record.id,
                            "source",
                            { buildTag, commit },
                            {
                                ...{ buildTag, commit, containerUrl: this.containerUrl(record.request) },
                            },
                        ),
                    line: (line) => process.stderr.write(`${record.id} ${line}\n`),
                },
                cancelled,
            );
        } catch (error) {
            if (error instanceof Abandoned) {
                throw error;
            }
            return { state: "failed", outcome: "NotStarted", message: messageOf(error).split("\n", 1)[0] };
        }
    }

    /** Stacks that were kept go when another build needs their place. */
    private async makeRoom({ id, namespace, request }: BuildRecord): Promise<void> {
        const inTheWay = this.store
            .kept()
            .filter(
                (other) =>
                    other.id !== id &&
                    !this.running.has(other.id) &&
                    ((namespace !== undefined && other.namespace === namespace) ||
                        (request.lane !== undefined && other.request.lane === request.lane)),
            );
        for (const record of inTheWay) {
            await this.destroy(record);
        }
    }

    private end(record: BuildRecord, { state, outcome, message, outputs, releaseUrl }: RunEnd): BuildRecord {
        const hasStack = record.state === "running";
        return this.note(
            record.id,
            "ended",
            { state, outcome, message, releaseUrl },
            {
                ...{ state, outcome, message, outputs, releaseUrl, endedAt: new Date().toISOString(), kept: hasStack },
            },
        );
    }

    private async destroy(record: BuildRecord): Promise<void> {
        await this.runner.destroy(record);
        this.runner.removeSource(record);
        this.note(record.id, "destroyed", {}, { kept: false });
    }

    private isCancelling(id: string): boolean {
        return this.store.events(0, id).some(({ type }) => type === "cancelling");
    }

    /** Records what happens together with what changes by it, and then tells of it. */
    private note(
        id: string,
        type: BuildEvent["type"],
        data: BuildEvent["data"],
        change: BuildChange = {},
    ): BuildRecord {
        const [record, event] = this.store.transaction(() => [
            this.store.change(id, change),
            this.store.addEvent(id, type, data, new Date().toISOString()),
        ]);
        this.tell(event);
        return record;
    }
}
