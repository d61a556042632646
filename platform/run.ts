import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface RunOptions {
    readonly env?: NodeJS.ProcessEnv;
    readonly cwd?: string;
    /** The cgroup.procs file of a cgroup to run it in, so that it can be found when we are killed. */
    readonly group?: string;
    /** Ends the program. */
    readonly signal?: AbortSignal | undefined;
    /** Given each line of its standard error. */
    readonly onLine?: (line: string) => void;
}

/**
 * Runs a program to its end.
 * @returns its standard output
 * @throws Error with the last lines of its standard error, when it fails or cannot be started
 */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
    const enter = ["/bin/sh", "-c", 'echo $$ > "$1" && shift && exec "$@"', "sh"];
    const [program = "", ...args] = options.group === undefined ? command : [...enter, options.group, ...command];
    const env = options.env ?? process.env;
    const child = spawn(program, args, {
        stdio: ["ignore", "pipe", "pipe"],
        // Not every root has the system's programs on the path.
        env: { ...env, PATH: [env["PATH"], "/usr/sbin:/sbin"].filter(Boolean).join(":") },
        cwd: options.cwd,
        signal: options.signal,
    });
    const output: Buffer[] = [];
    const tail: string[] = [];
    child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
    createInterface({ input: child.stderr }).on("line", (line) => {
        options.onLine?.(line);
        tail.push(line);
        tail.splice(0, tail.length - 15);
    });
    const how = await new Promise<string>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (code, signal) => resolve(signal ?? String(code)));
    });
    if (how !== "0") {
        throw new Error([`${command.join(" ")} ended with ${how}`, ...tail].join("\n"));
    }
    return Buffer.concat(output).toString("utf8");
}

/** @returns whether the program ended with 0 */
export async function succeeds(command: readonly string[]): Promise<boolean> {
    return run(command).then(
        () => true,
        () => false,
    );
}
