import { appendFileSync, renameSync, rmSync } from "node:fs";
import { UserError } from "../contract/errors";
import { type FileBackend, hashOf, type StackReference } from "./backend";
import {
    type Deployment,
    formatCheckpoint,
    formatDeployment,
    isSame,
    parseCheckpoint,
    type ResourceCodec,
    type SerializedResource,
} from "./checkpoint";
import { type JournalChange, type JournalEntry, JournalWriter, readJournal } from "./journal";
import type { OperationType, ResourceState, Snapshot } from "./state";

/** How a step changes the state. */
export interface StateChange {
    /** Gone from the state. */
    readonly drop?: ResourceState;
    /** New in the state, after all that is there already. */
    readonly put?: ResourceState;
    /** A resource of the state that is now another: marked for deletion, say. */
    readonly mark?: { readonly old: ResourceState; readonly now: ResourceState };
}

interface Operation {
    readonly type: OperationType;
    readonly resource: SerializedResource;
}

/**
 * Keeps the state of a stack while a deployment changes it. The resources the deployment has been at come first, in the
 * order it was done with them, which is an order of dependency; then those it has not come to yet, as they were.
 *
 * Each change is appended to a journal beside the checkpoint, and the journal is folded into the checkpoint at the end, or,
 * where the process was killed, when the stack is opened next.
 */
export class SnapshotManager {
    private readonly slots: (SerializedResource | undefined)[];
    private readonly slotOf = new Map<ResourceState, number>();
    private readonly operations = new Map<number, Operation>();
    private readonly earlier: (Operation | undefined)[];
    private nextOperation = 1;
    private journal: Promise<JournalWriter> | undefined;
    private deferred: JournalEntry[] = [];
    private changed = false;

    private constructor(
        private readonly backend: FileBackend,
        private readonly reference: StackReference,
        private readonly codec: ResourceCodec,
        private readonly salt: string | undefined,
        private readonly checkpointHash: string,
        deployment: Deployment,
        public readonly base: Snapshot,
    ) {
        this.slots = [...(deployment.resources ?? [])];
        base.resources.forEach((resource, slot) => this.slotOf.set(resource, slot));
        this.earlier = [...(deployment.pending_operations ?? [])];
        this.baseCount = this.slots.length;
    }

    private readonly baseCount: number;

    /** @param salt of the passphrase secrets provider; it goes into the checkpoint. */
    public static open(
        backend: FileBackend,
        reference: StackReference,
        codec: ResourceCodec,
        content: Buffer,
        salt: string | undefined,
    ): SnapshotManager {
        const deployment = parseCheckpoint(content.toString("utf8"));
        const hash = hashOf(content);
        return new SnapshotManager(backend, reference, codec, salt, hash, deployment, codec.decodeSnapshot(deployment));
    }

    /** The resource, and the operation on it, are recorded before the provider is called. */
    public async begin(type: OperationType, state: ResourceState): Promise<number> {
        await this.codec.prepare(state);
        const operation = { type, resource: this.codec.encode(state) };
        const id = this.nextOperation++;
        this.operations.set(id, operation);
        await this.record({ begin: id, ...operation }, true);
        return id;
    }

    public async end(operation: number, change: StateChange): Promise<void> {
        await this.prepare(change);
        this.operations.delete(operation);
        await this.record({ end: operation, ...this.apply(change) }, true);
    }

    /** A change of the state alone, with no call of a provider behind it. */
    public async change(change: StateChange): Promise<void> {
        await this.prepare(change);
        await this.record(this.apply(change), false);
    }

    /**
     * A resource that stays as it is, but may have other options now. Nothing is written for one that has not, until
     * something is.
     */
    public async keep(old: ResourceState, now: ResourceState): Promise<void> {
        await this.codec.prepare(now);
        const slot = this.slotOf.get(old);
        const before = slot === undefined ? undefined : this.slots[slot];
        const encoded = this.codec.encode(now);
        if (slot === undefined || before === undefined) {
            throw new Error(`There is no ${old.urn} in the state.`);
        }
        if (!isSame(before, encoded)) {
            await this.change({ drop: old, put: now });
            return;
        }
        this.slotOf.delete(old);
        this.slotOf.set(now, this.slots.push(before) - 1);
        this.slots[slot] = undefined;
        const entry = { keep: slot };
        if (this.journal === undefined) {
            this.deferred.push(entry);
        } else {
            await this.record(entry, false);
        }
    }

    /** A pending operation of an earlier deployment has been dealt with; what that changed is recorded with it. */
    public async resolveEarlier(index: number, change: StateChange): Promise<void> {
        await this.prepare(change);
        this.earlier[index] = undefined;
        await this.record({ resolved: index, ...this.apply(change) }, true);
    }

    /** Folds all changes into the checkpoint. */
    public async close(): Promise<void> {
        if (this.changed) {
            const pending = [
                ...this.earlier.filter((operation) => operation !== undefined),
                ...this.operations.values(),
            ];
            const deployment = formatDeployment(this.salt, ordered(this.slots, this.baseCount), pending);
            const content = formatCheckpoint(this.reference, deployment);
            await this.record({ folded: hashOf(content) }, true);
            this.backend.writeCheckpoint(this.reference, content);
        }
        await (await this.journal)?.discard();
    }

