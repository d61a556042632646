import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { dirname } from "node:path";

/** What a process that waits for it is to run (bundle/startOrder.ts). By this way no secret of the environment is in an argument. */
export interface StartOrder {
    /** Of the bundle that is meant, in case it was made anew in the meantime. */
    readonly bundle: string;
    readonly arguments: readonly string[];
    readonly environment: NodeJS.ProcessEnv;
}

/**
 * A process for the program of a bundle that is started before it is known what is to be run, so that it loads its modules
 * while this process does. It runs nothing of the program until it is ordered to, and ends when it is not needed: with its
 * channel, so also when this process is killed.
 */
export class PreparedProgram {
    private readonly child: ChildProcess;

    public constructor(bundle: string, environment: NodeJS.ProcessEnv) {
        this.child = spawn(process.execPath, [bundle], {
            cwd: dirname(dirname(bundle)),
            env: environment,
            stdio: ["ignore", "pipe", "pipe", "ipc"],
            // A process group of its own, as the program has (program.ts).
            detached: true,
        });
        // Whoever does not take it does not wait for it either.
        this.child.on("error", () => undefined);
        this.handles.forEach((handle) => handle.unref());
    }

    /** The process, with its order; undefined where it has ended, or was never there. */
    public take(order: StartOrder): ChildProcess | undefined {
        const { child } = this;
        if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null || !child.connected) {
            return undefined;
        }
        this.handles.forEach((handle) => handle.ref());
        child.send(order);
        return child;
    }

    public discard(): void {
        this.child.kill("SIGKILL");
    }

    private get handles(): readonly { ref(): void; unref(): void }[] {
        const { child } = this;
        const streams = [child.stdout, child.stderr] as readonly unknown[] as readonly (Socket | null)[];
        return [child, child.channel, ...streams].filter((handle) => handle !== null && handle !== undefined);
    }
}
