import { createHash } from "node:crypto";
import { Transform, type TransformCallback } from "node:stream";

/** Passes bytes on, and counts and hashes them. */
export class Measure extends Transform {
    public size = 0;
    private readonly hash = createHash("sha256");

    public override _transform(chunk: Buffer, _encoding: BufferEncoding, next: TransformCallback): void {
        this.hash.update(chunk);
        this.size += chunk.length;
        next(null, chunk);
    }

    /** Hexadecimal; once, when all has passed. */
    public sha256(): string {
        return this.hash.digest("hex");
    }
}
