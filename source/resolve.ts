import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../contract/errors";
import { buildTagPattern } from "../contract/layout";
import { git, gitOutput } from "./git";
import { extractCommit, ObjectStore } from "./objectStore";

/** Where the sources of a build are, and which of them to build. */
export interface SourceRequest {
    /** A directory, absolute or relative to `projectDirectory`: a repository, a directory in one, or a plain tree. */
    readonly source: string;
    /** A tag or commit of the repository. Empty: what `HEAD` is, and then the tree must be clean. */
    readonly buildTag?: string;
    /** Builds uncommitted changes too; the BUILD_TAG then ends in `-dirty`. */
    readonly allowDirty?: boolean;
    /** Looks at the commit only: for those who ask about a build, and do not want one. */
    readonly ignoreChanges?: boolean;
    readonly projectDirectory: string;
    /** What is the same for all builds of one directory that are planned together: found once. */
    readonly known?: KnownSources;
}

/** By directory. */
export type KnownSources = Map<string, KnownSource>;

interface KnownSource {
    /** The directory's place in its repository; undefined when no repository tracks it. */
    readonly prefix: string | undefined;
    /** Of `origin`. */
    readonly repository: string | undefined;
}

/** A tree that can be built, and what it is called. */
export interface ResolvedSource {
    readonly buildTag: string;
    /** The full commit hash; absent for a tree that is not under git. */
    readonly commit?: string;
    /** The git tree id of the directory that is built. */
    readonly tree: string;
    /** The directory's place in its repository, with a slash at its end; empty for the whole of it. */
    readonly prefix: string;
    /** Where the commit can be had: the repository's `origin` as an https address, where it has one. */
    readonly repository?: string;
    /** Seconds since 1970: the commit's time. */
    readonly sourceDateEpoch: number;
    /** What a person should know about how the source was found. */
    readonly notes: readonly string[];
    /** Writes the tree, and nothing else, to a directory. */
    readonly extract: (directory: string) => void;
}

/**
 * The time given to files of a tree without a commit, in seconds: 1980-01-01T00:00:00Z, the earliest that the zip format
 * can hold, and so a common choice for reproducible archives.
 */
const epochWithoutCommit = 315_532_800;

/**
 * Finds the tree to build and its BUILD_TAG. Reads the repository, changes nothing in it.
 *
 * @throws UserError, one line each: no such directory, no commit yet, unknown tag, uncommitted changes, a repository of
 * another user, a tag that cannot be a BUILD_TAG.
 */
export function resolveSource(request: SourceRequest): ResolvedSource {
    if (/^([a-z][a-z0-9+.-]*:\/\/|[^/]+@[^/]+:)/i.test(request.source)) {
        throw new UserError(
            `SOURCE is a remote address (${request.source}); clone it, then give the clone's directory`,
        );
    }
    const directory = path.resolve(request.projectDirectory, request.source);
    if (!fs.existsSync(directory)) {
        throw new UserError(`there is no directory ${directory}; set SOURCE, or the stack's \`source\`, to one`);
    }
    if (!fs.statSync(directory).isDirectory()) {
        throw new UserError(`${directory} is not a directory; SOURCE names the directory with the Dockerfile`);
    }
    const found = request.known?.get(directory) ?? look(directory);
    request.known?.set(directory, found);
    const { prefix, repository } = found;
    if (prefix === undefined) {
        return resolvePlainTree(directory, request);
    }
    const place = { directory, prefix, repository };
    return request.buildTag ? resolveCommit(place, request.buildTag) : resolveHead(place, request);
}

/** Where in which repository a commit's tree is. */
interface Place {
    readonly directory: string;
    readonly prefix: string;
    readonly repository: string | undefined;
}

function look(directory: string): KnownSource {
    const prefix = locate(directory);
    return { prefix, repository: prefix === undefined ? undefined : repositoryAddress(directory) };
}

/** The directory's place in its repository, or undefined when no repository tracks it. */
function locate(directory: string): string | undefined {
    const found = git(directory, ["rev-parse", "--show-prefix", "--is-inside-work-tree"]);
    // Of a bare repository, git prints no prefix line at all.
    const lines = found.stdout.trimEnd().split("\n");
    const inside = lines.at(-1);
    const prefix = lines.length > 1 ? (lines[0] ?? "") : "";
    if (found.status !== 0 || inside !== "true") {
        if (found.status === 0 || /cannot use bare repository/.test(found.stderr)) {
            throw new UserError(
                `${directory} is a bare repository, or inside of a .git, or has one's layout; ` +
                    "give the directory of a checkout",
            );
        }
        if (!/not a git repository/.test(found.stderr)) {
            throw new Error(`git in ${directory}: ${found.stderr.trim()}`);
        }
        return undefined;
    }
    // A release archive unpacked in an ignored directory of some other repository is not a part of that repository.
    if (prefix !== "" && git(directory, ["check-ignore", "--quiet", "."]).status === 0) {
        return undefined;
    }
    return prefix;
}

function resolvePlainTree(directory: string, request: SourceRequest): ResolvedSource {
    const store = ObjectStore.withoutRepository(directory);
    const tree = store.writeWorkingTree("");
    const buildTag = request.buildTag ?? "";
    if (buildTag !== "") {
        throw new UserError(
            `${directory} is not under git, so there is no tag or commit ${buildTag}; leave BUILD_TAG out`,
        );
    }
    return {
        buildTag: `tree-${tree.slice(0, 12)}`,
        tree,
        prefix: "",
        sourceDateEpoch: epochWithoutCommit,
        notes: [`${directory} is not under git: BUILD_TAG is a hash of its content`],
        extract: (target) => store.extract(tree, epochWithoutCommit, target),
    };
}

