import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

import { kubectl, platform, projectDirectory, run } from "../tests/helpers/ke1";
import { TemporaryDirectory } from "../tests/helpers/temporary";
import { reportTable } from "./report";
import { summarize } from "./statistics";
import type { Sample } from "./statistics";

/**
 * What the engine itself costs: a program of so many ConfigMaps is brought up, brought up again with nothing to do, and
 * destroyed; by `ke1`, and in turns with it by the Pulumi CLI where `pulumi` is on the PATH. The program is JavaScript, so that
 * no compiler is in the figures.
 */
const runs = Number(process.env["RUNS"] ?? "7");
const sizes = (process.env["SIZES"] ?? "100,300,1000").split(",").map(Number);

const steps = ["create", "nothing to do", "destroy"] as const;

const program = `
"use strict";
const { ConfigMap } = require("@pulumi/kubernetes/core/v1");
const namespace = process.env.BENCH_NAMESPACE;
for (let index = 0; index < Number(process.env.BENCH_SIZE); index++) {
    new ConfigMap(\`map-\${index}\`, { metadata: { name: \`map-\${index}\`, namespace }, data: { index: String(index) } });
}
`;

interface Engine {
    readonly name: string;
    readonly command: string;
    readonly up: readonly string[];
    readonly destroy: readonly string[];
}

const ke1: Engine = {
    name: "ke1",
    command: path.join(projectDirectory, "bin", "ke1"),
    up: ["up", "--stack", "dev", "--cwd", "."],
    destroy: ["destroy", "--stack", "dev", "--cwd", "."],
};

const cli: Engine = {
    name: "pulumi",
    command: "pulumi",
    up: ["up", "--stack", "dev", "--yes", "--skip-preview", "--non-interactive"],
    destroy: ["destroy", "--stack", "dev", "--yes", "--skip-preview", "--non-interactive"],
};

/** Seconds, and MiB of the engine and its program at their peaks. */
interface Cost {
    readonly seconds: number;
    readonly memory: number;
}

async function main(): Promise<void> {
    const found = await run("pulumi", ["version"]).catch(() => undefined);
    const namespace = `tmp-bench-engine-${process.pid}`;
    const own = new Project(ke1, namespace);
    const other = found?.code === 0 ? new Project(cli, namespace) : undefined;
    const projects = other === undefined ? [own] : [own, other];
    // An interrupt from the terminal reaches the engine too, which ends; all is then cleaned up below.
    process.once("SIGINT", () => undefined);
    try {
        await kubectl("create", "namespace", namespace);
        for (const project of projects) {
            await project.prepare();
        }
        // What is compiled at the first run is kept for all others.
        for (const project of projects) {
            await project.cycle(1);
        }
        for (let count = 0; count < runs; count++) {
            for (const size of sizes) {
                for (const project of projects) {
                    await project.cycle(size);
                }
            }
        }
        reportTable("engine", "seconds, or a ratio", samplesOf(own, other), { runs, sizes });
    } finally {
        projects.forEach((project) => project.remove());
        await kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false");
    }
}

/** The program as a project of one engine, with a state of its own. */
class Project {
    /** By size, then in the order of the steps. */
    public readonly costs = new Map<number, readonly Cost[][]>();
    private readonly directory = new TemporaryDirectory();

    public constructor(
        public readonly engine: Engine,
        private readonly namespace: string,
    ) {
        this.directory.file(
            "Pulumi.yaml",
            "name: bench-engine\nruntime: { name: nodejs, options: { typescript: false } }\n",
        );
        this.directory.file("Pulumi.dev.yaml", "config: {}\n");
        this.directory.file("package.json", JSON.stringify({ name: "bench-engine", main: "index.js" }));
        this.directory.file("index.js", program);
        fs.symlinkSync(path.join(projectDirectory, "node_modules"), path.join(this.directory.path, "node_modules"));
        fs.mkdirSync(path.join(this.directory.path, "state"));
    }

    public async prepare(): Promise<void> {
        if (this.engine === cli) {
            await this.run(["stack", "init", "dev", "--non-interactive"], 0);
        }
    }

