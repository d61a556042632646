import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { secondPlatform } from "../tests/helpers/secondPlatform";
import { projectDirectory } from "../tests/helpers/ke1";
import { readSettings } from "../platform/settings";
import { reportTable } from "./report";
import { summarize } from "./statistics";
import type { Sample } from "./statistics";

/**
 * `make launch-build` in a fresh clone, on a platform of its own beside the machine's: first with nothing at all, then with
 * what Go and npm keep of that, but nothing of ours. Debian's packages are there on a machine that has had a platform: what
 * installing them takes comes on top of the first. Needs some ten minutes, the network, and 12 GiB of disk.
 *
 * ONLY=warm leaves out the first, and takes the caches that the user has. PROJECT is another clone to launch from, of which
 * what is committed counts, for a comparison.
 */
const runs = Number(process.env["RUNS"] ?? "1");
const onlyWarm = process.env["ONLY"] === "warm";
const project = path.resolve(process.env["PROJECT"] ?? projectDirectory);

/** Not in /tmp, which may be in memory. Always the same: what a run that was killed has left is then known as its own. */
const root = `${readSettings().home}-cold`;
const inRoot = (name: string) => path.join(root, name);
const keptByTools: NodeJS.ProcessEnv = onlyWarm
    ? {}
    : {
          GOCACHE: inRoot("go-build"),
          GOMODCACHE: inRoot("go-modules"),
          // So that it can be removed.
          GOFLAGS: "-modcacherw",
          npm_config_cache: inRoot("npm"),
      };
const clone = inRoot("clone");

interface Launch {
    readonly seconds: number;
    /** Seconds of processor time, of all that it waited for: not the daemons' nor the builds'. */
    readonly processor: number;
    /** Seconds of each step of the platform's start, by its name. */
    readonly steps: Readonly<Record<string, number>>;
}

async function main(): Promise<void> {
    const launches: Record<"cold" | "warm", Launch[]> = { cold: [], warm: [] };
    try {
        for (let run = 0; run < runs; run++) {
            await removeAll();
            if (!onlyWarm) {
                launches.cold.push(await launchInFreshClone());
                await removeOurs();
            }
            launches.warm.push(await launchInFreshClone());
        }
    } finally {
        await removeAll();
    }
    reportTable(
        "cold-launch",
        "seconds, make launch-build in a fresh clone",
        {
            ...(onlyWarm ? {} : rows("nothing there", launches.cold)),
            ...rows("Go's and npm's caches there", launches.warm),
        },
        { runs, onlyWarm, project: await commitOf(project) },
    );
}

function rows(name: string, launches: readonly Launch[]): Record<string, Sample> {
    const of = (measure: (launch: Launch) => number) => summarize(launches.map(measure));
    const steps = Object.keys(launches[0]?.steps ?? {});
    return {
        [name]: of(({ seconds }) => seconds),
        [`${name}: processor time`]: of(({ processor }) => processor),
        ...Object.fromEntries(steps.map((step) => [`${name}: ${step}`, of((launch) => launch.steps[step] ?? NaN)])),
    };
}

async function launchInFreshClone(): Promise<Launch> {
    fs.mkdirSync(root, { recursive: true, mode: 0o700 });
    await execute(["git", "clone", "--quiet", project, clone], "/");
    const started = process.hrtime.bigint();
    // The shell's `times` has the processor time of what it waited for: https://pubs.opengroup.org/onlinepubs/9699919799/
    const lines = await execute(["sh", "-c", "make launch-build && times >&2"], clone);
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    const steps = lines.flatMap((line) => {
        const [, step, took] = /^ {2}✓ (.+) ([\d.]+) s$/.exec(line) ?? [];
        return step === undefined ? [] : [[step, Number(took)] as const];
    });
    return { seconds, processor: processorSeconds(lines.at(-1) ?? ""), steps: Object.fromEntries(steps) };
}

async function commitOf(directory: string): Promise<string> {
    return (await promisify(execFile)("git", ["-C", directory, "rev-parse", "HEAD"])).stdout.trim();
}

/** Of the second line of `times`, for example `8m3.52s 0m41.10s`: user and system time of the shell's children. */
function processorSeconds(line: string): number {
    return [...line.matchAll(/(\d+)m([\d.]+)s/g)].reduce((sum, [, m, s]) => sum + Number(m) * 60 + Number(s), 0);
}

/** @returns the lines of its standard error, which the user sees meanwhile */
async function execute(command: readonly string[], directory: string): Promise<readonly string[]> {
    const outer = ["DOCKER_HOST", "KUBECONFIG", "PULUMI_BACKEND_URL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"];
    const environment = Object.entries(process.env).filter(([name]) => !outer.includes(name));
    const [program = "", ...args] = command;
    const child = spawn(program, args, {
        cwd: directory,
        stdio: ["ignore", "ignore", "pipe"],
        env: {
            ...Object.fromEntries(environment),
            ...secondPlatform,
            ...keptByTools,
            KE1_HOME: inRoot("home"),
            KE1_CACHE: inRoot("cache"),
        },
    });
    const lines: string[] = [];
    const start = process.hrtime.bigint();
    createInterface({ input: child.stderr }).on("line", (line) => {
        lines.push(line);
        const since = (Number(process.hrtime.bigint() - start) / 1e9).toFixed(1);
        process.stderr.write(`${since.padStart(6)}  ${line}\n`);
    });
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) {
        throw new Error(`${command.join(" ")} ended with ${code ?? "a signal"}`);
    }
    return lines;
}

/** Ends the platform, and removes clone and platform with all that was compiled for it. */
async function removeOurs(): Promise<void> {
    if (fs.existsSync(inRoot("home"))) {
        await execute([path.join(projectDirectory, "bin", "ke1"), "platform", "down", "--purge"], projectDirectory);
    }
    for (const name of ["clone", "cache", "home"]) {
        fs.rmSync(inRoot(name), { recursive: true, force: true });
    }
}

async function removeAll(): Promise<void> {
    await removeOurs();
    fs.rmSync(root, { recursive: true, force: true });
}

main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
