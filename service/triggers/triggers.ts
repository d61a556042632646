import { messageOf } from "../../contract/errors";
import type { BuildEvent, BuildRecord } from "../build";
import { isFinal } from "../build";
import type { BuildQueue } from "../queue";
import type { FindCredential } from "../registry/authorization";
import type { RetryPolicy } from "../registry/retry";
import { defaultRetries } from "../registry/retry";
import type { Trigger } from "./definition";
import type { TriggerMemory } from "./memory";
import { requestOf, runLabel } from "./request";
import { look, Pace } from "./watch";

/** What of the queue is used. */
export type TriggerQueue = Pick<BuildQueue, "submit" | "get" | "list" | "cancel" | "on" | "off">;

/** How a trigger is, for those who look. */
export interface TriggerStatus {
    readonly name: string;
    readonly image: string;
    readonly policy: string;
    readonly intervalSeconds: number;
    readonly current: string;
    readonly digests: Readonly<Record<string, string>>;
    /** The newest digest that waits for the end of a build. */
    readonly pending?: { readonly tag: string; readonly digest: string; readonly at: string };
    readonly build?: string;
    readonly lookedAt?: string;
    /** Why the last look failed. */
    readonly problem?: string;
}

interface Watched {
    readonly trigger: Trigger;
    /** What it watches, as the memory knows it. */
    readonly key: string;
    readonly pace: Pace;
    timer?: NodeJS.Timeout;
    followUp?: NodeJS.Timeout;
    looking?: Promise<void>;
    /** Whether something has happened since the look under way began. */
    again: boolean;
    /** Starts are made one after another. */
    advancing: Promise<void>;
    lookedAt?: string;
}

/** Docker's registry tells of a push just before it sets the tag: a second look comes after this, in milliseconds. */
const followUpDelay = 1500;

/** Who asks the queue. */
const caller = "triggers";

/**
 * Watches repositories, and starts a build for each new digest: never two of one trigger at once. What comes while one runs
 * waits for its end, and of several the newest alone.
 */
export class Triggers {
    private readonly watched: readonly Watched[];
    private readonly stopping = new AbortController();
    private readonly onEvent = (event: BuildEvent): void => {
        if (event.type === "ended" || event.type === "removed") {
            const ended = this.watched.find((each) => this.stateOf(each)?.build === event.build);
            if (ended) {
                void this.advance(ended);
            }
        }
    };

    public constructor(
        triggers: readonly Trigger[],
        private readonly queue: TriggerQueue,
        private readonly memory: TriggerMemory,
        private readonly credentials: FindCredential,
        private readonly say: (line: string) => void,
        private readonly retries: RetryPolicy = defaultRetries,
    ) {
        this.watched = triggers.map((trigger) => ({
            trigger,
            key: `${trigger.image.registry}/${trigger.image.repository} ${trigger.policyText} ${trigger.tag}`,
            pace: new Pace(trigger.intervalSeconds),
            again: false,
            advancing: Promise.resolve(),
        }));
    }

    /** Looks at all of them, takes up what waited, and goes on. */
    public start(): void {
        this.queue.on("event", this.onEvent);
        for (const each of this.watched) {
            void this.advance(each);
            // The first look, also of one that is told by notifications alone: it may have missed some.
            void this.lookNow(each);
        }
    }

    public async stop(): Promise<void> {
        this.stopping.abort();
        this.queue.off("event", this.onEvent);
        this.watched.forEach(({ timer, followUp }) => [timer, followUp].forEach((each) => clearTimeout(each)));
        await Promise.all(
            this.watched.map(async ({ looking, advancing }) => {
                await looking;
                await advancing;
            }),
        );
    }

    /**
     * A registry says that something was pushed. What it says is a hint only: the repository itself is looked at.
     *
     * @param repository without the registry, which may go by another name there
     * @returns the triggers that look
     */
    public notified(repository: string): readonly string[] {
        const concerned = this.watched.filter(({ trigger }) => trigger.image.repository === repository);
        for (const each of concerned) {
            void this.lookNow(each);
            clearTimeout(each.followUp);
            each.followUp = setTimeout(() => void this.lookNow(each), followUpDelay);
        }
        return concerned.map(({ trigger }) => trigger.name);
    }