function resolveCommit(place: Place, name: string): ResolvedSource {
    const { directory } = place;
    const commit = git(directory, ["rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`]);
    if (commit.status !== 0) {
        throw new UserError(
            `there is no tag or commit ${name} in ${directory}; \`git -C ${directory} tag\` lists the tags`,
        );
    }
    const hash = commit.stdout.trim();
    // Only a tag's name stays what it is; a branch moves on, so its commit labels the build.
    const isTag = git(directory, ["show-ref", "--verify", "--quiet", `refs/tags/${name}`]).status === 0;
    const buildTag = isTag ? name : gitOutput(directory, ["rev-parse", "--short", hash]);
    if (!buildTagPattern.test(buildTag)) {
        throw new UserError(
            `the tag ${buildTag} cannot be a BUILD_TAG (at most 63 of A-Z a-z 0-9 _ . -, no other at either end); ` +
                `give the commit: BUILD_TAG=${hash.slice(0, 12)}`,
        );
    }
    return committed(place, hash, buildTag);
}

function resolveHead(place: Place, request: SourceRequest): ResolvedSource {
    const { directory, prefix, repository } = place;
    const head = git(directory, ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]);
    if (head.status !== 0) {
        throw new UserError(`${directory} has no commit yet; a build is labelled with a commit, so commit first`);
    }
    const hash = head.stdout.trim();
    const short = gitOutput(directory, ["rev-parse", "--short", hash]);
    const changes = git(directory, ["status", "--porcelain", "--untracked-files=all", "-z", "--", "."]);
    const changed = changedPaths(changes.stdout);
    if (changed.length === 0 || (request.ignoreChanges && !request.allowDirty)) {
        return committed(place, hash, short);
    }
    if (!request.allowDirty) {
        const named = changed.slice(0, 5).join(", ") + (changed.length > 5 ? ` and ${changed.length - 5} more` : "");
        throw new UserError(
            `uncommitted changes in ${directory}: ${named}; commit them, name a commit (BUILD_TAG=${short}), ` +
                "or allow them (ALLOW_DIRTY=1)",
        );
    }
    const store = ObjectStore.ofRepository(directory);
    const tree = store.writeWorkingTree(prefix);
    const sourceDateEpoch = commitTime(directory, hash);
    return {
        // With a piece of the tree's id: two states of one dirty tree are two builds.
        buildTag: `${short}-${tree.slice(0, 7)}-dirty`,
        commit: hash,
        tree,
        prefix,
        repository,
        sourceDateEpoch,
        notes: [`building uncommitted changes of ${changed.length} ${changed.length === 1 ? "file" : "files"}`],
        extract: (target) => store.extract(tree, sourceDateEpoch, target),
    };
}

function committed({ directory, prefix, repository }: Place, commit: string, buildTag: string): ResolvedSource {
    const [time = "", root = ""] = gitOutput(directory, ["show", "-s", "--format=%ct %T", commit]).split(" ");
    const id = prefix === "" ? root : treeAt(directory, commit, prefix);
    const sourceDateEpoch = Number(time);
    const notes = git(directory, ["cat-file", "-e", `${id}:.gitmodules`]).status === 0 ? [submoduleNote] : [];
    return {
        buildTag,
        commit,
        tree: id,
        prefix,
        repository,
        sourceDateEpoch,
        notes,
        extract: (target) => extractCommit(directory, commit, target),
    };
}

function treeAt(directory: string, commit: string, prefix: string): string {
    const tree = git(directory, ["rev-parse", "--verify", "--quiet", `${commit}:${prefix.replace(/\/$/, "")}`]);
    if (tree.status !== 0) {
        throw new UserError(
            `commit ${commit.slice(0, 12)} has no directory ${prefix}; commit it, or name a later commit`,
        );
    }
    return tree.stdout.trim();
}

/**
 * The address of `origin`, the same however it was cloned (https, ssh, with a token in it): it becomes a label of the image.
 */
function repositoryAddress(directory: string): string | undefined {
    const { status, stdout } = git(directory, ["remote", "get-url", "origin"]);
    const [, host, path] =
        /^(?:(?:https?|ssh|git):\/\/)?(?:[^@/\s]+@)?([\w.-]+\.[a-z]+)(?::\d+(?=\/))?[:/]\/?([\w./~-]+?)(?:\.git)?\/?$/i.exec(
            stdout.trim(),
        ) ?? [];
    return status === 0 && host && path ? `https://${host.toLowerCase()}/${path}` : undefined;
}

const submoduleNote = "the source has git submodules: their content is not part of a commit and is not built";

function commitTime(directory: string, commit: string): number {
    return Number(gitOutput(directory, ["show", "-s", "--format=%ct", commit]));
}

/** The paths in `git status --porcelain -z`: `XY path`, and for a rename one more field with the old path. */
function changedPaths(porcelain: string): readonly string[] {
    const fields = porcelain.split("\0").filter((field) => field !== "");
    const paths: string[] = [];
    for (let index = 0; index < fields.length; index++) {
        const field = fields[index] ?? "";
        paths.push(field.slice(3));
        if (/^[RC]|^.[RC]/.test(field)) {
            index++;
        }
    }
    return paths;
}
