import type { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";

import { firstLineOf } from "../../contract/errors";
import type { BuildStore } from "../../launcher/store";
import type { BuildEvent, BuildRecord, BuildState } from "../build";
import type { BuildQueue } from "../queue";
import { GrowingLog } from "./growingLog";
import type { LogPosition, NewLines } from "./growingLog";
import { connectKafka } from "./kafkaConnection";
import type { KafkaConnection } from "./kafkaConnection";
import { BuildMessages } from "./kafkaMessages";
import type { StreamLimits, StreamObserver } from "./kafkaStream";
import { KafkaStream } from "./kafkaStream";
import { stateAfter } from "./payload";
import type { Reach } from "./reach";
import type { NotifySettings } from "./settings";

export type KafkaQueue = Pick<BuildQueue, "get" | "events" | "launchLog" | "on" | "off">;

export interface KafkaOptions {
    readonly settings: Pick<NotifySettings, "kafka" | "kafkaTopic">;
    readonly openStore: (containerUrl: string) => BuildStore;
    /** What the hosts of a request may be. */
    readonly reach: Reach;
    readonly observer: StreamObserver;
    readonly limits?: StreamLimits;
    /** Milliseconds between two looks at a log. */
    readonly pollInterval?: number;
}

/** Milliseconds that the last messages of a build have, and those of a service that ends. */
const endPatience = 30_000;
const stopPatience = 3_000;

const schema = `
    CREATE TABLE IF NOT EXISTS kafka_cursor (only INTEGER PRIMARY KEY CHECK (only = 1), seq INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS kafka_logs (build TEXT PRIMARY KEY, path TEXT NOT NULL, offset INTEGER NOT NULL) STRICT;
`;

/** Brokers that builds stream to, for as long as one of them does. */
interface Shared {
    readonly stream: KafkaStream;
    users: number;
}

/** A build whose log is followed. */
interface Followed {
    readonly done: Promise<void>;
    /** Changes of state that have not been told yet. */
    readonly states: { readonly state: BuildState; readonly at: string }[];
    wake: () => void;
}

/**
 * Streams the log and the changes of each build to the Kafka brokers of its request, else to those of the service. A build
 * never waits for them. A service that is taken up again goes on after the last line that the brokers have taken.
 */
export class KafkaEvents {
    private readonly streams = new Map<string, Shared>();
    private readonly followed = new Map<string, Followed>();
    /** Nobody uses them any more. */
    private readonly ending = new Set<KafkaStream>();
    private readonly stopping = new AbortController();
    private cursor = 0;
    private readonly onEvent = (): void => this.takeIn();

    public constructor(
        private readonly queue: KafkaQueue,
        private readonly database: DatabaseSync,
        private readonly options: KafkaOptions,
    ) {
        database.exec(schema);
    }

    public start(): void {
        this.cursor = Number(this.database.prepare("SELECT seq FROM kafka_cursor").get()?.["seq"] ?? 0);
        // Builds that were under way are followed on, also when nothing has happened to them since.
        for (const row of this.database.prepare("SELECT build FROM kafka_logs").all()) {
            const record = this.queue.get(String(row["build"]));
            if (record) {
                this.follow(record);
            }
        }
        this.queue.on("event", this.onEvent);
        this.takeIn();
    }

    public async stop(): Promise<void> {
        this.queue.off("event", this.onEvent);
        this.stopping.abort();
        await Promise.all([...this.followed.values()].map(async ({ done }) => done));
        const streams = [...[...this.streams.values()].map(({ stream }) => stream), ...this.ending];
        await Promise.all(streams.map(async (stream) => stream.close(stopPatience)));
    }

    /** Messages that wait to be sent. */
    public buffered(): number {
        return [...this.streams.values()].reduce((sum, { stream }) => sum + stream.buffered, 0);
    }

    private takeIn(): void {
        const before = this.cursor;
        for (let events = this.queue.events(this.cursor); events.length > 0; events = this.queue.events(this.cursor)) {
            for (const event of events) {
                this.cursor = event.seq;
                this.handle(event);
            }
        }
        // Also where nobody is told: who is from now on wants no builds of before.
        if (this.cursor !== before) {
            this.database
                .prepare("INSERT INTO kafka_cursor VALUES (1, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq")
                .run(this.cursor);
        }
    }

    private handle(event: BuildEvent): void {
        const state = stateAfter(event);
        const record = state && this.queue.get(event.build);
        if (!state || !record || this.hostsOf(record).length === 0) {
            return;
        }
        const followed = this.followed.get(record.id) ?? this.follow(record);
        followed.states.push({ state, at: event.at });
        followed.wake();
    }

    private hostsOf({ request }: BuildRecord): readonly string[] {
        return request.kafkaHosts ?? this.options.settings.kafka.hosts;
    }

    private follow(record: BuildRecord): Followed {
        const followed: Followed = { done: Promise.resolve(), states: [], wake: () => undefined };
        const shared = this.acquire(this.hostsOf(record));
        const done = this.followToEnd(record, followed, shared.stream)
            .catch((error: unknown) => this.options.observer.say(`build ${record.id}: ${firstLineOf(error)}`))
            .finally(() => {
                this.followed.delete(record.id);
                void this.release(shared);
            });
        const kept = Object.assign(followed, { done });
        this.followed.set(record.id, kept);
        return kept;
    }

    private async followToEnd(record: BuildRecord, followed: Followed, stream: KafkaStream): Promise<void> {
        // What has happened already is handed over first.
        await Promise.resolve();
        const { id } = record;
        const { openStore, settings, pollInterval = 1000 } = this.options;
        const messages = new BuildMessages(record, settings.kafkaTopic);
        const log = new GrowingLog(openStore, (build) => this.queue.launchLog(build), this.position(id));
        while (!this.stopping.signal.aborted) {
            const now = this.queue.get(id);
            if (!now) {
                break;
            }
            const isEnd = (state: BuildState): boolean => state !== "queued" && state !== "running";
            const states = followed.states.splice(0);
            const ended = states.some(({ state }) => isEnd(state)) || isEnd(now.state);
            const tell = (isLast: boolean): void =>
                states
                    .filter(({ state }) => isEnd(state) === isLast)
                    .flatMap(({ state, at }) => messages.state(now, state, at))
                    .forEach((message) => stream.push(message));
            tell(false);
            if (now.state !== "queued") {
                const news = await log.read(now, ended).catch(() => undefined);
                this.pushLines(id, news, messages, stream);
            }
            if (ended) {
                tell(true);
                this.database.prepare("DELETE FROM kafka_logs WHERE build = ?").run(id);
                return;
            }
            await this.pause(followed, pollInterval);
        }
    }

    private pushLines(build: string, news: NewLines | undefined, messages: BuildMessages, stream: KafkaStream): void {
        const { lines = [], position } = news ?? {};
        lines.forEach((line, index) => {
            const isLast = index === lines.length - 1 && position !== undefined;
            stream.push({ ...messages.line(line), ...(isLast ? { taken: () => this.remember(build, position) } : {}) });
        });
    }

    private async pause(followed: Followed, milliseconds: number): Promise<void> {
        if (followed.states.length > 0) {
            return;
        }
        const woken = new AbortController();
        Object.assign(followed, { wake: () => woken.abort() });
        const signal = AbortSignal.any([woken.signal, this.stopping.signal]);
        await sleep(milliseconds, undefined, { signal, ref: false }).catch(() => undefined);
    }

    private position(build: string): LogPosition | undefined {
        const row = this.database.prepare("SELECT path, offset FROM kafka_logs WHERE build = ?").get(build);
        return row && { path: String(row["path"]), offset: Number(row["offset"]) };
    }

    private remember(build: string, { path, offset }: LogPosition): void {
        if (this.followed.has(build)) {
            this.database
                .prepare(
                    "INSERT INTO kafka_logs VALUES (?, ?, ?) " +
                        "ON CONFLICT DO UPDATE SET path = excluded.path, offset = excluded.offset",
                )
                .run(build, path, offset);
        }
    }

    private acquire(hosts: readonly string[]): Shared {
        const own = this.options.settings.kafka;
        // The service's credentials go to the service's brokers, and to nobody whom a request names.
        const isOwn = hosts.every((host) => own.hosts.includes(host));
        const connection: KafkaConnection = isOwn ? own : { hosts, reach: this.options.reach };
        const key = isOwn ? "" : [...hosts].sort().join(",");
        const name = `Kafka at ${isOwn ? own.hosts.join(",") : key}`;
        const shared = this.streams.get(key) ?? {
            stream: new KafkaStream(
                name,
                async () => connectKafka(connection),
                this.options.observer,
                this.options.limits,
            ),
            users: 0,
        };
        shared.users++;
        this.streams.set(key, shared);
        return shared;
    }

    /** Closes what nobody uses any more. */
    private async release(shared: Shared): Promise<void> {
        shared.users--;
        const key = [...this.streams].find(([, other]) => other === shared)?.[0];
        if (shared.users === 0 && key !== undefined && !this.stopping.signal.aborted) {
            this.streams.delete(key);
            this.ending.add(shared.stream);
            await shared.stream.close(endPatience);
            this.ending.delete(shared.stream);
        }
    }
}
