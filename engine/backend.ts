import { createHash, randomUUID } from "node:crypto";
import {
    closeSync,
    copyFileSync,
    existsSync,
    fsyncSync,
    mkdirSync,
    openSync,
    readdirSync,
    readFileSync,
    renameSync,
    rmSync,
    writeFileSync,
} from "node:fs";
import { homedir, hostname, userInfo } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { UserError } from "../contract/errors";

/** One stack's files in a backend. */
export interface StackReference {
    readonly project: string;
    readonly stack: string;
}

/** A lock on a stack, as its file has it. */
export interface LockHolder {
    readonly pid: number;
    readonly username: string;
    readonly hostname: string;
    readonly timestamp: string;
}

/** What is recorded of an update (`backend.UpdateInfo` of the CLI). */
export interface UpdateRecord {
    readonly kind: "update" | "refresh" | "destroy" | "import";
    /** Seconds since the epoch, as is `endTime`. */
    readonly startTime: number;
    readonly endTime: number;
    readonly result: "succeeded" | "failed";
    readonly config: Readonly<Record<string, unknown>>;
    readonly resourceChanges: Readonly<Record<string, number>>;
}

/** `pulumi login file://` always says this for an organization. */
export const organization = "organization";

/**
 * The CLI's `file://` backend (pkg/backend/diy, layout version 1), below one directory:
 *
 *     .pulumi/meta.yaml
 *     .pulumi/stacks/<project>/<stack>.json          the checkpoint
 *     .pulumi/stacks/<project>/<stack>.journal       what a deployment under way has done since (ours alone)
 *     .pulumi/locks/organization/<project>/<stack>/<uuid>.json
 *     .pulumi/history/<project>/<stack>/, .pulumi/backups/<project>/<stack>/
 *
 * Directories are made with mode 0700 and files with 0600: a checkpoint can hold more than it should.
 */
export class FileBackend {
    private readonly base: string;

    public constructor(directory: string) {
        this.base = join(directory, ".pulumi");
        const meta = join(this.base, "meta.yaml");
        if (!existsSync(meta)) {
            if (existsSync(join(this.base, "stacks")) && readdirSync(join(this.base, "stacks")).some(isCheckpoint)) {
                throw new UserError(
                    `${this.base} has the old layout without projects: run \`pulumi state upgrade\` on it first.`,
                );
            }
            makeDirectory(this.base);
            writeDurably(meta, "version: 1\n");
        } else if (!/^version:\s*1\s*$/m.test(readFileSync(meta, "utf8"))) {
            throw new UserError(`${meta} has a layout version other than 1, which alone is supported.`);
        }
    }

    public checkpointPath(reference: StackReference): string {
        return join(this.base, "stacks", reference.project, `${reference.stack}.json`);
    }

    public journalPath(reference: StackReference): string {
        return join(this.base, "stacks", reference.project, `${reference.stack}.journal`);
    }

    /** The stacks of one project, or of all. */
    public stacks(project?: string): readonly StackReference[] {
        const directory = join(this.base, "stacks");
        const projects = project === undefined ? list(directory) : [project];
        return projects.flatMap((name) =>
            list(join(directory, name))
                .filter(isCheckpoint)
                .map((file) => ({ project: name, stack: file.slice(0, -".json".length) })),
        );
    }

    public readCheckpoint(reference: StackReference): Buffer | undefined {
        const path = this.checkpointPath(reference);
        for (const end of [".gz", ".zst"]) {
            if (existsSync(path + end)) {
                throw new UserError(
                    `${path}${end} is compressed, which is not supported: export and import it with the Pulumi CLI.`,
                );
            }
        }
        return existsSync(path) ? readFileSync(path) : undefined;
    }

    /** Replaces the checkpoint as a whole, keeping the one before as `.bak`, as the CLI does. */
    public writeCheckpoint(reference: StackReference, content: string): void {
        const path = this.checkpointPath(reference);
        makeDirectory(dirname(path));
        if (existsSync(path)) {
            copyFileSync(path, `${path}.bak`);
        }
        writeDurably(path, content);
    }

    /** Records an update: a line of history, and copies of the checkpoint in the history and the backups. */
    public record(reference: StackReference, update: UpdateRecord): void {
        const { project, stack } = reference;
        const nanoseconds = `${Date.now()}${String(process.hrtime.bigint() % 1_000_000n).padStart(6, "0")}`;
        const history = join(this.base, "history", project, stack);
        const backups = join(this.base, "backups", project, stack);
        makeDirectory(history);
        makeDirectory(backups);
        const file = join(history, `${stack}-${nanoseconds}`);
        const checkpoint = this.checkpointPath(reference);
        copyFileSync(checkpoint, join(backups, `${stack}.${nanoseconds}.json`));
        writeFileSync(`${file}.history.json`, JSON.stringify({ ...update, message: "", environment: {} }), {
            mode: 0o600,
        });
        copyFileSync(checkpoint, `${file}.checkpoint.json`);
    }

