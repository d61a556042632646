import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, openSync, readFileSync, readSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../contract/errors";
import { ensureCgroup, processesIn } from "./cgroups";
import { makePrivateDirectory, writePrivateFile } from "./files";
import { endProcesses, identify, isAlive, programOf, type ProcessIdentity } from "./processes";
import type { Settings, Variable } from "./settings";

/** A port that a daemon listens on, and what changes it. */
export interface Listener {
    readonly host: string;
    readonly port: number;
    readonly variable: Variable;
}

/** How one daemon of the platform is run. All of it is known before anything is started. */
export interface DaemonSpec {
    readonly name: string;
    /** For people. */
    readonly address: string;
    readonly version: () => Promise<string>;
    /** The program's absolute path, and its arguments. No secrets: every user of the machine can read them. */
    readonly command: readonly string[];
    /** What stands for the command where another path means the same program; by default the command. */
    readonly identity?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    /** Passed on from the caller's environment. No reason for a restart: the next caller may have another one. */
    readonly passedEnv?: Readonly<Record<string, string>>;
    /** Configuration, written 0600 before the start. */
    readonly files?: readonly { readonly path: string; readonly content: string }[];
    /** Files whose change asks for a restart: certificates, kubeconfigs. */
    readonly reads?: readonly string[];
    readonly listeners: readonly Listener[];
    /** Directories that must be there, 0700. */
    readonly directories?: readonly string[];
    /** What an earlier life may have left that would stop a new one. */
    readonly leftovers?: readonly string[];
    /** @throws Error while it does not answer */
    readonly probe: () => Promise<void>;
    /** How long it may take to end when asked to, in milliseconds. */
    readonly patienceMs: number;
}

interface DaemonRecord extends ProcessIdentity {
    readonly hash: string;
    /** ISO 8601. */
    readonly since: string;
}

export type DaemonState = "running" | "not answering" | "outdated" | "stopped";

const startTimeoutMs = 60_000;
const daemonPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const largestLog = 10 * 1024 * 1024;

/** Starts the daemon unless it runs, answers, and is configured the same. @returns whether it had to */
export async function ensureDaemon(settings: Settings, spec: DaemonSpec, signal?: AbortSignal): Promise<boolean> {
    const state = await daemonState(settings, spec);
    if (state === "running") {
        return false;
    }
    if (state === "not answering" && (await answersWithin(settings, spec, 10_000, signal))) {
        return false;
    }
    await stopDaemon(settings, spec.name, spec.patienceMs);
    startDaemon(settings, spec);
    if (!(await answersWithin(settings, spec, startTimeoutMs, signal))) {
        throw new Error(await failure(settings, spec));
    }
    return true;
}

export async function daemonState(settings: Settings, spec: DaemonSpec): Promise<DaemonState> {
    const record = readRecord(settings, spec.name);
    if (record === undefined || !isAlive(record)) {
        return "stopped";
    }
    if (record.hash !== hashOf(spec)) {
        return "outdated";
    }
    return spec.probe().then(
        () => "running",
        () => "not answering",
    );
}

/** The process of the daemon, when it is alive, and when it was started. */
export function runningDaemon(settings: Settings, name: string): { pid: number; since: string } | undefined {
    const record = readRecord(settings, name);
    return record && isAlive(record) ? { pid: record.pid, since: record.since } : undefined;
}

/** Ends the daemon, also one that no record knows of; not the containers that it looks after. */
export async function stopDaemon(settings: Settings, name: string, patienceMs: number): Promise<void> {
    const running = runningDaemon(settings, name)?.pid;
    await endProcesses([...(running === undefined ? [] : [running]), ...strays(settings, name)], patienceMs);
    rmSync(recordPath(settings, name), { force: true });
}

/** The daemon's processes by its cgroup. containerd's group also holds the shims, which are to outlive it. */
export function strays(settings: Settings, name: string): readonly number[] {
    return processesIn(settings, name).filter((pid) => !programOf(pid).startsWith("containerd-shim"));
}

function startDaemon(settings: Settings, spec: DaemonSpec): void {
    spec.directories?.forEach(makePrivateDirectory);
    spec.leftovers?.forEach((path) => rmSync(path, { force: true }));
    spec.files?.forEach(({ path, content }) => writePrivateFile(path, content));
    const log = openLog(settings, spec.name);
    const group = ensureCgroup(settings, spec.name);
    // The shell puts itself into the group first, so that nothing the daemon starts can be outside of it.
    const script = 'echo $$ > "$1" && shift && umask 022 && exec "$@"';
    const child = spawn("/bin/sh", ["-c", script, "sh", group, ...spec.command], {
        cwd: settings.home,
        detached: true,
        stdio: ["ignore", log, log],
        // Not the caller's environment: it may hold secrets.
        env: { PATH: daemonPath, LANG: "C.UTF-8", HOME: settings.home, ...spec.passedEnv, ...spec.env },
    });
    closeSync(log);
    child.on("error", () => undefined); // Seen as a daemon that does not answer; the log says why.
    child.unref();
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (identity !== undefined) {
        const record: DaemonRecord = { ...identity, hash: hashOf(spec), since: new Date().toISOString() };
        writePrivateFile(recordPath(settings, spec.name), JSON.stringify(record));
    }
}

async function answersWithin(settings: Settings, spec: DaemonSpec, ms: number, signal?: AbortSignal): Promise<boolean> {
    const deadline = Date.now() + ms;
    while (Date.now() < deadline) {
        signal?.throwIfAborted();
        if (runningDaemon(settings, spec.name) === undefined) {
            return false;
        }
        try {
            await spec.probe();
            return true;
        } catch {
            await delay(50);
        }
    }
    return false;
}

async function failure(settings: Settings, spec: DaemonSpec): Promise<string> {
    const ended = runningDaemon(settings, spec.name) === undefined;
    const why = ended
        ? "ended at its start"
        : await spec.probe().then(
              () => "answered too late",
              (error: unknown) => `does not answer after ${startTimeoutMs / 1000} s: ${messageOf(error)}`,
          );
    const path = logPath(settings, spec.name);
    return [`${spec.name} ${why}; the end of ${path}:`, ...tailOf(path, 15)].join("\n");
}

/** What the daemon is, as far as a restart is concerned. */
function hashOf(spec: DaemonSpec): string {
    const read = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : "");
    const parts = [spec.identity ?? spec.command, spec.env, spec.files, spec.reads?.map(read)];
    return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

function recordPath(settings: Settings, name: string): string {
    return join(settings.runDir, `${name}.json`);
}

function readRecord(settings: Settings, name: string): DaemonRecord | undefined {
    try {
        return JSON.parse(readFileSync(recordPath(settings, name), "utf8")) as DaemonRecord;
    } catch {
        return undefined; // None, or cut short: then the cgroup tells.
    }
}

export function logPath(settings: Settings, name: string): string {
    return join(settings.home, "logs", `${name}.log`);
}

function openLog(settings: Settings, name: string): number {
    const path = logPath(settings, name);
    makePrivateDirectory(join(settings.home, "logs"));
    if (existsSync(path) && statSync(path).size > largestLog) {
        renameSync(path, `${path}.1`);
    }
    return openSync(path, "a", 0o600);
}

function tailOf(path: string, lines: number): readonly string[] {
    if (!existsSync(path)) {
        return [];
    }
    const size = statSync(path).size;
    const buffer = Buffer.alloc(Math.min(size, 16 * 1024));
    const file = openSync(path, "r");
    readSync(file, buffer, 0, buffer.length, size - buffer.length);
    closeSync(file);
    return buffer.toString("utf8").trimEnd().split("\n").slice(-lines);
}
