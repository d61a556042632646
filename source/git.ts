import { spawnSync } from "node:child_process";

import { UserError } from "../contract/errors";

/** What a git command printed and how it ended. */
export interface GitResult {
    readonly status: number;
    readonly stdout: string;
    readonly stderr: string;
}

/** What git sets for its hooks and aliases, and what would make it look at another repository than the one asked for. */
const misleading = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/**
 * A source may be a stranger's: a directory in it that is laid out as a bare repository has a configuration of its own,
 * with commands in it, and is not to be taken for one (git-config, safe.bareRepository).
 */
const wary = [
    "safe.bareRepository=explicit",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "log.showSignature=false",
];

/**
 * Runs git in `directory` and waits. Synchronous on purpose: a Pulumi program exports its outputs from the module's top
 * level, and what it exports depends on the commit.
 *
 * @param input lines for its standard input
 * @throws UserError when there is no git on the machine, or when git refuses a repository that another user owns.
 */
export function git(
    directory: string,
    args: readonly string[],
    environment: NodeJS.ProcessEnv = {},
    input: readonly string[] = [],
): GitResult {
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !misleading.includes(name)));
    const result = spawnSync("git", [...wary.flatMap((pair) => ["-c", pair]), "-C", directory, ...args], {
        encoding: "utf8",
        input: input.map((line) => `${line}\n`).join(""),
        // Messages are matched below, so they must not be translated; no prompt may ever block a build's start.
        env: { ...inherited, LC_ALL: "C", GIT_TERMINAL_PROMPT: "0", GIT_OPTIONAL_LOCKS: "0", ...environment },
        maxBuffer: 256 * 1024 * 1024,
    });
    if (result.error) {
        if ((result.error as NodeJS.ErrnoException).code === "ENOENT") {
            throw new UserError("git is not installed; install it and try again");
        }
        throw result.error;
    }
    const dubious = /detected dubious ownership in repository at '(.*)'/.exec(result.stderr);
    if (dubious) {
        throw new UserError(
            `the repository ${dubious[1] ?? directory} belongs to another user; if you trust it, run: ` +
                `git config --global --add safe.directory ${dubious[1] ?? directory}`,
        );
    }
    return { status: result.status ?? 1, stdout: result.stdout, stderr: result.stderr };
}

/**
 * The same, for a command that must work: its trimmed standard output.
 *
 * @throws Error with git's own first line when it fails.
 */
export function gitOutput(
    directory: string,
    args: readonly string[],
    environment: NodeJS.ProcessEnv = {},
    input: readonly string[] = [],
): string {
    const result = git(directory, args, environment, input);
    if (result.status !== 0) {
        throw new Error(`git ${args[0] ?? ""} in ${directory}: ${result.stderr.trim().split("\n")[0] ?? "failed"}`);
    }
    return result.stdout.trim();
}
