import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Settings } from "./settings";

/** Kept outside of the home, which a purge removes while it holds the lock. */
export function lockPath(settings: Settings): string {
    return `/run/ke1-${settings.id}.lock`;
}

/**
 * Runs an action while no other process does for the same home. The kernel's own lock (flock(1)), held by a child that
 * ends when this process does, however that happens: no lock is ever left behind.
 */
export async function withLock<T>(settings: Settings, onWait: () => void, action: () => Promise<T>): Promise<T> {
    const take = async (...flags: string[]) => {
        const child = spawn("flock", [...flags, lockPath(settings), "sh", "-c", "echo locked; exec cat > /dev/null"], {
            stdio: ["pipe", "pipe", "inherit"],
            detached: true, // An interrupt from the terminal is for us; we let the lock go in our own time.
        });
        const locked = await new Promise<boolean>((resolve, reject) => {
            child.once("error", reject);
            child.once("close", () => resolve(false));
            createInterface({ input: child.stdout }).once("line", () => resolve(true));
        });
        return locked ? child : undefined;
    };
    let holder = await take("--nonblock");
    if (holder === undefined) {
        onWait();
        holder = await take();
    }
    if (holder === undefined) {
        throw new Error(`cannot lock ${lockPath(settings)}`);
    }
    try {
        return await action();
    } finally {
        const released = once(holder, "close");
        holder.stdin.end();
        await released;
    }
}
