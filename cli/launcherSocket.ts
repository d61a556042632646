import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

/*
 * Where the process that awaits several builds listens, and what is said there. Everything here is loaded by each
 * `ke1 await`: it must stay small.
 */

/** A message to the launcher: one line of JSON. */
export type Request =
    | { readonly environment: Readonly<Record<string, string>> }
    /** The build is to be ended. */
    | { readonly interrupt: true };

/** A message from it. */
export type Answer = { readonly out: string } | { readonly err: string } | { readonly exit: number };

/** The socket's path may be no longer (sun_path in unix(7), with its final zero). */
const longestPath = 107;

/**
 * What is one build's own, of the environment that components/awaitCommand.ts declares; all else must be the same for
 * builds to share a launcher, for it is that process's environment.
 */
const ownVariables = new Set([
    ...["KE1_KUBECONFIG", "KE1_KUBE_CONTEXT", "KE1_NAMESPACE", "KE1_JOBS", "KE1_MEMORY", "KE1_JOB_UID", "KE1_COMMAND"],
    ...["KE1_NEEDS", "KE1_RETRIES", "KE1_WATCHDOGS", "KE1_PUSHGATEWAY", "KE1_WEBHOOK", "KE1_WEBHOOK_SECRET"],
    ...["KE1_STACK", "KE1_BUILD_TAG", "KE1_SOURCE_COMMIT", "KE1_SOURCE_TREE", "KE1_CONTAINER_URL"],
    ...["KE1_OUTCOME_FILE", "KE1_TIMINGS_DIRECTORY", "TRACEPARENT"],
]);
/** What shells leave in it. */
const noise = new Set(["_", "SHLVL", "PWD", "OLDPWD"]);

/** A process's environment in two parts. */
export function divided(environment: NodeJS.ProcessEnv): {
    readonly own: Readonly<Record<string, string>>;
    readonly shared: Readonly<Record<string, string>>;
} {
    const set = Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined);
    return {
        own: Object.fromEntries(set.filter(([name]) => ownVariables.has(name))),
        shared: Object.fromEntries(set.filter(([name]) => !ownVariables.has(name) && !noise.has(name))),
    };
}

/** What a launcher runs, and a wait that is alone: beside this file's own program (Makefile). */
export const launcherProgram = path.join(__dirname, "awaitLauncher.js");

/** Where a launcher for this environment listens, and who starts one. */
export interface LauncherPlace {
    readonly socket: string;
    /** There while one is being started. */
    readonly lock: string;
}

/**
 * The place for this user, environment, directory and version of `ke1`: in a directory that nobody else may look into.
 *
 * @returns undefined, after `say`, where there can be none: each build is awaited by a process of its own then
 */
export function launcherPlace(
    shared: Readonly<Record<string, string>>,
    program: string,
    say: (why: string) => void,
): LauncherPlace | undefined {
    const directory = path.join(runtimeDirectory(shared), "launchers");
    try {
        fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
        const found = fs.lstatSync(directory);
        if (!found.isDirectory() || found.uid !== os.userInfo().uid || (found.mode & 0o077) !== 0) {
            say(`${directory} is not this user's alone`);
            return undefined;
        }
        const { mtimeMs, size } = fs.statSync(program);
        const same = [process.execPath, process.cwd(), program, mtimeMs, size, Object.entries(shared).sort()];
        const key = createHash("sha256").update(JSON.stringify(same)).digest("hex").slice(0, 24);
        const socket = path.join(directory, key);
        if (Buffer.byteLength(socket) > longestPath) {
            say(`${directory} is too long a name`);
            return undefined;
        }
        return { socket, lock: `${socket}.lock` };
    } catch (error) {
        say(error instanceof Error ? error.message : String(error));
        return undefined;
    }
}

/** https://specifications.freedesktop.org/basedir-spec/latest/; where there is none, beside what is compiled. */
function runtimeDirectory(environment: Readonly<Record<string, string>>): string {
    const { XDG_RUNTIME_DIR: runtime, KE1_CACHE: cache, XDG_CACHE_HOME: caches } = environment;
    return runtime ? path.join(runtime, "ke1") : cache || path.join(caches || path.join(os.homedir(), ".cache"), "ke1");
}

/** Whether a socket is this user's own: nothing is said to another's. */
export function isOwnSocket(socket: string): boolean {
    const found = fs.lstatSync(socket, { throwIfNoEntry: false });
    return found?.isSocket() === true && found.uid === os.userInfo().uid && (found.mode & 0o077) === 0;
}

/** Calls back with each message of a stream. */
export function onMessages(stream: NodeJS.ReadableStream, take: (message: unknown) => void): void {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        lines.forEach((line) => take(JSON.parse(line)));
    });
}

export function messageLine(message: Request | Answer): string {
    return `${JSON.stringify(message)}\n`;
}