    public status(): readonly TriggerStatus[] {
        return this.watched.map((each) => {
            const { trigger, pace, lookedAt } = each;
            const state = this.stateOf(each);
            const pending = state?.pending;
            return {
                name: trigger.name,
                image: `${trigger.image.registry}/${trigger.image.repository}`,
                policy: trigger.policyText,
                intervalSeconds: trigger.intervalSeconds,
                current: state?.current ?? "",
                digests: Object.fromEntries(state ? this.memory.digests(trigger.name) : []),
                ...(pending ? { pending: { tag: pending.tag, digest: pending.digest, at: pending.at } } : {}),
                ...(state?.build === undefined ? {} : { build: state.build }),
                ...(lookedAt === undefined ? {} : { lookedAt }),
                ...(pace.problem === undefined ? {} : { problem: pace.problem }),
            };
        });
    }

    private stateOf({ trigger, key }: Watched) {
        return this.memory.state(trigger.name, key);
    }

    /** One look at a time; whoever comes during one gets another after it. */
    private async lookNow(each: Watched): Promise<void> {
        if (each.looking) {
            each.again = true;
            return each.looking;
        }
        clearTimeout(each.timer);
        each.looking = this.looks(each).finally(() => {
            each.looking = undefined;
            if (
                !this.stopping.signal.aborted &&
                (each.trigger.intervalSeconds > 0 || each.pace.problem !== undefined)
            ) {
                each.timer = setTimeout(() => void this.lookNow(each), each.pace.next());
            }
        });
        return each.looking;
    }

    private async looks(each: Watched): Promise<void> {
        const { trigger, key, pace } = each;
        for (let isFirst = true; isFirst || this.isToLookAgain(each); isFirst = false) {
            each.again = false;
            try {
                const known = this.stateOf(each) ? this.memory.digests(trigger.name) : new Map<string, string>();
                const current = this.stateOf(each)?.current ?? "";
                const found = await look(trigger, current, known, {
                    credentials: this.credentials,
                    retries: this.retries,
                    signal: this.stopping.signal,
                });
                each.lookedAt = new Date().toISOString();
                if (pace.succeeded()) {
                    this.say(`trigger ${trigger.name}: the registry answers again`);
                }
                const before = this.stateOf(each)?.pending?.run;
                const pending = this.memory.observe(trigger.name, key, found, trigger.runsFirst);
                if (pending && pending.run !== before) {
                    this.say(`trigger ${trigger.name}: ${pending.tag} is ${pending.digest} now`);
                    await this.advance(each);
                }
            } catch (error) {
                if (!this.stopping.signal.aborted && pace.failed(error)) {
                    this.say(`trigger ${trigger.name}: ${messageOf(error)}`);
                }
                return;
            }
        }
    }

    private isToLookAgain({ again }: Watched): boolean {
        return again && !this.stopping.signal.aborted;
    }

    /** Starts a build of what is pending, unless one is under way. */
    private async advance(each: Watched): Promise<void> {
        each.advancing = each.advancing
            .then(() => this.advanceOne(each))
            .catch((error: unknown) => {
                this.say(`trigger ${each.trigger.name}: ${messageOf(error)}`);
            });
        return each.advancing;
    }

    private advanceOne(each: Watched): void {
        const { trigger, key } = each;
        const state = this.stateOf(each);
        const pending = state?.pending;
        if (!state || !pending || this.stopping.signal.aborted) {
            return;
        }
        const before = state.build === undefined ? undefined : this.queue.get(state.build);
        // Submitted by a service that was killed before it could take that down.
        const submitted = this.queue.list({ labels: { [runLabel]: pending.run }, limit: 1 }).at(0);
        if (before && before.id !== submitted?.id && !isFinal(before.state)) {
            if (before.state !== "queued") {
                this.say(`trigger ${trigger.name}: ${pending.digest} waits for the end of ${before.id}`);
                return;
            }
            // It has not begun: the newer one takes its place.
            this.queue.cancel(before.id, `the trigger ${trigger.name}, for something newer`);
        }
        const build: BuildRecord =
            submitted ?? this.queue.submit(requestOf(trigger, pending, this.memory.serviceId()), caller);
        this.memory.started(trigger.name, key, pending, build.id);
        this.say(`trigger ${trigger.name}: ${build.id} builds with ${pending.tag} (${pending.digest})`);
    }
}
