import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { LauncherPlace } from "./launcherSocket";

/** Milliseconds after which a launcher that does not listen yet is not waited for any longer. */
const startLimit = 10_000;
const lookInterval = 25;

/**
 * Starts a launcher, or waits for one that another process starts: in a session of its own, so that no signal to a build's
 * process group is one to it.
 *
 * @param reach connects to it; undefined as long as it does not listen
 */
export async function startLauncher<T>(
    { lock }: LauncherPlace,
    environment: Readonly<Record<string, string>>,
    reach: () => Promise<T | undefined>,
): Promise<T | undefined> {
    let isOurs = false;
    const died = new AbortController();
    try {
        const end = Date.now() + startLimit;
        while (Date.now() < end && !died.signal.aborted) {
            // Taken before the launcher is looked for once more: it is given back only when that one listens.
            if (!isOurs && takeLock(lock)) {
                isOurs = true;
                const found = await reach();
                if (found) {
                    return found;
                }
                spawnLauncher(environment, () => died.abort());
            }
            const found = await reach();
            if (found) {
                return found;
            }
            await sleep(lookInterval);
        }
        return undefined;
    } finally {
        if (isOurs) {
            fs.rmSync(lock, { force: true });
        }
    }
}

function spawnLauncher(environment: Readonly<Record<string, string>>, onEnd: () => void): void {
    const child = spawn(process.execPath, [path.join(__dirname, "ke1.js"), "await-launcher"], {
        env: environment,
        detached: true,
        stdio: "ignore",
    });
    child.once("error", onEnd);
    child.once("exit", onEnd);
    child.unref();
}

/** One process at a time holds it; that of a process that has died, or starts one for too long, is taken over. */
function takeLock(lock: string): boolean {
    try {
        fs.writeFileSync(lock, String(process.pid), { flag: "wx", mode: 0o600 });
        return true;
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
            throw error;
        }
    }
    try {
        const { mtimeMs } = fs.statSync(lock);
        const holder = Number(fs.readFileSync(lock, "utf8"));
        if (Date.now() - mtimeMs > 2 * startLimit || (holder > 0 && !isAlive(holder))) {
            fs.rmSync(lock, { force: true });
        }
    } catch {
        // It has been given back.
    }
    return false;
}

function isAlive(pid: number): boolean {
    try {
        return process.kill(pid, 0);
    } catch (error) {
        return (error as NodeJS.ErrnoException).code === "EPERM";
    }
}
