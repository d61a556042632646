import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { UserError } from "../../contract/errors";
import { ByteLimit } from "./byteLimit";

/** An archive that somebody has handed over. */
export interface Upload {
    /** What a build's source is then: `upload:<id>`. */
    readonly id: string;
    readonly bytes: number;
    readonly sha256: string;
}

/** Archives that were uploaded, in a directory of their own, until they are taken or too old. */
export class Uploads {
    public constructor(private readonly directory: string) {
        fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    }

    /** Takes a stream in, whole or not at all. @throws UserError where it is larger than the limit. */
    public async receive(stream: Readable, limit: number): Promise<Upload> {
        const id = randomBytes(16).toString("hex");
        const partial = path.join(this.directory, `.${id}`);
        const hash = createHash("sha256");
        const counted = new ByteLimit(limit, "the upload");
        counted.on("data", (chunk: Buffer) => hash.update(chunk));
        try {
            await pipeline(stream, counted, fs.createWriteStream(partial, { flags: "wx", mode: 0o600, flush: true }));
            fs.renameSync(partial, this.file(id));
        } catch (error) {
            fs.rmSync(partial, { force: true });
            throw error;
        }
        return { id, bytes: counted.seen, sha256: hash.digest("hex") };
    }

    /** @throws UserError where there is none of that name. */
    public find(id: string): string {
        const file = this.file(id);
        if (!/^[0-9a-f]{32}$/.test(id) || !fs.existsSync(file)) {
            throw new UserError(`there is no upload ${id}: it was never made, or is too old; upload the archive again`);
        }
        return file;
    }

    public remove(id: string): void {
        fs.rmSync(this.find(id), { force: true });
    }

    /** Removes what is older, and what a killed service left half-written, unless it is in use. */
    public removeOlder(milliseconds: number, isUsed: (id: string) => boolean): void {
        for (const name of fs.readdirSync(this.directory)) {
            const file = path.join(this.directory, name);
            const age = Date.now() - (fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
            if (age > milliseconds && !isUsed(name)) {
                fs.rmSync(file, { force: true });
            }
        }
    }

    private file(id: string): string {
        return path.join(this.directory, id);
    }
}
