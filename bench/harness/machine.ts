import { execFileSync } from "node:child_process";
import * as os from "node:os";
import * as path from "node:path";

import { readDescriptor } from "../../platform/descriptor";

export const projectDirectory = path.resolve(__dirname, "../..");

/** What a measurement was taken on. */
export interface Machine {
    readonly cores: number;
    readonly model: string;
    readonly memoryGiB: number;
    readonly kernel: string;
    /** Of the last minute, when the measurement ended: what the measurement itself and all else on the machine ran. */
    readonly load: number;
}

/** What was measured. */
export interface Versions {
    /** The commit of this tree, with `-dirty` where it has changes. */
    readonly ke1: string;
    readonly node: string;
    /** Empty where the embedded platform is not up. */
    readonly kubernetes: string;
}

export function machine(): Machine {
    const [{ model } = { model: "unknown" }] = os.cpus();
    return {
        cores: os.availableParallelism(),
        model: model.trim(),
        memoryGiB: Math.round(os.totalmem() / 2 ** 27) / 8,
        kernel: /^[\d.]+/.exec(os.release())?.[0] ?? os.release(),
        load: Math.round((os.loadavg()[0] ?? 0) * 100) / 100,
    };
}

export function versions(): Versions {
    return { ke1: commit(), node: process.version, kubernetes: readDescriptor()?.kubernetesVersion ?? "" };
}

/** Of an archive without git it is unknown. */
function commit(): string {
    try {
        return execFileSync("git", ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"], {
            cwd: projectDirectory,
            encoding: "utf8",
            stdio: ["ignore", "pipe", "ignore"],
        }).trim();
    } catch {
        return "unknown";
    }
}
