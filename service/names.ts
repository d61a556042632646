import { createHash, randomBytes } from "node:crypto";

/** Twelve random hexadecimal digits: enough that no two of a service's builds meet. */
export function newId(): string {
    return randomBytes(6).toString("hex");
}

/** 64 bits: nobody finds other words for a name that is there. */
const hashDigits = 16;

/**
 * A DNS label that a person can tell from others: the words, as far as they fit, and a hash of all of them.
 *
 * @param limit at most this many characters, as its user may put something before it
 */
export function readableName(words: readonly string[], limit: number): string {
    const hash = createHash("sha256").update(words.join("\0")).digest("hex").slice(0, hashDigits);
    const readable = words
        .join("-")
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .slice(0, limit - hash.length - 1)
        .replace(/^-+|-+$/g, "");
    return readable === "" ? `x-${hash}` : `${readable}-${hash}`;
}
