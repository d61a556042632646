import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";

import { type Entry, openPromise } from "yauzl";

import { messageOf, UserError } from "../../contract/errors";
import { shown, type TreeWriter } from "./treeWriter";

const kindMask = 0o170000;
const linkKind = 0o120000;
const fileKind = 0o100000;
const directoryKind = 0o040000;
/** "version made by", high byte: the file's mode is Unix's (APPNOTE 4.4.2). */
const unix = 3;
/** PATH_MAX of Linux. */
const longestTarget = 4096;

/** Unpacks a zip archive by its central directory. */
export async function unpackZip(file: string, writer: TreeWriter, signal: AbortSignal): Promise<void> {
    try {
        const zip = await openPromise(file, { lazyEntries: true, autoClose: false });
        try {
            for await (const entry of zip.eachEntry()) {
                signal.throwIfAborted();
                await unpackEntry(entry, writer, () => zip.openReadStreamPromise(entry));
            }
        } finally {
            zip.close();
        }
    } catch (error) {
        if (signal.aborted) {
            throw signal.reason;
        }
        throw error instanceof UserError ? error : explained(messageOf(error));
    }
}

async function unpackEntry(entry: Entry, writer: TreeWriter, open: () => Promise<Readable>): Promise<void> {
    const name = entry.fileName;
    if (entry.isEncrypted()) {
        throw new UserError(`the source is an encrypted zip archive (${shown(name)}); hand it over without a password`);
    }
    const mode = entry.versionMadeBy >> 8 === unix ? entry.externalFileAttributes >>> 16 : 0;
    const kind = mode & kindMask;
    if (name.endsWith("/") || kind === directoryKind) {
        writer.directory(name);
    } else if (kind === linkKind) {
        if (entry.uncompressedSize > longestTarget) {
            throw new UserError(`the source has a link whose target is too long: ${shown(name)}`);
        }
        writer.link(name, (await buffer(await open())).toString("utf8"));
    } else if (kind === fileKind || kind === 0) {
        await writer.file(name, mode, await open());
    } else {
        writer.refuseKind(name, `mode ${kind.toString(8)}`);
    }
}

function explained(message: string): UserError {
    const [, problem, name] =
        /^(absolute path|invalid relative path|invalid characters in fileName): (.*)$/s.exec(message) ?? [];
    if (problem === "absolute path") {
        return new UserError(`the source has an absolute name: ${shown(name ?? "")}`);
    }
    if (problem === "invalid relative path") {
        return new UserError(`the source has a name that leads out of it: ${shown(name ?? "")}`);
    }
    return new UserError(`the source is a broken zip archive: ${message.split("\n", 1)[0] ?? ""}`);
}
