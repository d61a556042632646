import { setTimeout as sleep } from "node:timers/promises";

import type { KafkaMessage, KafkaSender } from "./kafkaConnection";

/** A message for Kafka, and what is sent in the place of some that had to be dropped. */
export interface StreamedMessage extends KafkaMessage {
    readonly instead: (dropped: number) => string;
    /** Called when the brokers have it. */
    readonly taken?: () => void;
}

/** What a stream may hold and how long it tries. */
export interface StreamLimits {
    /** Bytes that wait to be sent. */
    readonly bytes: number;
    readonly messages: number;
    /** In one request: brokers take a million bytes by default (`message.max.bytes`). */
    readonly batchBytes: number;
    readonly batchMessages: number;
    /** Milliseconds before the second try, and the longest wait. */
    readonly firstDelay: number;
    readonly longestDelay: number;
    /** Milliseconds after which what nobody takes is dropped, so that one bad message does not stop all others. */
    readonly patience: number;
}

export const usualStreamLimits: StreamLimits = {
    bytes: 8 * 1024 * 1024,
    messages: 20_000,
    batchBytes: 512 * 1024,
    batchMessages: 1000,
    firstDelay: 250,
    longestDelay: 15_000,
    patience: 120_000,
};

/** Who counts what became of the messages. */
export interface StreamObserver {
    readonly sent: (messages: number) => void;
    readonly dropped: (messages: number) => void;
    /** The first trouble, and the first message that was taken after it: one line for a person. */
    readonly say: (line: string) => void;
}

interface Waiting {
    readonly message: StreamedMessage;
    readonly size: number;
}

/**
 * Messages on their way to the brokers, in their order. To hand one over never takes time and never fails: what does not
 * fit, because the brokers are slow or gone, is dropped and counted, and a message says so in its place.
 */
export class KafkaStream {
    private waiting: Waiting[] = [];
    private bytes = 0;
    private readonly lost = new Map<string, { message: StreamedMessage; count: number }>();
    private readonly closing = new AbortController();
    private work: Promise<void> | undefined;
    private sender: KafkaSender | undefined;
    private trouble: string | undefined;

    public constructor(
        /** For a person. */
        private readonly name: string,
        private readonly connect: () => Promise<KafkaSender>,
        private readonly observer: StreamObserver,
        private readonly limits: StreamLimits = usualStreamLimits,
    ) {}

    public get buffered(): number {
        return this.waiting.length;
    }

    public push(message: StreamedMessage): void {
        const size = Buffer.byteLength(message.value) + Buffer.byteLength(message.key);
        const key = keyOf(message);
        const isFull = this.bytes + size > this.limits.bytes || this.waiting.length >= this.limits.messages;
        // Once something is lost, the rest waits until half of the room is free: one gap instead of many.
        if (this.closing.signal.aborted || isFull || (this.lost.has(key) && this.bytes > this.limits.bytes / 2)) {
            this.drop([message]);
            return;
        }
        this.sayWhatWasLost(key);
        this.waiting.push({ message, size });
        this.bytes += size;
        this.work ??= this.send();
    }

    /** Sends what there is, for at most so many milliseconds, and drops the rest. */
    public async close(milliseconds: number): Promise<void> {
        for (const key of [...this.lost.keys()]) {
            this.sayWhatWasLost(key);
        }
        const timer = setTimeout(() => this.closing.abort(), milliseconds);
        this.work ??= this.waiting.length > 0 ? this.send() : undefined;
        await this.work;
        clearTimeout(timer);
        this.closing.abort();
        this.drop(this.waiting.map(({ message }) => message));
        this.waiting = [];
        this.bytes = 0;
        const count = [...this.lost.values()].reduce((sum, lost) => sum + lost.count, 0);
        this.lost.clear();
        if (count > 0) {
            this.observer.say(`${this.name} was not sent ${count} messages: ${this.trouble ?? "it was too slow"}`);
        }
        await this.sender?.close().catch(() => undefined);
    }

    private async send(): Promise<void> {
        let failures = 0;
        let since = Date.now();
        while (this.waiting.length > 0 && !this.closing.signal.aborted) {
            const batch = this.batch();
            try {
                await this.untilClosing(this.take(batch.map(({ message }) => message)));
                this.remove(batch);
                batch.forEach(({ message }) => message.taken?.());
                this.observer.sent(batch.length);
                if (this.trouble !== undefined) {
                    this.observer.say(`${this.name} takes messages again`);
                }
                this.trouble = undefined;
                failures = 0;
                since = Date.now();
            } catch (error) {
                if (this.isClosing()) {
                    break;
                }
                if (this.trouble === undefined) {
                    this.trouble = reasonOf(error);
                    this.observer.say(`${this.name} takes no messages: ${this.trouble}; builds go on without it`);
                }
                if (Date.now() - since > this.limits.patience) {
                    this.remove(batch);
                    this.drop(batch.map(({ message }) => message));
                    since = Date.now();
                    continue;
                }
                const delay = Math.min(this.limits.longestDelay, this.limits.firstDelay * 2 ** failures++);
                const { signal } = this.closing;
                await sleep(delay * (0.5 + Math.random() / 2), undefined, { signal, ref: false }).catch(
                    () => undefined,
                );
            }
        }
        this.work = undefined;
    }

    private isClosing(): boolean {
        return this.closing.signal.aborted;
    }

    private async take(messages: readonly KafkaMessage[]): Promise<void> {
        this.sender ??= await this.connect();
        await this.sender.send(messages.map(({ topic, key, value }) => ({ topic, key, value })));
    }

    private batch(): readonly Waiting[] {
        let bytes = 0;
        const end = this.waiting.findIndex(({ size }, index) => {
            bytes += size;
            return index > 0 && (bytes > this.limits.batchBytes || index >= this.limits.batchMessages);
        });
        return end === -1 ? this.waiting.slice() : this.waiting.slice(0, end);
    }

    private remove(batch: readonly Waiting[]): void {
        this.waiting = this.waiting.slice(batch.length);
        this.bytes -= batch.reduce((sum, { size }) => sum + size, 0);
    }

    private drop(messages: readonly StreamedMessage[]): void {
        for (const message of messages) {
            const key = keyOf(message);
            const lost = this.lost.get(key) ?? { message, count: 0 };
            lost.count++;
            this.lost.set(key, lost);
        }
        if (messages.length > 0) {
            this.observer.dropped(messages.length);
        }
    }

    private sayWhatWasLost(key: string): void {
        const lost = this.lost.get(key);
        if (lost) {
            this.lost.delete(key);
            const value = lost.message.instead(lost.count);
            const size = Buffer.byteLength(value);
            this.waiting.push({ message: { ...lost.message, value, taken: undefined }, size });
            this.bytes += size;
        }
    }

    private async untilClosing<T>(promise: Promise<T>): Promise<T> {
        const { signal } = this.closing;
        return new Promise((resolve, reject) => {
            const stop = () => reject(new Error("closing"));
            signal.addEventListener("abort", stop, { once: true });
            promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
        });
    }
}

function keyOf({ topic, key }: StreamedMessage): string {
    return `${topic}\n${key}`;
}

/** The innermost message of an error that holds others. */
function reasonOf(error: unknown): string {
    const { errors, cause } = error as { errors?: readonly unknown[]; cause?: unknown };
    const inner = errors?.[0] ?? cause;
    if (inner !== undefined) {
        return reasonOf(inner);
    }
    return error instanceof Error ? error.message : String(error);
}
