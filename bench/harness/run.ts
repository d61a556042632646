import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";

import { messageOf, UserError } from "../../contract/errors";
import { projectDirectory } from "./machine";
import { newResultsFile } from "./results";

/** What `make bench` runs where nothing else is asked for, in this order. */
const usual = ["launch", "engine", "log", "warmLaunch", "export"];
/** What takes long, or needs more than the platform, and is asked for by name. */
const others = ["scale", "coldLaunch", "image", "mirror", "service"];
const directory = path.join(projectDirectory, "bench");

/**
 * Runs parts of the bench one after the other, each as a process of its own, with all results in one file. A part that fails
 * keeps no other from being run. What a part compares takes turns within it.
 *
 * @returns how many failed
 */
async function runParts(wanted: readonly string[], results: string): Promise<number> {
    let failed = 0;
    for (const part of wanted) {
        process.stderr.write(`bench: ${part}\n`);
        const started = Date.now();
        const child = spawn(
            process.execPath,
            ["-r", "ts-node/register/transpile-only", path.join(directory, `${part}.ts`)],
            { cwd: projectDirectory, env: { ...process.env, BENCH_RESULTS: results }, stdio: "inherit" },
        );
        const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
        if (signal === "SIGINT") {
            return failed + 1;
        }
        failed += code === 0 ? 0 : 1;
        const end = code === 0 ? "done" : "failed";
        process.stderr.write(`bench: ${part} ${end} after ${Math.round((Date.now() - started) / 1000)} s\n`);
    }
    return failed;
}

/** Those that are asked for, separated by commas or blanks. */
function partsOf(wanted: string): readonly string[] {
    const all = [...usual, ...others].filter((name) => fs.existsSync(path.join(directory, `${name}.ts`)));
    const names = wanted.split(/[\s,]+/).filter((name) => name !== "");
    const unknown = names.find((name) => !all.includes(name));
    if (unknown !== undefined) {
        throw new UserError(`PARTS: there is no part "${unknown}"; there are ${all.join(", ")}`);
    }
    return names.length > 0 ? names : usual.filter((name) => all.includes(name));
}

async function main(): Promise<void> {
    const wanted = partsOf(process.env["PARTS"] ?? "");
    execFileSync(path.join(projectDirectory, "bin", "ke1"), ["platform", "up"], { stdio: "inherit" });
    const results = path.resolve(process.env["BENCH_RESULTS"] || newResultsFile(new Date()));
    // The terminal's SIGINT reaches the part too, which cleans up; this process waits for it.
    process.on("SIGINT", () => undefined);
    process.exitCode = (await runParts(wanted, results)) === 0 ? 0 : 1;
    if (fs.existsSync(results)) {
        process.stderr.write(`bench: the results are in ${path.relative(process.cwd(), results)}\n`);
    }
}

main().catch((error: unknown) => {
    process.stderr.write(`error: ${messageOf(error)}\n`);
    process.exitCode = error instanceof UserError ? 2 : 1;
});
