import { isConfidential } from "../../contract/address";
import { UserError } from "../../contract/errors";
import type { Answer, Timing } from "../../launcher/notify/delivery";
import { backoff, tried } from "../../launcher/notify/delivery";
import type { Reply } from "../../launcher/notify/http";
import { answerOf, endpoint, posting } from "../../launcher/notify/http";
import { signature } from "../../launcher/notify/webhook";
import type { BuildEvent } from "../build";
import type { BuildQueue } from "../queue";
import { portOf } from "../sources/addresses";
import type { CallbackRecord, NewlyOwed, Outbox, Owed } from "./outbox";
import { isShuttle, serviceEvent, shuttleStatus, stateAfter } from "./payload";
import type { Reach } from "./reach";
import { OutOfReach, pinned, reached } from "./reach";

/** What the queue is asked for. */
export type CallbackQueue = Pick<BuildQueue, "get" | "secrets" | "events" | "on" | "off">;

export interface CallbackOptions {
    /** What may be connected to. */
    readonly reach: Reach;
    /** Signs what is sent, where there is one (launcher/notify/webhook.ts). */
    readonly key?: Buffer;
    readonly timing?: Partial<CallbackTiming>;
    readonly observe?: (result: CallbackResult) => void;
    /** For one line to a person. */
    readonly say?: (line: string) => void;
}

/** Milliseconds. */
export interface CallbackTiming extends Timing {
    /** From a change of state on; what nobody took by then is given up. */
    readonly patience: number;
}

/** What came of a try. */
export type CallbackResult = "delivered" | "retried" | "failed";

const usualTiming: CallbackTiming = {
    request: 10_000,
    firstDelay: 1_000,
    longestDelay: 15 * 60_000,
    longestRetryAfter: 3_600_000,
    patience: 24 * 3_600_000,
};

/** So many are told at once; of one build one after another, so that they come in their order. */
const parallel = 16;
/** Longer than a timer of Node's can wait. */
const longestSleep = 3_600_000;

/** Where a build's callback is, and what is sent along. */
interface Destination {
    readonly url: string;
    readonly authorization: string | undefined;
}

/**
 * Looks at the address of a callback when a build is asked for.
 *
 * @throws UserError when it cannot be one; what it holds may be a secret, and is not repeated
 */
export function checkCallback(address: string): void {
    const url = endpoint(address, "`callback`");
    if (url.username !== "" || url.password !== "") {
        throw new UserError(
            "`callback` must be a URL without a user and password; the header Authorization is given apart",
        );
    }
}

/**
 * Tells the callbacks of builds of each change of their state: at least once, in order, also after the service was
 * killed. No build waits for it.
 */
export class Callbacks {
    private readonly timing: CallbackTiming;
    /** Builds whose callback is being told now. */
    private readonly underWay = new Map<string, Promise<void>>();
    /** Of builds that something is owed to: they may be removed before that. */
    private readonly destinations = new Map<string, Destination>();
    private readonly stopping = new AbortController();
    private cursor = 0;
    private timer: NodeJS.Timeout | undefined;
    /** At once: a moment later the build may be removed. */
    private readonly onEvent = (): void => this.takeIn();

    public constructor(
        private readonly queue: CallbackQueue,
        private readonly outbox: Outbox,
        private readonly options: CallbackOptions,
    ) {
        this.timing = { ...usualTiming, ...options.timing };
    }

    /** Takes up what is still owed, and what happened while nobody listened. */
    public start(): void {
        this.cursor = this.outbox.cursor;
        this.queue.on("event", this.onEvent);
        this.takeIn();
    }

    /** What is under way ends, and is owed still. */
    public async stop(): Promise<void> {
        this.queue.off("event", this.onEvent);
        clearTimeout(this.timer);
        this.stopping.abort();
        await Promise.all(this.underWay.values());
    }

    public of(build: string): readonly CallbackRecord[] {
        return this.outbox.of(build);
    }

    public pending(): number {
        return this.outbox.pending();
    }

    private takeIn(): void {
        if (this.stopping.signal.aborted) {
            return;
        }
        for (;;) {
            const events = this.queue.events(this.cursor);
            const last = events.at(-1);
            if (!last) {
                break;
            }
            const owed = events.flatMap((event) => this.owedFor(event) ?? []);
            if (owed.length > 0) {
                this.outbox.add(owed, last.seq);
            }
            this.cursor = last.seq;
            for (const { build } of events.filter(({ type }) => type === "removed")) {
                this.forgetIfTold(build);
            }
        }
        this.work();
    }

