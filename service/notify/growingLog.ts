import * as fs from "node:fs/promises";

import { LineSplitter, LogFollower } from "../../launcher/logFollower";
import type { BuildStore } from "../../launcher/store";
import type { BuildRecord } from "../build";
import { attemptLogPath } from "../log";

/** Where a log was read to: a byte after the end of a line. */
export interface LogPosition {
    readonly path: string;
    readonly offset: number;
}

/** Lines that have come, and the place to go on from after them. */
export interface NewLines {
    readonly lines: readonly string[];
    readonly position: LogPosition;
}

/** Between two looks at whether there is another attempt, in milliseconds. */
const attemptInterval = 10_000;

/** At most this much of a file at once, in bytes. */
const readLimit = 1024 * 1024;

/** Reads the lines of a build's log as it grows, from attempt to attempt; what is read is safe to show. */
export class GrowingLog {
    private path: string | undefined;
    private follower: { drain(onBytes: (bytes: Buffer) => void): Promise<void>; readonly offset: number } | undefined;
    private readonly pending: string[] = [];
    /** Bytes since the last end of a line. */
    private unfinished = 0;
    private splitter = new LineSplitter((line) => this.pending.push(line));
    private lookedAt = 0;

    public constructor(
        private readonly openStore: (containerUrl: string) => BuildStore,
        /** The log of a build that has no pod: what its launcher prints. */
        private readonly launchLog: (id: string) => string,
        private start: LogPosition | undefined,
    ) {}

    /** What has come since the last call. */
    public async read(record: BuildRecord, isLast: boolean): Promise<NewLines | undefined> {
        await this.find(record, isLast);
        const { follower, path } = this;
        if (!follower || path === undefined) {
            return undefined;
        }
        await follower.drain((bytes) => {
            const end = bytes.lastIndexOf(0x0a);
            this.unfinished = end === -1 ? this.unfinished + bytes.length : bytes.length - end - 1;
            this.splitter.write(bytes);
        });
        if (isLast) {
            this.splitter.end();
            this.unfinished = 0;
        }
        const lines = this.pending.splice(0);
        return { lines, position: { path, offset: follower.offset - this.unfinished } };
    }

    private async find(record: BuildRecord, isLast: boolean): Promise<void> {
        if (this.follower && !isLast && Date.now() - this.lookedAt < attemptInterval) {
            return;
        }
        this.lookedAt = Date.now();
        const isImage = record.request.kind === "image";
        const store = isImage || record.containerUrl === undefined ? undefined : this.openStore(record.containerUrl);
        const path = isImage ? this.launchLog(record.id) : store && (await attemptLogPath(store, record));
        if (path === undefined || path === this.path) {
            return;
        }
        this.splitter.end();
        this.splitter = new LineSplitter((line) => this.pending.push(line));
        this.unfinished = 0;
        this.path = path;
        const offset = this.start?.path === path ? this.start.offset : 0;
        this.start = undefined;
        this.follower = store ? new LogFollower(store, path, offset) : new FileFollower(path, offset);
    }
}

/** As LogFollower, for a file. */
class FileFollower {
    public constructor(
        private readonly path: string,
        public offset: number,
    ) {}

    public async drain(onBytes: (bytes: Buffer) => void): Promise<void> {
        const file = await fs.open(this.path).catch(() => undefined);
        try {
            const bytes = Buffer.alloc(readLimit);
            for (;;) {
                const { bytesRead = 0 } = (await file?.read(bytes, 0, readLimit, this.offset)) ?? {};
                if (bytesRead === 0) {
                    return;
                }
                this.offset += bytesRead;
                onBytes(Buffer.from(bytes.subarray(0, bytesRead)));
            }
        } finally {
            await file?.close();
        }
    }
}
