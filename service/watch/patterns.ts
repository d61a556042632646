import { UserError } from "../../contract/errors";

/** Which refs of a repository are watched. */
export interface RefPattern {
    /** As it was written, for messages; empty for the default branch. */
    readonly text: string;
    readonly kind: "default" | "branch" | "tag";
    /** The ref's full name, where there is only one such; undefined for a glob and for the default branch. */
    readonly ref?: string;
    readonly matches: (ref: string) => boolean;
}

const heads = "refs/heads/";
const tags = "refs/tags/";

/** The branch that a repository's HEAD is on. */
export const defaultBranch: RefPattern = { text: "", kind: "default", matches: () => false };

/**
 * What is written after the `^`: a branch; `tags/v1` for a tag; `*` and `?` for any characters and any one, a slash
 * included, as `git branch --list` has it. `refs/heads/tags/x` is a branch that is called so.
 *
 * @throws UserError where it cannot be the name of one (https://git-scm.com/docs/git-check-ref-format)
 */
export function parsePattern(text: string): RefPattern {
    const full = text.startsWith(heads) || text.startsWith(tags) ? text : text.replace(/^(tags\/)?/, fullPrefix);
    const kind = full.startsWith(tags) ? "tag" : "branch";
    const name = full.slice(kind === "tag" ? tags.length : heads.length);
    if (
        name === "" ||
        /[\x00-\x20\x7f~^:[\\]|\.\.|@\{|\/\/|\.lock(\/|$)|(^|\/)\.|[./]$|^[-/]/.test(name) ||
        name.length > 200
    ) {
        throw new UserError(`\`${text}\` is not the name of a branch; write main, "release/*", tags/v1 or "tags/v*"`);
    }
    if (!/[*?]/.test(name)) {
        return { text, kind, ref: full, matches: (ref) => ref === full };
    }
    const parts = full.replace(/\*+/g, "*").split("*");
    return { text, kind, matches: (ref) => globMatches(parts, ref) };
}

function fullPrefix(prefix: string): string {
    return prefix === "" ? heads : tags;
}

/** Each part after the one before it, the first at the beginning, the last at the end; never tries twice. */
function globMatches(parts: readonly string[], text: string): boolean {
    const [first = "", ...rest] = parts;
    if (!matchesAt(first, text, 0)) {
        return false;
    }
    const last = rest.pop();
    if (last === undefined) {
        return text.length === first.length;
    }
    let position = first.length;
    for (const part of rest) {
        while (!matchesAt(part, text, position)) {
            position++;
            if (position > text.length) {
                return false;
            }
        }
        position += part.length;
    }
    return text.length - last.length >= position && matchesAt(last, text, text.length - last.length);
}

function matchesAt(part: string, text: string, position: number): boolean {
    return (
        position + part.length <= text.length &&
        Array.from({ length: part.length }).every((_, at) => part[at] === "?" || part[at] === text[position + at])
    );
}

/** What a ref is called by people: `main`, `tags/v1`. */
export function shortRef(ref: string): string {
    return ref.startsWith(heads) ? ref.slice(heads.length) : ref.replace(/^refs\//, "");
}

/** Whatever is no tag. */
export function isBranch(ref: string): boolean {
    return !ref.startsWith(tags);
}
