import { existsSync, readFileSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { SerializedResource } from "./checkpoint";
import type { OperationType } from "./state";

/**
 * What a deployment has done since its checkpoint was written, one JSON object a line. The resources of the checkpoint have
 * the slots 0 to n-1, those that are put after it n, n+1, ... in the order of their lines.
 */
export type JournalEntry =
    /** An operation of a provider is about to start. */
    | { readonly begin: number; readonly type: OperationType; readonly resource: SerializedResource }
    /** It has ended; what it changed is in the same line, so that the two cannot come apart. */
    | ({ readonly end: number } & JournalChange)
    | JournalChange
    /** A pending operation of an earlier deployment has been dealt with. */
    | ({ readonly resolved: number } & JournalChange)
    /** All of it is in the checkpoint with this hash, or was about to be. */
    | { readonly folded: string };

export interface JournalChange {
    /** Slots whose resources are gone from the state. */
    readonly drop?: readonly number[];
    /** A resource that takes the next free slot. */
    readonly put?: SerializedResource;
    /** The resource of this slot moves to the next free slot, as it is. */
    readonly keep?: number;
    /** The resource of a slot, changed where it is. */
    readonly mark?: { readonly slot: number; readonly resource: SerializedResource };
}

interface JournalHeader {
    readonly journal: 1;
    /** SHA-256 of the checkpoint file that the entries go on from. */
    readonly checkpoint: string;
}

/** Appends entries to a journal file; writes that come together go to the disk together. */
export class JournalWriter {
    private pending: string[] = [];
    private durable = false;
    private flushing: Promise<void> | undefined;

    private constructor(
        private readonly path: string,
        private readonly file: FileHandle,
    ) {}

    public static async create(path: string, checkpointHash: string): Promise<JournalWriter> {
        const file = await open(path, "w", 0o600);
        const header: JournalHeader = { journal: 1, checkpoint: checkpointHash };
        await file.appendFile(`${JSON.stringify(header)}\n`);
        return new JournalWriter(path, file);
    }

    /**
     * Resolves when the entry is in the file, and where it is `durable`, on the disk: it is then there after a loss of power
     * too.
     */
    public append(entry: JournalEntry, durable: boolean): Promise<void> {
        this.pending.push(`${JSON.stringify(entry)}\n`);
        this.durable ||= durable;
        this.flushing ??= this.flush();
        return this.flushing;
    }

    public async close(): Promise<void> {
        await this.flushing;
        await this.file.close();
    }

    /** Once its entries are in the checkpoint. */
    public async discard(): Promise<void> {
        await this.close();
        rmSync(this.path, { force: true });
    }

    private async flush(): Promise<void> {
        // Entries that come in the same turn of the event loop are written together.
        await Promise.resolve();
        const [lines, durable] = [this.pending, this.durable];
        [this.pending, this.durable, this.flushing] = [[], false, undefined];
        const previous = this.written;
        this.written = (async () => {
            await previous;
            await this.file.appendFile(lines.join(""));
            if (durable) {
                await this.file.datasync();
            }
        })();
        await this.written;
    }

    private written: Promise<void> = Promise.resolve();
}

/**
 * The entries of a journal that a deployment left behind; a last line that was cut off in the writing does not count, since
 * nothing was done on the strength of it.
 *
 * @returns undefined where there is no journal; `stale` where the checkpoint has been changed since, by another engine.
 */
export function readJournal(
    path: string,
    checkpointHash: string,
): { readonly entries: readonly JournalEntry[]; readonly stale: boolean } | undefined {
    if (!existsSync(path)) {
        return undefined;
    }
    const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
    const [header, ...entries] = lines.map((line) => JSON.parse(line) as JournalHeader | JournalEntry);
    if (header === undefined) {
        return { entries: [], stale: false };
    }
    return { entries: entries as JournalEntry[], stale: (header as JournalHeader).checkpoint !== checkpointHash };
}
