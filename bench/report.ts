import * as fs from "node:fs";
import * as path from "node:path";

import { projectDirectory } from "../tests/helpers/ke1";
import { row } from "./statistics";
import type { Sample } from "./statistics";

/** Prints a table of samples, and keeps them as JSON in bench/results, with what they were taken with. */
export function reportTable(
    name: string,
    unit: string,
    samples: Readonly<Record<string, Sample>>,
    settings: Readonly<Record<string, unknown>>,
): void {
    process.stdout.write(
        `| ${unit.padEnd(52)} | ${["min", "median", "max"].map((x) => x.padStart(8)).join(" | ")} |\n`,
    );
    process.stdout.write(`|${"-".repeat(54)}|${"---------:|".repeat(3)}\n`);
    for (const [what, sample] of Object.entries(samples)) {
        process.stdout.write(`${row(what, sample)}\n`);
    }
    const directory = path.join(projectDirectory, "bench", "results");
    fs.mkdirSync(directory, { recursive: true });
    const file = path.join(directory, `${name}-${new Date().toISOString().replace(/[:.]/g, "")}.json`);
    fs.writeFileSync(file, JSON.stringify({ ...settings, samples }, undefined, 2));
}
