import * as fs from "node:fs";

import { messageOf } from "../../contract/errors";
import type { Chunk } from "./protocol";
import type { LogProgress, Sent } from "./state";

/** As many chunks on the way at once as the agent has (agent/job_runner.go). */
const concurrency = 3;
/** Kept free at the log's end for the line that says where the rest is, in bytes. */
const reserve = 1024;

export interface JobLogOptions {
    /** Where the log is kept until the server has all of it. */
    readonly file: string;
    readonly chunkBytes: number;
    /** More than this the server does not keep. */
    readonly logBytes: number;
    readonly progress: LogProgress;
    /** Called before a chunk is sent and after it was acknowledged. */
    readonly persist: (progress: LogProgress) => void;
    /** Tries for as long as it makes sense. */
    readonly upload: (chunk: Chunk) => Promise<void>;
    /** The process ends: what is not acknowledged is left to the next. */
    readonly leaving: AbortSignal;
    readonly say: (line: string) => void;
}

/**
 * A job's log on its way to the server: in a file first, from there in numbered chunks. Which bytes a number stands for is
 * written down before they are sent, so that a chunk which may have arrived is never sent with other bytes: not by the next
 * try, and not by the next process.
 */
export class JobLog {
    /** Whether an earlier process has begun it. */
    public readonly resumed: boolean;
    private readonly options: JobLogOptions;
    private progress: LogProgress;
    private bytes: number;
    private readonly underWay = new Set<Promise<void>>();

    public constructor(options: JobLogOptions) {
        this.options = options;
        this.progress = options.progress;
        fs.closeSync(fs.openSync(options.file, "a", 0o600));
        this.bytes = fs.statSync(options.file).size;
        this.resumed = this.bytes > 0;
        this.progress.pending.forEach((sent) => this.send(sent));
    }

    /** How long the log is. */
    public get size(): number {
        return this.bytes;
    }

    /** Whether the server would not take more. */
    public get full(): boolean {
        return this.bytes >= this.options.logBytes - reserve;
    }

    public get failedChunks(): number {
        return this.progress.failed;
    }

    /** Adds to the log; beyond what the server takes, nothing. */
    public append(content: Buffer | string): void {
        const bytes = Buffer.from(content).subarray(0, Math.max(0, this.options.logBytes - reserve - this.bytes));
        fs.appendFileSync(this.options.file, bytes);
        this.bytes += bytes.length;
    }

    /** Writes the spawner's own last words, for which there is always room; the same again after a kill. */
    public close(text: string, at: number): void {
        const bytes = Buffer.from(text).subarray(0, Math.max(0, this.options.logBytes - at));
        fs.truncateSync(this.options.file, at);
        fs.appendFileSync(this.options.file, bytes);
        this.bytes = at + bytes.length;
    }

    /** Sends what is there, as far as there is room on the way. */
    public pump(): void {
        while (this.underWay.size < concurrency && this.progress.offset < this.bytes) {
            const { sequence, offset, pending } = this.progress;
            const size = Math.min(this.options.chunkBytes, this.bytes - offset);
            const next: Sent = { sequence: sequence + 1, offset, size };
            this.change({ sequence: next.sequence, offset: offset + size, pending: [...pending, next] });
            this.send(next);
        }
    }

    /** Ends when the server has all of it, or has refused what is missing. */
    public async flush(): Promise<void> {
        this.pump();
        while (this.underWay.size > 0 && !this.options.leaving.aborted) {
            await Promise.race(this.underWay);
            this.pump();
        }
    }

    public remove(): void {
        fs.rmSync(this.options.file, { force: true });
    }

    private send(sent: Sent): void {
        const done = this.deliver(sent).finally(() => this.underWay.delete(done));
        this.underWay.add(done);
    }

    private async deliver({ sequence, offset, size }: Sent): Promise<void> {
        let failed = 0;
        try {
            await this.options.upload({ sequence, offset, data: this.read(offset, size) });
        } catch (error) {
            if (this.options.leaving.aborted) {
                return;
            }
            failed = 1;
            this.options.say(`chunk ${sequence} of the log is given up: ${messageOf(error)}`);
        }
        const pending = this.progress.pending.filter((each) => each.sequence !== sequence);
        this.change({ pending, failed: this.progress.failed + failed });
    }

    private read(offset: number, size: number): Buffer {
        const bytes = Buffer.alloc(size);
        const file = fs.openSync(this.options.file, "r");
        try {
            fs.readSync(file, bytes, 0, size, offset);
        } finally {
            fs.closeSync(file);
        }
        return bytes;
    }

    private change(change: Partial<LogProgress>): void {
        this.progress = { ...this.progress, ...change };
        this.options.persist(this.progress);
    }
}
