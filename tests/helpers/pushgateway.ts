import type { ChildProcess } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

export interface Series {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
}

/** Prometheus' Pushgateway itself, on a port of its own. */
export class Pushgateway {
    private constructor(
        public readonly url: string,
        private readonly child: ChildProcess,
    ) {}

    /** Compiled at the first time, which takes a minute; Go's cache keeps the program. */
    public static async start(address = "127.0.0.1"): Promise<Pushgateway> {
        const { stdout } = await promisify(execFile)("go", ["tool", "-n", "pushgateway"], {
            cwd: path.join(__dirname, "../tools/pushgateway"),
        });
        const child = spawn(stdout.trim(), [`--web.listen-address=${address}:0`], {
            stdio: ["ignore", "ignore", "pipe"],
        });
        let said = "";
        for await (const line of createInterface(child.stderr)) {
            said += `${line}\n`;
            const listening = /Listening on.* address=(\d+\.\d+\.\d+\.\d+:\d+)/.exec(line)?.[1];
            if (listening !== undefined) {
                child.stderr.resume();
                return new Pushgateway(`http://${listening}`, child);
            }
        }
        throw new Error(`the Pushgateway did not start: ${said}`);
    }

    public async stop(): Promise<void> {
        if (this.child.exitCode === null) {
            const ended = once(this.child, "exit");
            this.child.kill();
            await ended;
        }
    }

    /** What Prometheus would scrape: by name, the series of each metric. */
    public async scrape(): Promise<ReadonlyMap<string, readonly Series[]>> {
        const response = await fetch(`${this.url}/metrics`);
        const found = new Map<string, Series[]>();
        for (const line of (await response.text()).split("\n")) {
            const [, name, labels = "", value] = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
            if (name !== undefined) {
                const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key, text]);
                const series = { labels: Object.fromEntries(pairs), value: Number(value) };
                found.set(name, [...(found.get(name) ?? []), series]);
            }
        }
        return found;
    }
}
