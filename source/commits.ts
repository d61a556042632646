import { git, gitOutput } from "./git";

/** A commit, as a tag or a hash named it, and what is in it. */
export interface NamedCommit {
    readonly hash: string;
    /** The hash as short as it is unambiguous. */
    readonly short: string;
    /** Whether it is a tag that has the name. */
    readonly isTag: boolean;
    /** The git tree id of the directory asked for; undefined where the commit has no such directory. */
    readonly tree?: string;
    readonly hasSubmodules: boolean;
    /** Seconds since 1970. */
    readonly time: number;
}

/** Arguments of one process: well below what any system allows. */
const atOnce = 500;

/**
 * Finds commits by their names, as many as there are, with a handful of processes: one for each question and name would take
 * minutes for a thousand.
 *
 * @param prefix the directory's place in the repository, with a slash at its end
 * @returns by name; there is none for a name that the repository does not know
 */
export function findCommits(
    directory: string,
    prefix: string,
    names: readonly string[],
): ReadonlyMap<string, NamedCommit> {
    // Neither a ref nor a revision can contain one of these, and here they would separate two.
    const possible = [...new Set(names)].filter((name) => !/[\p{Cc}]/u.test(name));
    const found = possible.flatMap((name) => [
        `${name}^{commit}`,
        `${name}^{commit}:${prefix.replace(/\/$/, "")}`,
        `${name}^{commit}:${prefix}.gitmodules`,
    ]);
    const objects = idsOf(directory, found);
    const commits = possible.flatMap((name, index) => {
        const [hash, tree, submodules] = objects.slice(3 * index, 3 * index + 3);
        return hash === undefined ? [] : [{ name, hash, tree, hasSubmodules: submodules !== undefined }];
    });
    const described = describe(directory, [...new Set(commits.map(({ hash }) => hash))]);
    const tags = tagsAmong(directory, commits);
    return new Map(
        commits.map(({ name, ...commit }) => {
            const { short, time } = described.get(commit.hash) ?? { short: commit.hash, time: NaN };
            return [name, { ...commit, short, time, isTag: tags.has(name) }];
        }),
    );
}

/** The id of each object; undefined for one that there is not, or not without doubt. */
function idsOf(directory: string, revisions: readonly string[]): readonly (string | undefined)[] {
    if (revisions.length === 0) {
        return [];
    }
    const lines = gitOutput(directory, ["cat-file", "--batch-check=%(objectname) %(objecttype)"], {}, revisions);
    return lines.split("\n").map((line) => /^([0-9a-f]{40,64}) \w+$/.exec(line)?.[1]);
}

function describe(
    directory: string,
    hashes: readonly string[],
): ReadonlyMap<string, { readonly short: string; readonly time: number }> {
    if (hashes.length === 0) {
        return new Map();
    }
    const lines = gitOutput(directory, ["log", "--no-walk=unsorted", "--format=%H %h %ct", "--stdin"], {}, hashes);
    return new Map(
        lines.split("\n").map((line) => {
            const [hash = "", short = "", time = ""] = line.split(" ");
            return [hash, { short, time: Number(time) }];
        }),
    );
}

function tagsAmong(directory: string, commits: readonly { readonly name: string }[]): ReadonlySet<string> {
    const tags = new Set<string>();
    // Which git takes for what is checked out, whatever tags there are (gitrevisions(7)): one process less for most builds.
    const names = commits.map(({ name }) => name).filter((name) => name !== "HEAD");
    for (let index = 0; index < names.length; index += atOnce) {
        const refs = names.slice(index, index + atOnce).map((name) => `refs/tags/${name}`);
        // What is not a name that a ref can have is none: git says so of one, and answers for the others.
        const listed = git(directory, ["for-each-ref", "--format=%(refname)", ...refs]).stdout;
        listed.split("\n").forEach((ref) => tags.add(ref.replace(/^refs\/tags\//, "")));
    }
    return tags;
}
