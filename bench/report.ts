import * as path from "node:path";

import { machine, versions } from "./harness/machine";
import { addPart, newResultsFile } from "./harness/results";
import type { Distributions, Series } from "./harness/results";
import { row } from "./statistics";
import type { Sample } from "./statistics";

/** What a part has for the plots beside its samples. */
export interface Details {
    readonly series?: Series;
    readonly distributions?: Distributions;
}

/**
 * Prints a table of samples, and keeps them as JSON with what they were taken with: in the file that BENCH_RESULTS names, as
 * `make bench` does for all its parts, or in a new one in bench/results.
 *
 * @param name of the part: one that is there already is replaced
 * @param unit of the samples; one of another ends in it after a comma (`peak memory, MiB`), and a ratio's name has ` / `
 */
export function reportTable(
    name: string,
    unit: string,
    samples: Readonly<Record<string, Sample>>,
    settings: Readonly<Record<string, unknown>>,
    details: Details = {},
): void {
    process.stdout.write(
        `| ${unit.padEnd(52)} | ${["min", "median", "max"].map((x) => x.padStart(8)).join(" | ")} |\n`,
    );
    process.stdout.write(`|${"-".repeat(54)}|${"---------:|".repeat(3)}\n`);
    for (const [what, sample] of Object.entries(samples)) {
        process.stdout.write(`${row(what, sample)}\n`);
    }
    const [broken] = Object.entries(samples).find(([, { runs }]) => !runs.length || !runs.every(Number.isFinite)) ?? [];
    if (broken !== undefined) {
        throw new Error(`${name}: a run of "${broken}" has no figure; its results are not kept`);
    }
    const now = new Date();
    addPart(process.env["BENCH_RESULTS"] || newResultsFile(now), {
        // What `make bench PARTS=` calls it: one program can report more than one table.
        program: path.basename(process.argv[1] ?? "", ".ts"),
        ...{ part: name, takenAt: now.toISOString(), machine: machine(), versions: versions() },
        ...{ unit, settings, samples, ...details },
    });
}
