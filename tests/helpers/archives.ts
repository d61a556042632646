import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { buffer } from "node:stream/consumers";
import { crc32, createGzip, deflateRawSync, gzipSync } from "node:zlib";
import type { Readable, Writable } from "node:stream";

import { type Header, pack } from "tar-stream";

export type TarEntry = Partial<Header> & { readonly name: string; readonly content?: string };

/** A tar archive with just these entries, whatever their names. */
export async function tarOf(...entries: readonly TarEntry[]): Promise<Buffer> {
    const stream = pack();
    for (const { content = "", ...header } of entries) {
        stream.entry(header, content);
    }
    stream.finalize();
    return buffer(stream);
}

export async function tarGzOf(...entries: readonly TarEntry[]): Promise<Buffer> {
    return gzipSync(await tarOf(...entries));
}

/** A tar.gz of one file of many zeroes, a thousandth of its size. */
export async function bombOf(file: string, bytes: number): Promise<void> {
    const stream = pack();
    const written = pipeline(stream as unknown as Readable, createGzip(), createWriteStream(file));
    const entry = stream.entry({ name: "zeroes", size: bytes }) as unknown as Writable;
    const chunk = Buffer.alloc(1024 * 1024);
    for (let left = bytes; left > 0; left -= chunk.length) {
        if (!entry.write(left < chunk.length ? chunk.subarray(0, left) : chunk)) {
            await once(entry, "drain");
        }
    }
    entry.end();
    stream.finalize();
    await written;
}

export interface ZipEntry {
    readonly name: string;
    readonly content?: string | Buffer;
    /** With the kind of file. */
    readonly mode?: number;
    readonly flags?: number;
    /** What the archive says of the size, where that is a lie. */
    readonly claimed?: number;
}

/** A zip archive with just these entries (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT). */
export function zipOf(...entries: readonly ZipEntry[]): Buffer {
    const locals: Buffer[] = [];
    const directory: Buffer[] = [];
    let offset = 0;
    for (const { name, content = "", mode = 0o100644, flags = 0, claimed } of entries) {
        const data = Buffer.from(content);
        const packed = deflateRawSync(data);
        const bytes = Buffer.from(name);
        const common = Buffer.alloc(26);
        common.writeUInt16LE(20, 0);
        common.writeUInt16LE(flags | 0x800, 2);
        common.writeUInt16LE(8, 4);
        common.writeUInt32LE(crc32(data), 10);
        common.writeUInt32LE(packed.length, 14);
        common.writeUInt32LE(claimed ?? data.length, 18);
        common.writeUInt16LE(bytes.length, 22);
        const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, bytes, packed]);
        const tail = Buffer.alloc(14);
        tail.writeUInt32LE((mode << 16) >>> 0, 6);
        tail.writeUInt32LE(offset, 10);
        directory.push(Buffer.concat([Buffer.from("PK\x01\x02"), Buffer.from([20, 3]), common, tail, bytes]));
        locals.push(local);
        offset += local.length;
    }
    const central = Buffer.concat(directory);
    const end = Buffer.alloc(18);
    end.writeUInt16LE(entries.length, 4);
    end.writeUInt16LE(entries.length, 6);
    end.writeUInt32LE(central.length, 8);
    end.writeUInt32LE(offset, 12);
    return Buffer.concat([...locals, central, Buffer.from("PK\x05\x06"), end]);
}
