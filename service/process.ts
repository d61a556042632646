import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { finished } from "node:stream/promises";

/** How a `ke1` of the service is run. */
export interface ProcessOptions {
    readonly command: readonly [string, ...string[]];
    readonly environment: NodeJS.ProcessEnv;
    readonly directory: string;
    /** Its standard error, appended. */
    readonly logFile: string;
    /** Says which process group to end when the service itself was killed. */
    readonly pidFile: string;
    /** SIGINT: it ends in order; what hangs and does not is killed. */
    readonly interrupt: AbortSignal;
    /** How long it has for that. */
    readonly interruptSeconds?: number;
    /** SIGKILL, to all that it has started: the build goes on in the cluster. */
    readonly abandon: AbortSignal;
    readonly onLine?: (line: string) => void;
}

export interface ProcessEnd {
    /** 128 and the signal's number, as a shell has it. */
    readonly exitCode: number;
    readonly stdout: string;
}

/** More on standard output than this is not the JSON that was asked for. */
const stdoutLimit = 16 * 1024 * 1024;

/** Runs a command in a process group of its own, to its end. */
export async function runProcess(options: ProcessOptions): Promise<ProcessEnd> {
    const [program, ...rest] = options.command;
    const log = fs.openSync(options.logFile, "a", 0o600);
    const child = spawn(program, rest, {
        cwd: options.directory,
        env: options.environment,
        detached: true,
        stdio: ["ignore", "pipe", options.onLine ? "pipe" : log],
    });
    const stdout: Buffer[] = [];
    let size = 0;
    child.stdout?.on("data", (bytes: Buffer) => {
        size += bytes.length;
        if (size <= stdoutLimit) {
            stdout.push(bytes);
        }
    });
    let partial = "";
    child.stderr?.on("data", (bytes: Buffer) => {
        fs.writeSync(log, bytes);
        const lines = (partial + bytes.toString("utf8")).split("\n");
        partial = lines.pop() ?? "";
        lines.forEach((line) => options.onLine?.(line));
    });
    const abandon = (): void => killGroup(child.pid);
    const overdue: NodeJS.Timeout[] = [];
    const interrupt = (): void => {
        const interruptOnce = (): void => void child.kill("SIGINT");
        const most = (options.interruptSeconds ?? 60) * 1000;
        interruptOnce();
        // At a second one, `ke1` takes its program with it, which is in a group of its own.
        overdue.push(setTimeout(interruptOnce, (most * 5) / 6).unref(), setTimeout(abandon, most).unref());
    };
    try {
        const ended = new Promise<number>((resolve, reject) => {
            child.once("error", reject);
            child.once("exit", (code, signal) => resolve(code ?? 128 + (signal === "SIGKILL" ? 9 : 15)));
        });
        if (child.pid !== undefined) {
            fs.writeFileSync(options.pidFile, `${child.pid}\n`, { mode: 0o600 });
        }
        options.interrupt.addEventListener("abort", interrupt);
        options.abandon.addEventListener("abort", abandon);
        if (options.abandon.aborted) {
            abandon();
        } else if (options.interrupt.aborted) {
            interrupt();
        }
        const exitCode = await ended;
        overdue.forEach(clearTimeout);
        // What it has left behind must not hold up the end, nor go on.
        killGroup(child.pid);
        await Promise.all([child.stdout, child.stderr].map(async (stream) => stream && finished(stream)));
        fs.rmSync(options.pidFile, { force: true });
        return { exitCode, stdout: Buffer.concat(stdout).toString("utf8") };
    } finally {
        overdue.forEach(clearTimeout);
        options.interrupt.removeEventListener("abort", interrupt);
        options.abandon.removeEventListener("abort", abandon);
        fs.closeSync(log);
    }
}

/**
 * Ends what a killed service has left running.
 *
 * @param mark a word of its command line, by which it is told from a process that has got the same number since
 * @returns whether there was something, which may have left a lock behind
 */
export function endOrphan(pidFile: string, mark: string): boolean {
    if (!fs.existsSync(pidFile)) {
        return false;
    }
    const pid = Number(fs.readFileSync(pidFile, "utf8"));
    if (Number.isInteger(pid) && pid > 1 && groupHas(pid, mark)) {
        killGroup(pid);
    }
    fs.rmSync(pidFile, { force: true });
    return true;
}

function groupHas(group: number, mark: string): boolean {
    try {
        return fs.readFileSync(`/proc/${group}/cmdline`, "utf8").split("\0").includes(mark);
    } catch {
        return false;
    }
}

function killGroup(pid: number | undefined): void {
    if (pid === undefined) {
        return;
    }
    try {
        process.kill(-pid, "SIGKILL");
    } catch {
        // It is gone.
    }
}
