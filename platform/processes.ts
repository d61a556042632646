import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A process, told from a later one with the same number by the time it started (clock ticks since boot, proc(5)). */
export interface ProcessIdentity {
    readonly pid: number;
    readonly startTime: string;
}

/** @returns undefined when there is no such process, or only what is left of one (a zombie) */
export function identify(pid: number): ProcessIdentity | undefined {
    try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        // The second field is the name in brackets, which may itself hold blanks and brackets.
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        const [state, startTime] = [fields[0], fields[19]];
        // The first thread may be a zombie while others still hold the ports and files of the process.
        const ended = state === "X" || (state === "Z" && readdirSync(`/proc/${pid}/task`).length <= 1);
        return ended || startTime === undefined ? undefined : { pid, startTime };
    } catch {
        return undefined;
    }
}

export function isAlive(process: ProcessIdentity): boolean {
    return identify(process.pid)?.startTime === process.startTime;
}

/** The name of the program that a process runs, also when its file was replaced. */
export function programOf(pid: number): string {
    try {
        return basename(readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, ""));
    } catch {
        return "";
    }
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
    try {
        process.kill(pid, signal);
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") {
            throw error;
        }
    }
}

/** Asks processes to end, and kills those that have not after the time given. */
export async function endProcesses(pids: readonly number[], patienceMs: number): Promise<void> {
    const targets = pids.map(identify).filter((found) => found !== undefined);
    targets.filter(isAlive).forEach(({ pid }) => sendSignal(pid, "SIGTERM"));
    if (!(await allEnded(targets, patienceMs))) {
        targets.filter(isAlive).forEach(({ pid }) => sendSignal(pid, "SIGKILL"));
        if (!(await allEnded(targets, 10_000))) {
            const left = targets.filter(isAlive).map(({ pid }) => `${pid} (${programOf(pid)})`);
            throw new Error(`these processes do not end, not even when killed: ${left.join(", ")}`);
        }
    }
}

async function allEnded(targets: readonly ProcessIdentity[], patienceMs: number): Promise<boolean> {
    const deadline = Date.now() + patienceMs;
    while (targets.some(isAlive)) {
        if (Date.now() > deadline) {
            return false;
        }
        await delay(20);
    }
    return true;
}
