import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { BuildkiteServer } from "./buildkite";
import type { TemporaryStack } from "./ke1";
import { ke1, projectDirectory } from "./ke1";
import { TemporaryDirectory } from "./temporary";

/** A `ke1 spawn` of one test, with a data directory of its own. */
export class RunningSpawner {
    public readonly data = new TemporaryDirectory();
    public output = "";
    private child: ChildProcess | undefined;

    public constructor(
        private readonly stack: TemporaryStack,
        private readonly server: BuildkiteServer,
        private readonly tokenFile: string,
        private readonly options: readonly string[],
    ) {}

    public start(): void {
        const args = ["spawn", "--stack", this.stack.name, "--data", this.data.path, "--local-sources"];
        const where = ["--endpoint", this.server.url, "--token-file", this.tokenFile];
        const child = spawn(path.join(projectDirectory, "bin", "ke1"), [...args, ...where, ...this.options], {
            cwd: projectDirectory,
            env: { ...process.env, ...this.stack.environment },
            stdio: ["ignore", "ignore", "pipe"],
        });
        child.stderr.setEncoding("utf8").on("data", (text: string) => (this.output += text));
        this.child = child;
    }

    public async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number | null> {
        const { child } = this;
        this.child = undefined;
        if (!child) {
            return null;
        }
        if (child.exitCode === null && child.signalCode === null) {
            const exited = once(child, "exit");
            child.kill(signal);
            await exited;
        }
        return child.exitCode;
    }

    /** Leaves nothing of it: its builds' stacks are destroyed, those of a spawner that was killed too. */
    public async remove(): Promise<void> {
        await this.end("SIGKILL");
        const environment = { ...this.stack.environment, PULUMI_BACKEND_URL: `file://${this.data.path}/state` };
        const { stdout } = await ke1(["stack", "ls", "--json"], environment);
        for (const { name } of JSON.parse(stdout === "" ? "[]" : stdout) as readonly { readonly name: string }[]) {
            await ke1(["stack", "cancel", "--stack", name], environment);
            await ke1(["destroy", "--stack", name], environment);
        }
        this.data.remove();
    }
}

/** Waits until it is so. @throws with what `context` says, where it is not in time. */
export async function until(
    condition: () => boolean | Promise<boolean>,
    what: string,
    context: () => string,
    seconds = 90,
): Promise<void> {
    const end = Date.now() + seconds * 1000;
    while (!(await condition())) {
        if (Date.now() > end) {
            throw new Error(`not in ${seconds} s: ${what}\n${context()}`);
        }
        await sleep(100);
    }
}
