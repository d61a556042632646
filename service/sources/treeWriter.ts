import * as fs from "node:fs";
import * as path from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { UserError } from "../../contract/errors";
import { ByteLimit, sizeText } from "./byteLimit";
import type { SourceLimits } from "./policy";

/** The longest that Linux takes for one name, and for a path. */
const longestName = 255;
const longestPath = 4000;

/**
 * Writes the entries of an archive that nobody has looked at below one directory, and nowhere else: a name with a step
 * upwards, an absolute one, a link that leads out, or what is neither file, directory nor link, is an error that names it. Nothing is ever
 * written through a link. No file gets setuid, setgid or sticky bits, or an owner. What git keeps for itself is left out: its
 * configuration could name commands, which git would run.
 */
export class TreeWriter {
    private files = 0;
    private bytes = 0;
    /** Directories that are known to be there, and to be no links. */
    private readonly directories = new Set<string>([""]);
    /** What was made since `beginLayer`. */
    private layer: Set<string> | undefined;

    public constructor(
        private readonly root: string,
        private readonly limits: Pick<SourceLimits, "unpackedBytes" | "files">,
    ) {}

    /** From here on entries may replace those of before, whatever those were: the layers of an image. */
    public beginLayer(): void {
        this.layer = new Set();
    }

    public directory(name: string): void {
        const at = this.place(name);
        if (at !== undefined && at !== "") {
            this.count(name);
            this.makeDirectory(at, name);
        }
    }

    public async file(name: string, mode: number, content: Readable): Promise<void> {
        const at = this.newEntry(name);
        if (at === undefined) {
            content.resume();
            return;
        }
        const counted = new ByteLimit(this.limits.unpackedBytes - this.bytes, "the unpacked source");
        const permissions = (mode & 0o111) === 0 ? 0o644 : 0o755;
        try {
            await pipeline(
                content,
                counted,
                fs.createWriteStream(path.join(this.root, at), { flags: "wx", mode: permissions }),
            );
        } catch (error) {
            throw counted.seen > this.limits.unpackedBytes - this.bytes ? this.tooLarge() : error;
        }
        this.bytes += counted.seen;
    }

    /** @param rooted where the archive is a file system: what an absolute target is relative to, as a path in the tree. */
    public link(name: string, target: string, rooted?: (target: string) => string | undefined): void {
        const at = this.newEntry(name);
        if (at === undefined) {
            return;
        }
        const safe = linkTarget(at, target, rooted);
        if (safe === undefined) {
            throw new UserError(`the source has a link that leads out of it: ${shown(name)} to ${shown(target)}`);
        }
        fs.symlinkSync(safe, path.join(this.root, at));
    }

    /** A second name of a file that is there already: a copy of it, so that it counts as what it is. */
    public async copy(name: string, original: string): Promise<void> {
        const from = this.place(original);
        const stat = from === undefined ? undefined : this.stat(from);
        if (from === undefined || !stat?.isFile() || this.isBelowLink(from)) {
            throw new UserError(
                `the source has a hard link, ${shown(name)}, to what is no file of it: ${shown(original)}`,
            );
        }
        if (from !== this.place(name)) {
            await this.file(name, stat.mode, fs.createReadStream(path.join(this.root, from)));
        }
    }

    /** Removes what layers below have under this name. */
    public whiteout(name: string): void {
        const at = this.place(name);
        if (at !== undefined && at !== "" && !this.isBelowLink(at)) {
            this.remove(at);
        }
    }

    /** Removes all that layers below have in this directory. */
    public opaque(name: string): void {
        const at = this.place(name);
        if (at === undefined || this.isBelowLink(at) || !this.stat(at)?.isDirectory()) {
            return;
        }
        for (const child of fs.readdirSync(path.join(this.root, at))) {
            const inside = at === "" ? child : `${at}/${child}`;
            if (!this.layer?.has(inside)) {
                this.remove(inside);
            }
        }
    }

    /** @param kind null is what tar-stream says of a type that it does not know */
    public refuseKind(name: string, kind: string | null): never {
        throw new UserError(
            `the source has what is neither a file, a directory nor a link: ${shown(name)} (${kind ?? "of an unknown type"})`,
        );
    }

