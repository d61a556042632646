import type { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";

import { extract, type Header } from "tar-stream";

import { messageOf, UserError } from "../../contract/errors";
import { ByteLimit } from "./byteLimit";
import type { SourceLimits } from "./policy";
import type { TreeWriter } from "./treeWriter";

/** A header, and what a file is padded with, at most. */
const entryOverhead = 4096;

/** One entry; `content` must be read to its end, or resumed. */
export type TarVisitor = (header: Header, content: Readable) => Promise<void> | void;

/** Unpacks a tar archive, packed or not. */
export async function unpackTar(
    stream: Readable,
    packing: "tar" | "gzip" | "zstd",
    writer: TreeWriter,
    limits: Pick<SourceLimits, "unpackedBytes" | "files">,
    signal: AbortSignal,
): Promise<void> {
    await readTar(stream, packing, limits, signal, (header, content) => writeEntry(writer, header, content));
}

/** Goes through a tar archive, entry by entry. */
export async function readTar(
    stream: Readable,
    packing: "tar" | "gzip" | "zstd",
    limits: Pick<SourceLimits, "unpackedBytes" | "files">,
    signal: AbortSignal,
    visit: TarVisitor,
): Promise<void> {
    // What is unpacked and thrown away costs time too: the padding of a bomb.
    const counted = new ByteLimit(
        limits.unpackedBytes + Math.min(limits.files, 1e9) * entryOverhead,
        "the unpacked source",
    );
    const tar = extract();
    let failure: unknown;
    tar.on("entry", (header, content, next) => {
        content.on("error", () => undefined);
        const readable = content as unknown as Readable;
        Promise.resolve()
            .then(() => visit(header, readable))
            .then(
                () => {
                    readable.resume();
                    next();
                },
                (error: unknown) => {
                    failure = error;
                    next(error as Error);
                },
            );
    });
    const steps: Transform[] = packing === "tar" ? [] : [packing === "gzip" ? createGunzip() : createZstdDecompress()];
    try {
        await pipeline([stream, ...steps, counted, tar as unknown as NodeJS.WritableStream], { signal });
    } catch (error) {
        if (signal.aborted) {
            throw signal.reason;
        }
        const cause = failure ?? error;
        throw cause instanceof UserError ? cause : new UserError(`the source is a broken archive: ${messageOf(cause)}`);
    }
}

/** As POSIX has them, and GNU's contiguous file, which is a file. */
export async function writeEntry(writer: TreeWriter, header: Header, content: Readable): Promise<void> {
    const { name, type, linkname, mode } = header;
    switch (type) {
        case "file":
        case "contiguous-file":
            if (name.endsWith("/")) {
                writer.directory(name);
                content.resume();
            } else {
                await writer.file(name, mode, content);
            }
            break;
        case "directory":
            writer.directory(name);
            break;
        case "symlink":
            writer.link(name, linkname);
            break;
        case "link":
            await writer.copy(name, linkname);
            break;
        default:
            writer.refuseKind(name, type);
    }
}
