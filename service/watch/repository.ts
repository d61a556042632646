import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";

import { UserError } from "../../contract/errors";
import { parseRemote } from "../../source/remote";
import { reasonOf, runGit } from "./git";
import { repositoryName } from "./names";
import { defaultBranch, parsePattern, type RefPattern } from "./patterns";

/** What builds of a repository are made with. */
export interface WatchSettings {
    /** Keys of Pulumi.yaml, over those of the base stack. */
    readonly config?: Readonly<Record<string, unknown>>;
    /** Keeps the stack and the pod of the last one that failed, until the branch's next. */
    readonly debug?: boolean;
    /** What GitHub signs its requests with; more than one while it is changed. Never shown. */
    readonly webhookSecrets?: readonly string[];
}

/** A repository that is watched, and what of it. */
export interface WatchedRepository extends WatchSettings {
    /** An address in one form, or the absolute path of a local one: its checkout's top, or the bare repository. */
    readonly address: string;
    readonly local: boolean;
    readonly name: string;
    /** The directory of it that is built, without slashes at its ends; empty for the whole. */
    readonly directory: string;
    readonly patterns: readonly RefPattern[];
}

/** `REPO`, `REPO^BRANCH`: a local path, or an address as git takes it. No branch's name has a `^`. */
export function splitWatched(text: string): { readonly repository: string; readonly pattern: RefPattern } {
    const at = text.lastIndexOf("^");
    const repository = at < 0 ? text : text.slice(0, at);
    if (repository === "" || at === text.length - 1) {
        throw new UserError(
            `\`${text}\` is not REPO^BRANCH; write a path or an address, then ^ and a branch, as in .^main`,
        );
    }
    return { repository, pattern: at < 0 ? defaultBranch : parsePattern(text.slice(at + 1)) };
}

/** Whether it is an address of somewhere else, not a path. `C:x` is no concern here: this runs on Linux. */
export function isRemote(repository: string): boolean {
    return /^([a-z][a-z0-9+.-]*:\/\/|[^/]+:(?!\/\/))/i.test(repository) && !/^file:\/\//i.test(repository);
}

/**
 * Finds out what a repository is that somebody named.
 *
 * @param from what a relative path is relative to
 * @throws UserError for a path that is no repository, and for an address with a credential in it
 */
export async function locateRepository(
    repository: string,
    from: string,
): Promise<Pick<WatchedRepository, "address" | "local" | "name" | "directory">> {
    if (isRemote(repository)) {
        const address = remoteAddress(repository);
        return { address, local: false, name: repositoryName(address), directory: "" };
    }
    const named = /^file:\/\//i.test(repository) ? localPath(repository) : path.resolve(from, repository);
    if (!fs.existsSync(named) || !fs.statSync(named).isDirectory()) {
        throw new UserError(
            `there is no directory ${named} to watch; write REPO^BRANCH with a repository's path or address`,
        );
    }
    const directory = fs.realpathSync(named);
    const { status, stdout, stderr } = await runGit(
        ["rev-parse", "--is-bare-repository", "--absolute-git-dir", "--show-prefix"],
        { directory, timeoutSeconds: 30 },
    );
    if (status !== 0) {
        const dubious = /dubious ownership/.test(stderr);
        throw new UserError(
            dubious
                ? `the repository ${directory} belongs to another user; if you trust it, run: git config --global --add safe.directory ${directory}`
                : `${directory} is not a git repository (${reasonOf(stderr)}); \`git init\` makes it one`,
        );
    }
    const [bare, gitDirectory = "", prefix = ""] = stdout.split("\n");
    const inside = prefix.replace(/\/$/, "");
    const address = bare === "true" ? gitDirectory : inside === "" ? directory : directory.slice(0, -inside.length - 1);
    return { address, local: true, name: repositoryName(address), directory: inside };
}

function localPath(address: string): string {
    try {
        return fileURLToPath(address);
    } catch {
        throw new UserError(`${address} is no path of this machine; write file:///path or the path alone`);
    }
}

/** The user of an https address is left to git's credential helpers: many a token is given as one. */
function remoteAddress(text: string): string {
    if (/^[a-z+]+:\/\/[^/@]*@/i.test(text) && !/^ssh:\/\/[^/@:]*@/i.test(text)) {
        throw new UserError(
            `an address with a user or a password in it would be for all to see: leave them out of ` +
                `${text.replace(/\/\/[^/@]*@/, "//")} and let a credential helper of git's give them (docs/watch.md)`,
        );
    }
    return parseRemote(text, "the repository's address");
}

/** What makes two addresses one repository for a webhook: `github.com/kerbodyne/ke-1`, however it is written. */
export function repositoryIdentity(address: string): string | undefined {
    const written = /^[^/:@]+@[^/:]+:/.test(address) ? `ssh://${address.replace(":", "/")}` : address;
    if (!URL.canParse(written)) {
        return undefined;
    }
    const { hostname, pathname } = new URL(written);
    const inside = pathname.replace(/\/+$/, "").replace(/\.git$/, "");
    return hostname === "" || inside === "" ? undefined : `${hostname}${inside}`.toLowerCase();
}
