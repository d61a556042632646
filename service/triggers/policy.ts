import * as semver from "semver";

import { UserError } from "../../contract/errors";

/** Which tags of a repository are watched; the names are Keel's (https://keel.sh/docs/#policies). */
export type Policy =
    /** The one tag, whatever it stands for. */
    | { readonly kind: "force" }
    /** Newer versions: of any kind, or with the same major, or with the same major and minor version. */
    | { readonly kind: "all" | "major" | "minor" | "patch" }
    /** Tags that a pattern fits. */
    | { readonly kind: "pattern"; readonly pattern: RegExp };

/**
 * Reads `force`, `all`, `major`, `minor`, `patch`, `glob:…` (`*` and `?`) or `regexp:…`.
 *
 * @throws UserError, one line
 */
export function readPolicy(text: string): Policy {
    switch (text) {
        case "force":
        case "all":
        case "major":
        case "minor":
        case "patch":
            return { kind: text };
    }
    const [, kind, pattern = ""] = /^(glob|regexp):(.+)$/s.exec(text) ?? [];
    if (kind === undefined) {
        throw new UserError(
            `\`${text}\` is no policy; there are: force, all, major, minor, patch, glob:PATTERN, regexp:PATTERN`,
        );
    }
    try {
        return { kind: "pattern", pattern: kind === "glob" ? globPattern(pattern) : new RegExp(`^(?:${pattern})$`) };
    } catch {
        throw new UserError(`\`${pattern}\` is no regular expression`);
    }
}

function globPattern(glob: string): RegExp {
    const literal = glob.replace(/[.+^${}()|[\]\\]/g, "\\$&");
    return new RegExp(`^${literal.replaceAll("*", ".*").replaceAll("?", ".")}$`);
}

/** The version that a tag names: `1.2.3`, `v1.2.3`, `1.2` and the like. */
function versionOf(tag: string): semver.SemVer | undefined {
    const [, numbers = "", rest = ""] = /^v?(\d+(?:\.\d+){0,2})([-+].*)?$/.exec(tag) ?? [];
    const [major, minor = "0", patch = "0"] = numbers.split(".");
    return numbers === "" ? undefined : (semver.parse(`${major ?? ""}.${minor}.${patch}${rest}`) ?? undefined);
}

/**
 * The tags whose digests are to be looked at.
 *
 * @param current what was last built; of the policies with versions, nothing that is older counts
 */
export function tagsToWatch(policy: Policy, current: string, tags: readonly string[]): readonly string[] {
    switch (policy.kind) {
        case "force":
            return [current];
        case "pattern":
            return tags.filter((tag) => policy.pattern.test(tag));
        default: {
            const newest = newestVersion(policy.kind, current, tags);
            return newest === undefined ? [] : [newest];
        }
    }
}

/** The newest version that the policy lets follow the current one; the current one too, while there is no newer. */
function newestVersion(kind: "all" | "major" | "minor" | "patch", current: string, tags: readonly string[]) {
    const from = versionOf(current);
    const fits = (version: semver.SemVer): boolean => {
        if (from === undefined) {
            return kind === "all" || version.prerelease.length === 0;
        }
        return (
            version.compare(from) >= 0 &&
            // As Keel has it: who runs releases is given no prerelease, and who runs `-rc` is given `-rc`, but with `all`.
            (kind === "all" || channelOf(version) === channelOf(from)) &&
            (kind === "all" || kind === "major" || version.major === from.major) &&
            (kind !== "patch" || version.minor === from.minor)
        );
    };
    const found = tags
        .flatMap((tag) => {
            const version = versionOf(tag);
            return version && fits(version) ? [{ tag, version }] : [];
        })
        // `1.2.0` says more than `1.2`, where both are there.
        .sort((a, b) => b.version.compare(a.version) || b.tag.length - a.tag.length || a.tag.localeCompare(b.tag));
    return found[0]?.tag;
}

/** `rc` of `1.2.3-rc.1`; empty for a release. */
function channelOf({ prerelease }: semver.SemVer): string {
    return String(prerelease[0] ?? "").replace(/\d+$/, "");
}
