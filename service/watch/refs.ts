import { gitOutput } from "./git";
import type { RefPattern } from "./patterns";

/** What a repository has: the commits of its branches and tags, by their full names, and the branch its HEAD is on. */
export interface Refs {
    readonly commits: ReadonlyMap<string, string>;
    /** The full name; absent where HEAD is on no branch, or on one without a commit. */
    readonly head?: string;
}

/**
 * Asks a repository, near or far, what its branches and tags are. Only for those that matter, where they are known by name: a
 * server of today then sends no others.
 *
 * @param known refs that are asked for too, so that their end is noticed
 * @throws Error with the reason in one line, when it does not answer
 */
export async function listRefs(
    address: string,
    patterns: readonly RefPattern[],
    known: readonly string[],
    options: { readonly directory: string; readonly signal?: AbortSignal },
): Promise<Refs> {
    const wanted = new Set(["HEAD", ...known]);
    for (const { kind, ref } of patterns) {
        if (kind !== "default") {
            wanted.add(ref ?? (kind === "tag" ? "refs/tags/*" : "refs/heads/*"));
        }
    }
    for (const ref of [...wanted].filter((name) => name.startsWith("refs/tags/") && !name.endsWith("*"))) {
        // The commit of an annotated tag is told apart from the tag itself.
        wanted.add(`${ref}^{}`);
    }
    const output = await gitOutput(["ls-remote", "--symref", "--", address, ...wanted], {
        ...options,
        timeoutSeconds: 60,
    });
    return parseRefs(output, wanted);
}

/** https://git-scm.com/docs/git-ls-remote#_output */
function parseRefs(output: string, wanted: ReadonlySet<string>): Refs {
    const commits = new Map<string, string>();
    let head: string | undefined;
    let headCommit: string | undefined;
    for (const line of output.split("\n")) {
        const [value = "", name = ""] = line.split("\t");
        const symbolic = /^ref: (refs\/heads\/.+)$/.exec(value);
        if (symbolic && name === "HEAD") {
            head = symbolic[1];
        } else if (/^[0-9a-f]{40,64}$/.test(value)) {
            const ref = name.replace(/\^\{\}$/, "");
            if (name === "HEAD") {
                headCommit = value;
            } else if (isWanted(ref, wanted)) {
                // A tag's commit comes after the tag.
                commits.set(ref, value);
            }
        }
    }
    if (head !== undefined && headCommit !== undefined) {
        commits.set(head, headCommit);
        return { commits, head };
    }
    return { commits };
}

/** `git ls-remote refs/heads/x` finds `refs/remotes/refs/heads/x` too. */
function isWanted(ref: string, wanted: ReadonlySet<string>): boolean {
    return (
        wanted.has(ref) ||
        (wanted.has("refs/heads/*") && ref.startsWith("refs/heads/")) ||
        (wanted.has("refs/tags/*") && ref.startsWith("refs/tags/"))
    );
}

/** The refs that are watched, of those that there are. */
export function watchedRefs(refs: Refs, patterns: readonly RefPattern[]): readonly string[] {
    const names = [...refs.commits.keys()].filter((ref) => patterns.some(({ matches }) => matches(ref)));
    const head = patterns.some(({ kind }) => kind === "default") ? refs.head : undefined;
    return [...new Set([...(head === undefined ? [] : [head]), ...names])].sort();
}