    private owedFor(event: BuildEvent): NewlyOwed | undefined {
        const { build, seq } = event;
        const state = stateAfter(event);
        const record = state && this.queue.get(build);
        if (!state || record?.request.callback === undefined) {
            return undefined;
        }
        const authorization = this.queue.secrets(build)["callback_auth"];
        this.destinations.set(build, { url: record.request.callback, authorization });
        const id = `${build}.${seq}`;
        if (isShuttle(record)) {
            const status = shuttleStatus(record, state);
            return status && { id, build, seq, state, contentType: "application/json", body: JSON.stringify(status) };
        }
        const contentType = "application/cloudevents+json; charset=utf-8";
        return { id, build, seq, state, contentType, body: JSON.stringify(serviceEvent(record, state, event.at, id)) };
    }

    /** Tells what is due, and comes back when the next one is. */
    private work(): void {
        clearTimeout(this.timer);
        if (this.stopping.signal.aborted) {
            return;
        }
        const busy = new Set(this.underWay.keys());
        for (const owed of this.outbox.due(Date.now(), busy, parallel - busy.size)) {
            const done = this.tell(owed).finally(() => {
                this.underWay.delete(owed.build);
                this.work();
            });
            this.underWay.set(owed.build, done);
        }
        if (this.underWay.size < parallel) {
            const next = this.outbox.nextDue(new Set(this.underWay.keys()));
            if (next !== undefined) {
                this.timer = setTimeout(() => this.work(), Math.min(longestSleep, Math.max(0, next - Date.now())));
                this.timer.unref();
            }
        }
    }

    private async tell(owed: Owed): Promise<void> {
        const at = new Date();
        let status: number | undefined;
        const answer = await tried(
            async (signal) => {
                const reply = await this.post(owed, signal);
                status = reply.status || undefined;
                return "answer" in reply ? reply.answer : answerOf(reply);
            },
            this.timing,
            this.stopping.signal,
        );
        if (this.stopping.signal.aborted && answer.kind !== "told") {
            // It is told again at the next start.
            return;
        }
        const problem = answer.kind === "told" ? undefined : answer.reason;
        const entry = { at: at.toISOString(), milliseconds: Date.now() - at.getTime(), status, problem };
        const isYoung = Date.now() - Date.parse(owed.createdAt) < this.timing.patience;
        if (answer.kind === "told") {
            this.outbox.tried(owed.id, entry, "delivered", 0);
            this.options.observe?.("delivered");
        } else if (answer.kind === "failed" && answer.retry && isYoung) {
            const asked = Math.min(answer.after ?? 0, this.timing.longestRetryAfter);
            const delay = Math.max(asked, backoff(owed.tries, this.timing));
            this.outbox.tried(owed.id, entry, "pending", Math.ceil(Date.now() + delay));
            this.options.observe?.("retried");
        } else {
            this.outbox.tried(owed.id, entry, "failed", 0);
            this.options.observe?.("failed");
            this.options.say?.(
                `build ${owed.build}: its callback is not told that it is ${owed.state}: ${problem ?? ""}`,
            );
        }
        this.forgetIfTold(owed.build);
    }

    private async post(owed: Owed, signal: AbortSignal): Promise<Reply | NoReply> {
        const destination = this.destination(owed.build);
        if (!destination) {
            return refusal("the build was removed");
        }
        const url = new URL(destination.url);
        let addresses;
        try {
            addresses = await reached(this.options.reach, url.hostname, portOf(url));
        } catch (error) {
            if (error instanceof OutOfReach) {
                return refusal(error.message);
            }
            throw error;
        }
        const { authorization } = destination;
        if (authorization !== undefined && !addresses.every(({ address }) => isConfidential(atAddress(url, address)))) {
            return refusal("an Authorization header is not sent over plain HTTP to a public address; use https://");
        }
        const timestamp = Math.floor(Date.now() / 1000);
        const { key } = this.options;
        const headers = {
            "content-type": owed.contentType,
            "webhook-id": owed.id,
            "webhook-timestamp": String(timestamp),
            ...(key ? { "webhook-signature": signature(key, owed.id, timestamp, owed.body) } : {}),
            ...(authorization === undefined ? {} : { authorization }),
        };
        return posting(pinned(addresses))({ url, headers, body: owed.body }, signal);
    }

    private destination(build: string): Destination | undefined {
        const request = this.queue.get(build)?.request;
        return request?.callback === undefined
            ? this.destinations.get(build)
            : { url: request.callback, authorization: this.queue.secrets(build)["callback_auth"] };
    }

    /** What is still owed for a build that was removed is told first. */
    private forgetIfTold(build: string): void {
        if (this.outbox.pending(build) === 0) {
            this.destinations.delete(build);
            if (!this.queue.get(build)) {
                this.outbox.forget(build);
            }
        }
    }
}

/** A try that did not come to a request. */
interface NoReply {
    readonly status: 0;
    readonly answer: Answer;
}

function refusal(reason: string): NoReply {
    return { status: 0, answer: { kind: "failed", reason, retry: false } };
}

function atAddress(url: URL, address: string): URL {
    const at = new URL(url);
    at.hostname = address.includes(":") ? `[${address}]` : address;
    return at;
}
