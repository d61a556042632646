import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import { gitOutput, runGit } from "./git";
import { repositoryName } from "./names";
import type { WatchedRepository } from "./repository";

/** How far a fetch or a copy may take: a large repository the first time. */
const transferSeconds = 1800;
const localSeconds = 120;

/** What a branch's new commit is to the one that was built before it. */
export interface Progress {
    /** Commits between the two on the branch itself, the oldest first. */
    readonly skipped: readonly string[];
    /** Whether the branch no longer has the commit that was built before. */
    readonly rewritten: boolean;
}

/**
 * A bare clone of a watched repository: what is to be built stays to be had, whatever becomes of the branch or the remote.
 * Made anew where it is gone or broken; nothing in it cannot be had again.
 */
export class Clone {
    public readonly directory: string;

    public constructor(
        /** Where clones are kept. */
        parent: string,
        private readonly repository: Pick<WatchedRepository, "address" | "local">,
    ) {
        const hash = createHash("sha256").update(repository.address).digest("hex").slice(0, 12);
        const name = repositoryName(repository.address).replace(/[^\w.-]/g, "-");
        this.directory = path.join(parent, `${name.slice(0, 40)}-${hash}.git`);
    }

    /**
     * Brings these refs here.
     *
     * @throws Error in one line, when the repository does not answer or no longer has one of them
     */
    public async fetch(refs: readonly string[], signal?: AbortSignal): Promise<void> {
        if (refs.length === 0) {
            return;
        }
        await this.make();
        const refspecs = refs.map((ref) => `+${ref}:${ownRef(ref)}`);
        const how = ["--no-tags", "--no-write-fetch-head", "--update-shallow", "--quiet"];
        await gitOutput(["fetch", ...how, "--", this.repository.address, ...refspecs], {
            directory: this.directory,
            timeoutSeconds: transferSeconds,
            ...(signal ? { signal } : {}),
        });
    }

    /** The commit that a ref was at when it was fetched. */
    public async commitOf(ref: string): Promise<string> {
        const args = ["rev-parse", "--verify", `${ownRef(ref)}^{commit}`];
        return (await gitOutput(args, { directory: this.directory, timeoutSeconds: localSeconds })).trim();
    }

    public async hasCommit(commit: string): Promise<boolean> {
        return fs.existsSync(this.directory) && (await this.git(["cat-file", "-e", `${commit}^{commit}`])).status === 0;
    }

    /** Its title, for people: as it is, with all that its author has put into it. */
    public async subject(commit: string): Promise<string> {
        return (await this.git(["show", "-s", "--format=%s", commit])).stdout.trim();
    }

    public async progress(from: string, to: string): Promise<Progress> {
        if ((await this.git(["merge-base", "--is-ancestor", from, to])).status !== 0) {
            return { skipped: [], rewritten: true };
        }
        const { stdout } = await this.git(["rev-list", "--first-parent", "--reverse", `${from}..${to}`]);
        return { skipped: stdout.split("\n").filter((commit) => commit !== "" && commit !== to), rewritten: false };
    }

    /**
     * Makes a working copy of one commit, that has its objects from here.
     *
     * @param directory empty
     * @throws Error in one line, where the commit is not here any more
     */
    public async checkOut(commit: string, directory: string, signal?: AbortSignal): Promise<void> {
        const options = { directory, timeoutSeconds: transferSeconds, ...(signal ? { signal } : {}) };
        await gitOutput(["init", "--quiet", "--template="], options);
        const alternates = path.join(directory, ".git", "objects", "info", "alternates");
        fs.mkdirSync(path.dirname(alternates), { recursive: true });
        fs.writeFileSync(alternates, `${path.join(this.directory, "objects")}\n`);
        // No hook of the machine's configuration: it might run what the commit brings.
        await gitOutput(["-c", "core.hooksPath=/dev/null", "checkout", "--quiet", "--detach", commit, "--"], options);
        const origin = await this.origin();
        if (origin !== undefined) {
            await gitOutput(["remote", "add", "origin", origin], options);
        }
        const abbreviation = await this.abbreviation(commit);
        if (abbreviation !== undefined) {
            // A short hash is as long as the repository is large, and a clone of some branches may be smaller.
            await gitOutput(["config", "core.abbrev", String(abbreviation)], options);
        }
    }

    /** Gives a commit of a working copy the name of the tag that it is built for, whatever has become of that tag since. */
    public async tag(directory: string, tag: string, commit: string): Promise<void> {
        await gitOutput(["update-ref", `refs/tags/${tag}`, commit], { directory, timeoutSeconds: localSeconds });
    }

    /** Where the commit can be had by others: for a local repository, what its own origin is. */
    private async origin(): Promise<string | undefined> {
        const { address, local } = this.repository;
        if (!local) {
            return address;
        }
        const { status, stdout } = await runGit(["remote", "get-url", "origin"], {
            directory: address,
            timeoutSeconds: localSeconds,
        });
        return status === 0 ? stdout.trim().replace(/^(https?:\/\/)[^@/]*@/i, "$1") : undefined;
    }

    private async abbreviation(commit: string): Promise<number | undefined> {
        const { address, local } = this.repository;
        if (!local) {
            return undefined;
        }
        const { status, stdout } = await runGit(["rev-parse", "--short", commit], {
            directory: address,
            timeoutSeconds: localSeconds,
        });
        return status === 0 ? stdout.trim().length : undefined;
    }

    private async make(): Promise<void> {
        if (fs.existsSync(path.join(this.directory, "HEAD"))) {
            return;
        }
        fs.rmSync(this.directory, { recursive: true, force: true });
        const parent = path.dirname(this.directory);
        fs.mkdirSync(parent, { recursive: true, mode: 0o700 });
        // Whole or not at all.
        const partial = fs.mkdtempSync(path.join(parent, ".partial-"));
        await gitOutput(["init", "--quiet", "--bare", "--template=", "--", partial], {
            directory: parent,
            timeoutSeconds: localSeconds,
        });
        fs.renameSync(partial, this.directory);
    }

    private async git(args: readonly string[]) {
        return runGit(args, { directory: this.directory, timeoutSeconds: localSeconds });
    }
}

/** Where a ref is kept: a branch `a/b` may come after a branch `a`, and git cannot have both. */
function ownRef(ref: string): string {
    return `refs/watch/${createHash("sha256").update(ref).digest("hex").slice(0, 24)}`;
}
