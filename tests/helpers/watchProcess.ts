import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";

import type { WatchEvent } from "../../service/watch/events";
import { projectDirectory } from "./ke1";
import { eventually, toldOf } from "./watching";

/** A `ke1 watch --json` of a test's own. */
export class WatchProcess {
    public readonly events: WatchEvent[] = [];
    public stderr = "";
    private readonly child: ChildProcess;
    private readonly exited: Promise<number>;

    public constructor(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
        this.child = spawn(path.join(projectDirectory, "bin", "ke1"), ["watch", "--json", ...args], {
            cwd: projectDirectory,
            env: { ...process.env, ...environment },
            stdio: ["ignore", "pipe", "pipe"],
        });
        let partial = "";
        this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
            const lines = (partial + text).split("\n");
            partial = lines.pop() ?? "";
            this.events.push(...lines.map((line) => JSON.parse(line) as WatchEvent));
        });
        this.child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
        this.exited = once(this.child, "close").then(([code]) => (code as number | null) ?? 137);
    }

    public told<Name extends WatchEvent["event"]>(
        name: Name,
    ): readonly Extract<WatchEvent, { readonly event: Name }>[] {
        return toldOf(this.events, name);
    }

    public async until(name: WatchEvent["event"], count = 1): Promise<void> {
        await eventually(
            `${count} ${name}`,
            () => this.told(name).length >= count || this.child.exitCode !== null,
            () => `${JSON.stringify(this.events)} ${this.stderr}`,
            150_000,
        );
        if (this.told(name).length < count) {
            throw new Error(`it ended with ${String(this.child.exitCode)}: ${this.stderr}`);
        }
    }

    /** @returns the exit code */
    public async end(signal?: NodeJS.Signals): Promise<number> {
        if (signal) {
            this.child.kill(signal);
        }
        return this.exited;
    }
}
