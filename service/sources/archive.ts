import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import type { SourceLimits } from "./policy";
import { unpackTar } from "./tar";
import { TreeWriter } from "./treeWriter";
import { unpackZip } from "./zip";

/** What an archive is, by its first bytes: its name and its media type say nothing. */
export type ArchiveKind = "tar" | "gzip" | "zstd" | "zip";

/**
 * Unpacks an archive into a new directory. An archive with one directory in it, as git hosts make them, is what is in
 * that directory.
 *
 * @throws UserError, one line, for what is no archive, or holds what a source may not.
 */
export async function unpackArchive(
    file: string,
    directory: string,
    limits: Pick<SourceLimits, "unpackedBytes" | "files">,
    signal: AbortSignal,
): Promise<void> {
    const kind = archiveKind(file);
    const partial = fs.mkdtempSync(path.join(path.dirname(directory), ".unpack-"));
    try {
        const writer = new TreeWriter(partial, limits);
        await (kind === "zip"
            ? unpackZip(file, writer, signal)
            : unpackTar(fs.createReadStream(file), kind, writer, limits, signal));
        fs.renameSync(soleDirectory(partial), directory);
        fs.chmodSync(directory, 0o755);
    } finally {
        fs.rmSync(partial, { recursive: true, force: true });
    }
    refuseRepository(directory);
}

/** @throws UserError for what is none that can be unpacked. */
export function archiveKind(file: string): ArchiveKind {
    const head = Buffer.alloc(512);
    const descriptor = fs.openSync(file, "r");
    let length: number;
    try {
        length = fs.readSync(descriptor, head, 0, head.length, 0);
    } finally {
        fs.closeSync(descriptor);
    }
    const begins = (...bytes: readonly number[]) => bytes.every((byte, index) => head[index] === byte);
    if (begins(0x50, 0x4b, 3, 4) || begins(0x50, 0x4b, 5, 6)) {
        return "zip";
    }
    if (begins(0x1f, 0x8b)) {
        return "gzip";
    }
    if (begins(0x28, 0xb5, 0x2f, 0xfd)) {
        return "zstd";
    }
    if (length === 512 && isTarHeader(head)) {
        return "tar";
    }
    const other =
        (begins(0x42, 0x5a, 0x68) && "is packed with bzip2") ||
        (begins(0xfd, 0x37, 0x7a, 0x58, 0x5a) && "is packed with xz") ||
        (begins(0x37, 0x7a, 0xbc, 0xaf) && "is a 7z archive") ||
        (length === 0 && "is empty") ||
        (/^\s*(<!doctype|<html)/i.test(head.toString("latin1")) &&
            "is a web page; for a git repository, write git+https://, or .git at the end") ||
        "is no archive";
    throw new UserError(`the source ${other}; it must be tar, tar.gz, tar.zst or zip`);
}

/** The header's checksum: of its bytes, with its own field as spaces (POSIX, ustar). */
function isTarHeader(head: Buffer): boolean {
    const expected = Number.parseInt(head.toString("latin1", 148, 156).replace(/\0.*$/s, "").trim(), 8);
    const sum = head.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
    return expected === sum || head.every((byte) => byte === 0);
}

function soleDirectory(directory: string): string {
    const [only, ...more] = fs.readdirSync(directory, { withFileTypes: true });
    return only?.isDirectory() && more.length === 0 ? path.join(directory, only.name) : directory;
}

/**
 * What looks like a bare repository is one to git, with a configuration that could name commands (git-config,
 * safe.bareRepository); with a `commondir`, objects and refs may be elsewhere (gitrepository-layout).
 */
export function refuseRepository(directory: string): void {
    const names = new Set(fs.readdirSync(directory));
    if (names.has("HEAD") && (names.has("commondir") || (names.has("objects") && names.has("refs")))) {
        throw new UserError("the source is a bare git repository; hand over its files, or the address of a git server");
    }
}
