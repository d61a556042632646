import { StringDecoder } from "node:string_decoder";

import type { BuildStore } from "./store";

/** At most this much of a log is read at once, in bytes. */
const readLimit = 4 * 1024 * 1024;

/** Reads a log blob from where it was left, chunk by chunk, while it grows. */
export class LogFollower {
    private position: number;

    public constructor(
        private readonly store: BuildStore,
        private readonly path: string,
        offset = 0,
    ) {
        this.position = offset;
    }

    /** The byte that is read next. */
    public get offset(): number {
        return this.position;
    }

    /** What has come since the last call, in pieces that are asked for one after the other. */
    public async *chunks(): AsyncGenerator<Buffer, void> {
        for (;;) {
            const bytes = await this.store.bytes(this.path, this.position, readLimit);
            if (!bytes || bytes.length === 0) {
                return;
            }
            this.position += bytes.length;
            yield bytes;
            if (bytes.length < readLimit) {
                return;
            }
        }
    }

    /** Passes on what has come since the last call. */
    public async drain(onBytes: (bytes: Buffer) => void): Promise<void> {
        for await (const bytes of this.chunks()) {
            onBytes(bytes);
        }
    }
}

/** The longest line shown, in characters. The real command provider's log stops at a line of 64 KiB. */
const longestLine = 4096;

/**
 * Turns a build's output into lines that are safe to show on a terminal: no control characters, of a progress bar its
 * last state, and no line without end.
 */
export class LineSplitter {
    private readonly decoder = new StringDecoder("utf8");
    private partial = "";

    public constructor(private readonly onLine: (line: string) => void) {}

    public write(bytes: Buffer): void {
        const lines = (this.partial + this.decoder.write(bytes)).split("\n");
        this.partial = lines.pop() ?? "";
        for (const line of lines) {
            this.onLine(presentable(line));
        }
        // A line without end is not kept in memory: what is over the limit will not be shown.
        if (this.partial.length > 2 * longestLine && !this.partial.includes("\r")) {
            this.partial = this.partial.slice(0, longestLine + 1);
        } else if (this.partial.length > 2 * longestLine) {
            this.partial = this.partial.slice(this.partial.lastIndexOf("\r"));
        }
    }

    public end(): void {
        const rest = this.partial + this.decoder.end();
        this.partial = "";
        if (rest !== "") {
            this.onLine(presentable(rest));
        }
    }
}

/** One line without what could steer a terminal. */
export function presentable(line: string): string {
    const shown = line.replace(/\r+$/, "").split("\r").pop() ?? "";
    const plain = shown
        // ECMA-48 control sequences, operating system commands, and other escapes.
        .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g, "")
        .replace(/\t/g, "    ")
        .replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
    return plain.length > longestLine ? `${plain.slice(0, longestLine)}…` : plain;
}