    /** Removes a stack's files but its backups, among which its last checkpoint goes. */
    public removeStack(reference: StackReference): void {
        const path = this.checkpointPath(reference);
        renameSync(path, `${path}.bak`);
        rmSync(this.journalPath(reference), { force: true });
        rmSync(join(this.base, "history", reference.project, reference.stack), { recursive: true, force: true });
    }

    /**
     * Takes the stack's lock, or says who has it. A lock of this host whose process is gone is taken over.
     *
     * @returns a function that gives it back.
     * @throws UserError where another process, or one on another host, has it.
     */
    public lock(reference: StackReference, takenOver: (holder: LockHolder) => void): () => void {
        this.refuseIfLocked(reference, undefined, takenOver);
        const directory = this.lockDirectory(reference);
        makeDirectory(directory);
        const path = join(directory, `${randomUUID()}.json`);
        const holder: LockHolder = {
            pid: process.pid,
            username: userName(),
            hostname: hostname(),
            timestamp: new Date().toISOString(),
        };
        writeFileSync(path, JSON.stringify(holder), { mode: 0o600 });
        heldLocks.add(path);
        const unlock = (): void => {
            heldLocks.delete(path);
            rmSync(path, { force: true });
        };
        try {
            // Another process may have looked just before we wrote: of two, both give way, as with the CLI.
            this.refuseIfLocked(reference, basename(path), takenOver);
        } catch (error) {
            unlock();
            throw error;
        }
        return unlock;
    }

    /** Removes all locks of a stack, whoever has them; returns whose they were. */
    public cancel(reference: StackReference): readonly LockHolder[] {
        return this.locks(reference).map(({ path, holder }) => {
            rmSync(path, { force: true });
            return holder;
        });
    }

    private refuseIfLocked(
        reference: StackReference,
        own: string | undefined,
        takenOver: (holder: LockHolder) => void,
    ): void {
        for (const { path, holder } of this.locks(reference)) {
            if (basename(path) === own) {
                continue;
            }
            if (holder.hostname === hostname() && !heldLocks.has(path) && !isAlive(holder.pid)) {
                rmSync(path, { force: true });
                takenOver(holder);
                continue;
            }
            throw new UserError(
                `The stack ${reference.stack} is locked by ${holder.username}@${holder.hostname} (pid ${holder.pid}) since ` +
                    `${holder.timestamp}: wait for it to end, or, if it is gone, run \`ke1 stack cancel --stack ${reference.stack}\`.`,
            );
        }
    }

    private locks(reference: StackReference): readonly { readonly path: string; readonly holder: LockHolder }[] {
        const directory = this.lockDirectory(reference);
        return list(directory)
            .filter((file) => file.endsWith(".json"))
            .flatMap((file) => {
                const path = join(directory, file);
                try {
                    return [{ path, holder: JSON.parse(readFileSync(path, "utf8")) as LockHolder }];
                } catch {
                    // Given back in the meantime, or cut off in the writing: then by a process that is gone.
                    return [];
                }
            });
    }

    private lockDirectory(reference: StackReference): string {
        return join(this.base, "locks", organization, reference.project, reference.stack);
    }
}

/**
 * The directory of a `file://` URL as the CLI reads it: `file:///absolute`, `file://~/below-home`, `file://./relative`.
 *
 * @throws UserError for any other kind of backend.
 */
export function backendDirectory(url: string): string {
    if (!url.startsWith("file://")) {
        throw new UserError(
            `The backend ${url} is not supported by the embedded engine: use file://<directory>, or the Pulumi CLI.`,
        );
    }
    const path = decodeURI(url.slice("file://".length).split("?")[0] ?? "");
    return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : resolve(path === "" ? "." : path);
}

export function hashOf(content: Buffer | string): string {
    return createHash("sha256").update(content).digest("hex");
}

/** Writes a file so that after a crash it is there whole or as it was before. */
export function writeDurably(path: string, content: string): void {
    const temporary = `${path}.${process.pid}.tmp`;
    const file = openSync(temporary, "w", 0o600);
    try {
        writeFileSync(file, content);
        fsyncSync(file);
    } finally {
        closeSync(file);
    }
    renameSync(temporary, path);
    const directory = openSync(dirname(path), "r");
    try {
        fsyncSync(directory);
    } finally {
        closeSync(directory);
    }
}

export function makeDirectory(path: string): void {
    mkdirSync(path, { recursive: true, mode: 0o700 });
}

function isCheckpoint(file: string): boolean {
    return file.endsWith(".json");
}

function list(directory: string): readonly string[] {
    return existsSync(directory) ? readdirSync(directory).sort() : [];
}

/** The locks of this very process. */
const heldLocks = new Set<string>();

function isAlive(pid: number): boolean {
    if (pid === process.pid) {
        // Not among our own: it is from an earlier process of the same number, as happens in containers.
        return false;
    }
    try {
        process.kill(pid, 0);
        return true;
    } catch (error) {
        return (error as NodeJS.ErrnoException).code === "EPERM";
    }
}

/** A pod's user has often no name. */
function userName(): string {
    try {
        return userInfo().username;
    } catch {
        return `user ${process.getuid?.() ?? 0}`;
    }
}