    private async prepare({ put, mark }: StateChange): Promise<void> {
        for (const state of [put, mark?.now]) {
            if (state !== undefined) {
                await this.codec.prepare(state);
            }
        }
    }

    private apply({ drop, put, mark }: StateChange): JournalChange {
        const dropped = drop === undefined ? undefined : this.slotOf.get(drop);
        if (drop !== undefined && dropped !== undefined) {
            this.slots[dropped] = undefined;
            this.slotOf.delete(drop);
        }
        const encoded = put === undefined ? undefined : this.codec.encode(put);
        if (put !== undefined && encoded !== undefined) {
            this.slotOf.set(put, this.slots.push(encoded) - 1);
        }
        const marked = mark === undefined ? undefined : this.slotOf.get(mark.old);
        const now = mark === undefined ? undefined : this.codec.encode(mark.now);
        if (mark !== undefined && marked !== undefined && now !== undefined) {
            this.slots[marked] = now;
            this.slotOf.delete(mark.old);
            this.slotOf.set(mark.now, marked);
        }
        return {
            ...(dropped === undefined ? {} : { drop: [dropped] }),
            ...(encoded === undefined ? {} : { put: encoded }),
            ...(marked === undefined || now === undefined ? {} : { mark: { slot: marked, resource: now } }),
        };
    }

    private async record(entry: JournalEntry, durable: boolean): Promise<void> {
        this.changed = true;
        if (this.journal === undefined) {
            const earlier = this.deferred;
            this.deferred = [];
            const path = this.backend.journalPath(this.reference);
            this.journal = JournalWriter.create(path, this.checkpointHash).then((writer) => {
                for (const kept of earlier) {
                    void writer.append(kept, false);
                }
                return writer;
            });
        }
        await (await this.journal).append(entry, durable);
    }
}

/**
 * Folds the journal of a deployment that was killed into the stack's checkpoint. Operations that had begun and not ended
 * become pending operations of the checkpoint.
 *
 * @param write needs the stack's lock; without it, the files stay as they are.
 * @returns the checkpoint's content; undefined where the stack has none.
 * @throws UserError where the checkpoint has been changed since by another engine, which did not know of the journal.
 */
export function recoverCheckpoint(
    backend: FileBackend,
    reference: StackReference,
    write: boolean,
): { readonly content: Buffer; readonly recovered: boolean } | undefined {
    const content = backend.readCheckpoint(reference);
    if (content === undefined) {
        return undefined;
    }
    const path = backend.journalPath(reference);
    const journal = readJournal(path, hashOf(content));
    if (journal === undefined) {
        return { content, recovered: false };
    }
    const last = journal.entries.at(-1);
    if (last !== undefined && "folded" in last && last.folded === hashOf(content)) {
        if (write) {
            rmSync(path, { force: true });
        }
        return { content, recovered: false };
    }
    if (journal.stale && journal.entries.length > 0 && write) {
        const aside = `${path}.${Date.now()}.unused`;
        renameSync(path, aside);
        throw new UserError(
            `The state of ${reference.stack} was changed by another engine after a deployment here was killed. What that one did last ` +
                `is in ${aside} and was not taken over: run \`ke1 refresh\`, and look there for resources that the state misses.`,
        );
    }
    if (journal.entries.length === 0) {
        return { content, recovered: false };
    }
    const folded = formatCheckpoint(reference, replay(parseCheckpoint(content.toString("utf8")), journal.entries));
    if (write) {
        appendFileSync(path, `${JSON.stringify({ folded: hashOf(folded) })}\n`);
        backend.writeCheckpoint(reference, folded);
        rmSync(path, { force: true });
    }
    return { content: Buffer.from(folded), recovered: true };
}

/** The deployment that results from a deployment and the entries of a journal. */
export function replay(deployment: Deployment, entries: readonly JournalEntry[]): Deployment {
    const slots: (SerializedResource | undefined)[] = [...(deployment.resources ?? [])];
    const baseCount = slots.length;
    const earlier: (Operation | undefined)[] = [...(deployment.pending_operations ?? [])];
    const operations = new Map<number, Operation>();
    for (const entry of entries) {
        if ("begin" in entry) {
            operations.set(entry.begin, { type: entry.type, resource: entry.resource });
            continue;
        }
        if ("resolved" in entry) {
            earlier[entry.resolved] = undefined;
        }
        if ("folded" in entry) {
            continue;
        }
        if ("end" in entry) {
            operations.delete(entry.end);
        }
        if (entry.keep !== undefined) {
            slots.push(slots[entry.keep]);
            slots[entry.keep] = undefined;
        }
        entry.drop?.forEach((slot) => (slots[slot] = undefined));
        if (entry.put !== undefined) {
            slots.push(entry.put);
        }
        if (entry.mark !== undefined) {
            slots[entry.mark.slot] = entry.mark.resource;
        }
    }
    const pending = [...earlier.filter((operation) => operation !== undefined), ...operations.values()];
    return formatDeployment(deployment.secrets_providers?.state?.salt, ordered(slots, baseCount), pending);
}

/** What this deployment has been at first, then what it has not come to. */
function ordered(slots: readonly (SerializedResource | undefined)[], baseCount: number): readonly SerializedResource[] {
    return [...slots.slice(baseCount), ...slots.slice(0, baseCount)].filter((resource) => resource !== undefined);
}
