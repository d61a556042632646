import {
    chmodSync,
    existsSync,
    mkdirSync,
    readdirSync,
    readFileSync,
    renameSync,
    rmSync,
    writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { identify } from "./processes";

/** Makes a directory, 0700 also where it is there already, and what is missing above it. */
export function makePrivateDirectory(path: string): void {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
}

/** Writes a file, 0600, whole or not at all. */
export function writePrivateFile(path: string, content: string): void {
    makePrivateDirectory(dirname(path));
    const half = `${path}.${process.pid}.tmp`;
    writeFileSync(half, content, { mode: 0o600 });
    renameSync(half, path);
}

/** The file's text; undefined when there is none. */
export function readIfThere(path: string): string | undefined {
    return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}

/**
 * Makes a directory whole or not at all: a directory with this name is complete. Several processes may do so at once,
 * each under another name; the first to end wins.
 */
export async function makeWhole(target: string, fill: (directory: string) => Promise<void>): Promise<void> {
    if (existsSync(target)) {
        return;
    }
    makePrivateDirectory(dirname(target));
    for (const name of readdirSync(dirname(target))) {
        const maker = new RegExp(`^${basename(target)}\\.(\\d+)\\.tmp$`).exec(name)?.[1];
        if (maker !== undefined && identify(Number(maker)) === undefined) {
            rmSync(join(dirname(target), name), { recursive: true, force: true });
        }
    }
    const half = `${target}.${process.pid}.tmp`;
    try {
        makePrivateDirectory(half);
        await fill(half);
        if (!existsSync(target)) {
            renameSync(half, target);
        }
    } finally {
        rmSync(half, { recursive: true, force: true });
    }
}
