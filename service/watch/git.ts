import { spawn } from "node:child_process";

import { UserError } from "../../contract/errors";

/** How a git command ended. */
export interface GitEnd {
    readonly status: number;
    readonly stdout: string;
    readonly stderr: string;
}

export interface GitOptions {
    /** Where it runs; a repository for most commands. */
    readonly directory: string;
    readonly timeoutSeconds: number;
    readonly signal?: AbortSignal;
}

/** No answer is longer: the refs of a repository with a hundred thousand branches are some ten megabytes. */
const mostOutput = 64 * 1024 * 1024;

/** What would make git look at another repository than the one it is run in, as its hooks have it. */
const misleading =
    /^GIT_(DIR|WORK_TREE|COMMON_DIR|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|NAMESPACE)$/;

/**
 * Runs git beside everything else that goes on, and never longer than it may: a remote that takes the connection and says
 * nothing must not hold up the others.
 *
 * Credentials are those of whoever runs this, by git's own means: credential helpers, ssh's agent and keys, `GIT_ASKPASS`.
 * Nobody is asked for one: there may be nobody.
 *
 * @throws UserError when there is no git on the machine. Any other failure is the status and what git says of it.
 */
export async function runGit(args: readonly string[], options: GitOptions): Promise<GitEnd> {
    const { directory, timeoutSeconds, signal } = options;
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
        // Of its own process group: what git starts (ssh, git-remote-https) is to end with it.
        const child = spawn("git", args, {
            cwd: directory,
            env: environment(),
            stdio: ["ignore", "pipe", "pipe"],
            detached: true,
        });
        let stdout = "";
        let stderr = "";
        let ended: string | undefined;
        const end = (why: string): void => {
            ended ??= why;
            try {
                process.kill(-(child.pid ?? NaN), "SIGKILL");
            } catch {
                // It has just ended by itself, or never began.
            }
        };
        const timer = setTimeout(() => end(`no answer within ${timeoutSeconds} s`), timeoutSeconds * 1000);
        const onAbort = (): void => end("interrupted");
        signal?.addEventListener("abort", onAbort, { once: true });
        const settle = (): void => {
            clearTimeout(timer);
            signal?.removeEventListener("abort", onAbort);
        };
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
            stdout += text;
            if (stdout.length > mostOutput) {
                end("an answer too long to be one");
            }
        });
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
            stderr = (stderr + text).slice(-65_536);
        });
        child.on("error", (error: NodeJS.ErrnoException) => {
            settle();
            reject(error.code === "ENOENT" ? missing(directory) : error);
        });
        child.on("close", (code) => {
            settle();
            resolve({ status: ended === undefined ? (code ?? 1) : 1, stdout, stderr: ended ?? withoutUsers(stderr) });
        });
    });
}

/**
 * The same, for a command that must work: what it printed.
 *
 * @throws Error with what git says of it, in one line.
 */
export async function gitOutput(args: readonly string[], options: GitOptions): Promise<string> {
    const { status, stdout, stderr } = await runGit(args, options);
    if (status !== 0) {
        throw new Error(reasonOf(stderr) || `git ${args[0] ?? ""} failed`);
    }
    return stdout;
}

/** What a person needs of what git says when it fails: its own verdict, else what the server or ssh said last. */
export function reasonOf(stderr: string): string {
    const lines = stderr
        .split(/[\r\n]+/)
        .map((line) => line.trim())
        .filter((line) => line !== "" && !/^(Please make sure|and the repository exists|hint:)/.test(line));
    const fatal = lines.find((line) => line.startsWith("fatal: ") && !/Could not read from remote/.test(line));
    return (fatal ?? lines.find((line) => !line.startsWith("fatal: ")) ?? lines[0] ?? "").replace(
        /^(fatal|error): /,
        "",
    );
}

/** A configuration of the user's may put a token into an address (`url.<base>.insteadOf`), and git says addresses. */
function withoutUsers(text: string): string {
    return text.replace(/(\w:\/\/)[^@/\s']*@/g, "$1");
}

function missing(directory: string): Error {
    return new UserError(`git cannot be run in ${directory}; is it installed, and is that directory there?`);
}

function environment(): NodeJS.ProcessEnv {
    const inherited = Object.entries(process.env).filter(([name]) => !misleading.test(name));
    return {
        // Without an answer to give, ssh is not to wait for one at the terminal.
        SSH_ASKPASS: "/bin/false",
        SSH_ASKPASS_REQUIRE: "force",
        // None of the transports that run a command of the address's choice.
        GIT_ALLOW_PROTOCOL: "file:git:http:https:ssh",
        ...Object.fromEntries(inherited),
        LC_ALL: "C",
        GIT_TERMINAL_PROMPT: "0",
        GIT_OPTIONAL_LOCKS: "0",
        // Large files are no part of a commit's tree, and so not of the build: nothing is to be fetched for them.
        GIT_LFS_SKIP_SMUDGE: "1",
        // What waits for a slow server ends by itself, also where nobody counts the seconds.
        GIT_HTTP_LOW_SPEED_LIMIT: process.env["GIT_HTTP_LOW_SPEED_LIMIT"] ?? "1000",
        GIT_HTTP_LOW_SPEED_TIME: process.env["GIT_HTTP_LOW_SPEED_TIME"] ?? "60",
    };
}
