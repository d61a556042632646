import { Transform, type TransformCallback } from "node:stream";

import { UserError } from "../../contract/errors";

/** Lets so many bytes through, and fails at the next. */
export class ByteLimit extends Transform {
    public seen = 0;

    public constructor(
        private readonly limit: number,
        /** The beginning of the message: "the archive". */
        private readonly what: string,
    ) {
        super();
    }

    public exceeded(): UserError {
        return new UserError(
            `${this.what} is larger than ${sizeText(this.limit)}, which is the most that a source may be`,
        );
    }

    public override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
        this.seen += chunk.length;
        if (this.seen > this.limit) {
            callback(this.exceeded());
        } else {
            callback(null, chunk);
        }
    }
}

/** As people write sizes: `2 GiB`, `10 bytes`. */
export function sizeText(bytes: number): string {
    const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
    return `${Number((bytes / 1024 ** power).toFixed(1))} ${units[power] ?? "bytes"}`;
}