    /** The entry's path in the tree; undefined for what is left out. */
    private place(name: string): string | undefined {
        if (/[\u0000]/.test(name)) {
            throw new UserError(`the source has a name with a NUL in it: ${shown(name)}`);
        }
        if (name.startsWith("/") || /^[a-z]:[\\/]/i.test(name)) {
            throw new UserError(`the source has an absolute name: ${shown(name)}`);
        }
        const parts = name.split("/").filter((part) => part !== "" && part !== ".");
        if (parts.includes("..")) {
            throw new UserError(`the source has a name that leads out of it: ${shown(name)}`);
        }
        if (name.length > longestPath || parts.some((part) => Buffer.byteLength(part) > longestName)) {
            throw new UserError(`the source has a name that is too long: ${shown(name)}`);
        }
        return parts.some((part) => part.toLowerCase() === ".git") ? undefined : parts.join("/");
    }

    private newEntry(name: string): string | undefined {
        const at = this.place(name);
        if (at === undefined) {
            return undefined;
        }
        if (at === "") {
            throw new UserError("the source has an entry without a name");
        }
        this.count(name);
        const parent = path.posix.dirname(at);
        if (parent !== ".") {
            this.makeDirectory(parent, name);
        }
        const there = this.stat(at);
        if (there?.isDirectory() && !this.layer) {
            throw new UserError(`the source has ${shown(name)} twice: as a directory, and not`);
        }
        if (there) {
            this.remove(at);
        }
        this.layer?.add(at);
        return at;
    }

    private makeDirectory(at: string, name: string): void {
        if (this.directories.has(at)) {
            this.layer?.add(at);
            return;
        }
        const parent = path.posix.dirname(at);
        if (parent !== ".") {
            this.makeDirectory(parent, name);
        }
        const there = this.stat(at);
        if (there && !there.isDirectory()) {
            if (!this.layer) {
                throw new UserError(`the source has ${shown(name)} below ${shown(at)}, which is no directory`);
            }
            this.remove(at);
        }
        if (!there?.isDirectory()) {
            fs.mkdirSync(path.join(this.root, at), { mode: 0o755 });
        }
        this.directories.add(at);
        this.layer?.add(at);
    }

    private remove(at: string): void {
        fs.rmSync(path.join(this.root, at), { recursive: true, force: true });
        for (const known of [...this.directories]) {
            if (known === at || known.startsWith(`${at}/`)) {
                this.directories.delete(known);
            }
        }
    }

    private isBelowLink(at: string): boolean {
        const parts = at.split("/");
        return parts.slice(0, -1).some((_, index) => !this.stat(parts.slice(0, index + 1).join("/"))?.isDirectory());
    }

    private stat(at: string): fs.Stats | undefined {
        return fs.lstatSync(path.join(this.root, at), { throwIfNoEntry: false });
    }

    private count(name: string): void {
        this.files++;
        if (this.files > this.limits.files) {
            throw new UserError(`the source has more than ${this.limits.files} files; at ${shown(name)} it was left`);
        }
    }

    private tooLarge(): UserError {
        return new UserError(
            `the unpacked source is larger than ${sizeText(this.limits.unpackedBytes)}, which is the most that a source may be`,
        );
    }
}

/**
 * Where a link leads, in a form in which it cannot lead out: steps upwards only at its beginning, where all directories are
 * real ones, and no more than there are. Undefined where it would lead out.
 */
export function linkTarget(
    at: string,
    target: string,
    rooted?: (target: string) => string | undefined,
): string | undefined {
    if (target === "" || target.includes("\0")) {
        return undefined;
    }
    const directory = path.posix.dirname(at);
    const wanted = target.startsWith("/") ? rooted?.(target) : path.posix.join(directory, target);
    if (wanted === undefined || wanted === ".." || wanted.startsWith("../") || wanted.startsWith("/")) {
        return undefined;
    }
    if (wanted.split("/").some((part) => part.toLowerCase() === ".git")) {
        return undefined;
    }
    const isPlain = !target.startsWith("/") && !/(^|\/)(?!\.\.?(\/|$))[^/]+\/(.*\/)?\.\.(\/|$)/.test(target);
    return isPlain ? target : path.posix.relative(directory, wanted) || ".";
}

/** A name of somebody else's, for one line of a message. */
export function shown(name: string): string {
    const plain = name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "\ufffd");
    return `\`${plain.length > 120 ? `${plain.slice(0, 117)}…` : plain}\``;
}
