import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

import { UserError } from "../contract/errors";
import { git, gitOutput } from "./git";

/**
 * A throw-away git object directory beside a repository's own, so that hashing and archiving a working tree writes
 * nothing into the user's repository.
 */
export class ObjectStore {
    private constructor(
        private readonly directory: string,
        private readonly environment: NodeJS.ProcessEnv,
    ) {}

    public static ofRepository(directory: string): ObjectStore {
        const scratch = makeScratch();
        const objects = path.resolve(directory, gitOutput(directory, ["rev-parse", "--git-path", "objects"]));
        return new ObjectStore(directory, {
            GIT_OBJECT_DIRECTORY: path.join(scratch, "objects"),
            GIT_ALTERNATE_OBJECT_DIRECTORIES: objects,
            GIT_INDEX_FILE: path.join(scratch, "index"),
        });
    }

    public static withoutRepository(directory: string): ObjectStore {
        const scratch = makeScratch();
        const repository = path.join(scratch, "repository");
        gitOutput(scratch, ["init", "--quiet", "--bare", repository]);
        return new ObjectStore(directory, {
            GIT_DIR: repository,
            GIT_WORK_TREE: directory,
            GIT_INDEX_FILE: path.join(scratch, "index"),
        });
    }

    /** The tree id of the directory as it is on disk, without what its `.gitignore` files leave out. */
    public writeWorkingTree(prefix: string): string {
        // Line endings and filters of the person's own configuration must not change what the tree is.
        const plain = ["-c", "core.autocrlf=false", "-c", "core.safecrlf=false"];
        if (prefix !== "") {
            gitOutput(this.directory, [...plain, "read-tree", "HEAD"], this.environment);
        }
        gitOutput(this.directory, [...plain, "add", "--all", "--", "."], this.environment);
        this.refuseNestedRepositories();
        const argument = prefix === "" ? [] : [`--prefix=${prefix}`];
        return gitOutput(this.directory, ["write-tree", ...argument], this.environment);
    }

    /** To git, a repository inside of another is one entry without content: its files would be missing from the build. */
    private refuseNestedRepositories(): void {
        const links = gitOutput(this.directory, ["ls-files", "--stage", "-z", "--", "."], this.environment)
            .split("\0")
            .filter((entry) => entry.startsWith("160000 "))
            .map((entry) => entry.slice(entry.indexOf("\t") + 1));
        const known = this.submodules();
        const nested = links.find((link) => !known.includes(link));
        if (nested !== undefined) {
            throw new UserError(
                `${nested} in ${this.directory} is a git repository of its own, whose files would be missing; ` +
                    "commit it as a submodule, or take its .git away",
            );
        }
    }

    /** Paths of the submodules of HEAD, relative to the directory. */
    private submodules(): readonly string[] {
        const head = git(this.directory, ["ls-tree", "-r", "-z", "HEAD"], this.environment);
        return head.stdout
            .split("\0")
            .filter((entry) => entry.startsWith("160000 "))
            .map((entry) => entry.slice(entry.indexOf("\t") + 1));
    }

    /** Writes the files of a tree into a new directory, with `time` (seconds since 1970) as the time of each file. */
    public extract(tree: string, time: number, target: string): void {
        // `git archive` takes the files' time from a commit, and "now" from a tree: so the tree gets a commit.
        const date = `${time} +0000`;
        const commit = gitOutput(this.directory, ["commit-tree", "-m", "source", tree], {
            ...this.environment,
            GIT_AUTHOR_NAME: "ke1",
            GIT_AUTHOR_EMAIL: "ke1@localhost",
            GIT_AUTHOR_DATE: date,
            GIT_COMMITTER_NAME: "ke1",
            GIT_COMMITTER_EMAIL: "ke1@localhost",
            GIT_COMMITTER_DATE: date,
        });
        const root = gitOutput(this.directory, ["rev-parse", "--show-cdup"], this.environment);
        extractCommit(path.resolve(this.directory, root), commit, target, this.environment);
    }
}

/**
 * Writes a commit's files, as far as they are below `directory`, into a new directory: with the commit's time, and with
 * what `.gitattributes` says of archives (`export-ignore`, `export-subst`).
 */
export function extractCommit(
    directory: string,
    commit: string,
    target: string,
    environment: NodeJS.ProcessEnv = {},
): void {
    const scratch = makeScratch();
    const archive = path.join(scratch, "source.tar");
    gitOutput(directory, ["archive", "--format=tar", "-o", archive, commit], environment);
    fs.mkdirSync(target, { recursive: true });
    const unpacked = spawnSync("tar", ["-x", "-f", archive, "-C", target, "--no-same-owner"], { encoding: "utf8" });
    if (unpacked.status !== 0) {
        throw new Error(`tar could not unpack the source: ${unpacked.stderr.trim() || String(unpacked.error)}`);
    }
    fs.rmSync(archive);
}

const scratches = new Set<string>();

function makeScratch(): string {
    const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "ke1-source-"));
    fs.mkdirSync(path.join(scratch, "objects"));
    if (scratches.size === 0) {
        process.once("exit", () => scratches.forEach((made) => fs.rmSync(made, { recursive: true, force: true })));
    }
    scratches.add(scratch);
    return scratch;
}
