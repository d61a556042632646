import { spawn } from "node:child_process";

import { UserError } from "../../contract/errors";
import { sizeText } from "./byteLimit";
import type { SourceLimits } from "./policy";

/** How a git command ended. */
export interface GitEnd {
    readonly status: number;
    readonly stdout: string;
    readonly stderr: string;
}

/** No answer is longer: half a million files are listed in some 60 MB. A small pack can hold a tree of any size. */
const mostOutput = 128 * 1024 ** 2;

/** Nothing of the service's own environment or of anybody's configuration reaches git. */
export function runGit(
    args: readonly string[],
    directory: string,
    configuration: readonly (readonly [string, string])[],
    limits: SourceLimits,
    signal: AbortSignal,
): Promise<GitEnd> {
    const pairs: readonly (readonly [string, string])[] = [
        ["core.hooksPath", "/dev/null"],
        ["core.fsmonitor", "false"],
        ["core.symlinks", "true"],
        ["core.protectNTFS", "true"],
        ["core.protectHFS", "true"],
        ["credential.helper", ""],
        ["protocol.ext.allow", "never"],
        ["protocol.file.allow", "never"],
        ["submodule.recurse", "false"],
        ["gc.auto", "0"],
        ["advice.detachedHead", "false"],
        ...configuration,
    ];
    const environment: NodeJS.ProcessEnv = {
        PATH: process.env["PATH"],
        HOME: "/nonexistent",
        LC_ALL: "C",
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_CONFIG_GLOBAL: "/dev/null",
        GIT_ATTR_NOSYSTEM: "1",
        GIT_TERMINAL_PROMPT: "0",
        GIT_ASKPASS: "/bin/false",
        SSH_ASKPASS: "/bin/false",
        GIT_PROTOCOL_FROM_USER: "0",
        GIT_ALLOW_PROTOCOL: "http:https:ssh:git",
        GIT_LFS_SKIP_SMUDGE: "1",
        GIT_CONFIG_COUNT: String(pairs.length),
        ...Object.fromEntries(
            pairs.flatMap(([key, value], index) => [
                [`GIT_CONFIG_KEY_${index}`, key],
                [`GIT_CONFIG_VALUE_${index}`, value],
            ]),
        ),
        // Who the service is to a host reached by ssh: its agent, and its home for known hosts.
        ...(process.env["SSH_AUTH_SOCK"] ? { SSH_AUTH_SOCK: process.env["SSH_AUTH_SOCK"] } : {}),
    };
    // No file of git's, so no pack either, gets larger than an archive may be: the unit is 512 bytes (POSIX, ulimit).
    const blocks = Math.ceil(limits.archiveBytes / 512);
    return new Promise((resolve, reject) => {
        const child = spawn("/bin/sh", ["-c", `ulimit -f ${blocks} && exec git "$@"`, "sh", ...args], {
            cwd: directory,
            env: environment,
            stdio: ["ignore", "pipe", "pipe"],
            // With whatever git starts: it is ended as a group.
            detached: true,
        });
        const abort = () => {
            try {
                process.kill(-(child.pid ?? 0), "SIGKILL");
            } catch {
                // It has ended.
            }
        };
        signal.addEventListener("abort", abort, { once: true });
        const stdout: Buffer[] = [];
        let [size, stderr] = [0, ""];
        child.stdout.on("data", (bytes: Buffer) => {
            size += bytes.length;
            if (size <= mostOutput) {
                stdout.push(bytes);
            } else {
                stdout.length = 0;
                abort();
            }
        });
        child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-8192)));
        child.once("error", reject);
        child.once("close", (code, ended) => {
            signal.removeEventListener("abort", abort);
            if (signal.aborted) {
                reject(signal.reason as Error);
            } else if (size > mostOutput) {
                reject(
                    new UserError(
                        `git says more than ${sizeText(mostOutput)} of the source; it has too many files, or too long names`,
                    ),
                );
            } else {
                resolve({
                    status: code ?? 1,
                    stdout: Buffer.concat(stdout).toString("utf8"),
                    stderr: ended === "SIGXFSZ" ? "File size limit exceeded" : stderr,
                });
            }
        });
    });
}
