import { createHash } from "node:crypto";

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names */
const longest = 63;
const prefix = "ke1";
/** A name that says nothing of the branch, because the repository's takes all the room, is of no use. */
const longestRepository = 20;

/**
 * The name of a branch's lane, which is that of its stack and its namespace: `ke1-<repository>-<branch>-<hash>`. A person
 * knows by it what it is of. Two branches never have one name, though what is readable of them may be the same
 * (`fix/a` and `fix-a`): the hash is of what they really are called.
 *
 * @param owner who keeps the state of it: two people who watch one branch, each on a machine of their own, have one cluster
 * @param repository its address
 * @param ref the branch's full name, or what stands for all tags
 */
export function laneName(owner: string, repository: string, ref: string): string {
    const hash = createHash("sha256").update([owner, repository, ref].join("\0")).digest("hex").slice(0, 8);
    const ofRepository = slug(repositoryName(repository), longestRepository);
    const room =
        longest - [prefix, ofRepository, "", hash].filter((part, index) => index === 2 || part !== "").join("-").length;
    const ofRef = slug(ref.replace(/^refs\/(heads\/)?/, ""), room);
    return [prefix, ofRepository, ofRef, hash].filter((part) => part !== "").join("-");
}

/** What a person calls a repository by: the last part of its address. */
export function repositoryName(address: string): string {
    const last = address
        .replace(/[/:]+$/, "")
        .replace(/\.git$/, "")
        .replace(/\/+$/, "")
        .split(/[/:]/)
        .at(-1);
    return last === undefined || last === "" ? "repository" : last;
}

/** Lower-case letters, digits, and hyphens in place of the rest; accents are left out. */
function slug(text: string, length: number): string {
    return text
        .normalize("NFKD")
        .replace(/\p{M}/gu, "")
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .replace(/^-+/, "")
        .slice(0, length)
        .replace(/-+$/, "");
}