    public async cycle(size: number): Promise<void> {
        const { up, destroy } = this.engine;
        const taken = this.costs.get(size) ?? steps.map(() => []);
        this.costs.set(size, taken);
        for (const [index, args] of [up, up, destroy].entries()) {
            taken[index]?.push(await this.run(args, size));
        }
    }

    public sample(size: number, step: (typeof steps)[number], of: keyof Cost = "seconds"): Sample {
        return summarize((this.costs.get(size)?.[steps.indexOf(step)] ?? []).map((cost) => cost[of]));
    }

    public remove(): void {
        this.directory.remove();
    }

    private async run(args: readonly string[], size: number): Promise<Cost> {
        const started = performance.now();
        const child = spawn(this.engine.command, args, {
            cwd: this.directory.path,
            env: {
                ...process.env,
                KUBECONFIG: platform().kubeconfig,
                PULUMI_BACKEND_URL: `file://${this.directory.path}/state`,
                PULUMI_CONFIG_PASSPHRASE: "bench",
                PULUMI_SKIP_UPDATE_CHECK: "true",
                BENCH_NAMESPACE: this.namespace,
                BENCH_SIZE: String(size),
            },
            stdio: ["ignore", "pipe", "pipe"],
        });
        const peaks = new Map<number, number>();
        const watch = setInterval(() => notePeaks(child.pid, peaks), 100);
        let output = "";
        const keep = (text: string): string => (output = (output + text).slice(-4000));
        child.stdout.setEncoding("utf8").on("data", keep);
        child.stderr.setEncoding("utf8").on("data", keep);
        const code = await new Promise<number | null>((resolve, reject) => {
            child.once("error", reject);
            child.once("close", resolve);
        }).finally(() => clearInterval(watch));
        if (code !== 0) {
            throw new Error(`${this.engine.name} ${args[0] ?? ""} ended with ${code ?? "a signal"}:\n${output}`);
        }
        const memory = [...peaks.values()].reduce((sum, peak) => sum + peak, 0);
        return { seconds: (performance.now() - started) / 1000, memory };
    }
}

function samplesOf(own: Project, other: Project | undefined): Readonly<Record<string, Sample>> {
    const samples: Record<string, Sample> = {};
    for (const size of sizes) {
        for (const step of steps) {
            const sample = own.sample(size, step);
            samples[`${size} ConfigMaps, ke1: ${step}`] = sample;
            if (other !== undefined) {
                const beside = other.sample(size, step);
                samples[`${size} ConfigMaps, pulumi: ${step}`] = beside;
                samples[`${size} ConfigMaps, ${step}: ke1 / pulumi`] = divided(sample.runs, beside.runs);
            }
        }
    }
    for (const size of [sizes[0] ?? 0, sizes.at(-1) ?? 0]) {
        for (const step of steps) {
            samples[`${size} ConfigMaps, ${step}: peak memory, MiB`] = own.sample(size, step, "memory");
        }
    }
    const [first, second, third] = sizes;
    if (first !== undefined && second !== undefined && third !== undefined) {
        for (const step of steps) {
            // One where the time is linear in the number of resources, whatever the start takes; more where it is not.
            const each = (from: number, to: number): readonly number[] => {
                const before = own.sample(from, step).runs;
                return own.sample(to, step).runs.map((seconds, run) => (seconds - (before[run] ?? NaN)) / (to - from));
            };
            const name = `${step}: each of ${second} to ${third} / each of ${first} to ${second}`;
            samples[name] = divided(each(second, third), each(first, second));
        }
    }
    return samples;
}

function divided(over: readonly number[], under: readonly number[]): Sample {
    return summarize(over.map((value, index) => value / (under[index] ?? NaN)));
}

/** The high-water marks of the resident memory of a process and those that it has started, in MiB, by process. */
function notePeaks(pid: number | undefined, peaks: Map<number, number>): void {
    if (pid === undefined) {
        return;
    }
    try {
        const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
        // One that is ending has none any more.
        const peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? "0") / 1024;
        peaks.set(pid, Math.max(peak, peaks.get(pid) ?? 0));
        const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
        children
            .split(" ")
            .filter(Boolean)
            .forEach((child) => notePeaks(Number(child), peaks));
    } catch {
        // It has just ended.
    }
}

main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
