import { createHash } from "node:crypto";

/** The namespace of this project's names, a random UUID made once. */
const ownNamespace = "6f1d2c52-3f0a-4c1b-9a52-0c7f6f3a9d44";

/**
 * A UUID made from a name, version 5 (https://www.rfc-editor.org/rfc/rfc9562#section-5.5): role definitions and assignments
 * are named by UUIDs, and the same stack must name them the same each time.
 */
export function uuidOf(name: string): string {
    const namespace = Buffer.from(ownNamespace.replaceAll("-", ""), "hex");
    const hash = createHash("sha1").update(namespace).update(name).digest().subarray(0, 16);
    hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
    hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
    return hash.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
