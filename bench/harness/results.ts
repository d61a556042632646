import * as fs from "node:fs";
import * as path from "node:path";

import { messageOf, UserError } from "../../contract/errors";
import type { Sample } from "../statistics";
import { projectDirectory } from "./machine";
import type { Machine, Versions } from "./machine";

/** Of one part of the bench: its samples, and what they were taken with. */
export interface PartResult {
    readonly part: string;
    /** What it was measured by: bench/<program>.ts. */
    readonly program: string;
    readonly takenAt: string;
    readonly machine: Machine;
    readonly versions: Versions;
    readonly unit: string;
    readonly settings: Readonly<Record<string, unknown>>;
    readonly samples: Readonly<Record<string, Sample>>;
    readonly series?: Series;
    readonly distributions?: Distributions;
}

/** By name: what was measured at several sizes, smallest first. */
export type Series = Readonly<Record<string, readonly { readonly size: number; readonly sample: Sample }[]>>;

/** By name: the percentiles from 0 to 100 of many values (statistics.ts). */
export type Distributions = Readonly<Record<string, readonly number[]>>;

/** A file of results: what one `make bench` measured. */
export interface Results {
    readonly schema: 1;
    readonly parts: readonly PartResult[];
}

export const resultsDirectory = path.join(projectDirectory, "bench", "results");

/** What the tables of docs/performance.md are made of. */
export const publishedResults = path.join(projectDirectory, "docs", "performance", "results.json");

/** A name for a new file of results: in the order of their names they are in the order of time. */
export function newResultsFile(now: Date): string {
    return path.join(resultsDirectory, `${now.toISOString().replace(/[-:]|\.\d+/g, "")}.json`);
}

/** The newest file of results. */
export function latestResultsFile(directory: string = resultsDirectory): string {
    const names = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
    const last = names
        .filter((name) => /^\d{8}T\d{6}Z\.json$/.test(name))
        .sort()
        .at(-1);
    if (last === undefined) {
        throw new UserError("there are no results yet: run `make bench`, or name a file of results");
    }
    return path.join(directory, last);
}

/** Adds what a part measured; what it measured before in the same file is replaced. */
export function addPart(file: string, part: PartResult): void {
    const before = fs.existsSync(file) ? readResults(file).parts : [];
    writeResults(
        file,
        merged([
            { schema: 1, parts: before },
            { schema: 1, parts: [part] },
        ]),
    );
}

/** Of a part that is in several, the last is taken. */
export function merged(all: readonly Results[]): Results {
    const parts = new Map<string, PartResult>();
    for (const part of all.flatMap((each) => each.parts)) {
        parts.set(part.part, part);
    }
    return { schema: 1, parts: [...parts.values()] };
}

/** Written whole: a bench that is killed leaves the results of the parts that had ended. */
export function writeResults(file: string, results: Results): void {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(`${file}.new`, `${JSON.stringify(results, undefined, 2)}\n`);
    fs.renameSync(`${file}.new`, file);
}

export function readResults(file: string): Results {
    let found: unknown;
    try {
        found = JSON.parse(fs.readFileSync(file, "utf8"));
    } catch (error) {
        throw new UserError(`${file} cannot be read as results: ${messageOf(error)}`);
    }
    if (!isResults(found)) {
        throw new UserError(`${file} is not a file of results of this version: run \`make bench\` again`);
    }
    return found;
}

function isResults(value: unknown): value is Results {
    const { schema, parts } = (value ?? {}) as Partial<Results>;
    return (
        schema === 1 &&
        Array.isArray(parts) &&
        (parts as Partial<PartResult>[]).every(
            ({ part, samples, machine, versions }) =>
                typeof part === "string" && Boolean(machine) && Boolean(versions) && areSamples(samples),
        )
    );
}

function areSamples(value: unknown): boolean {
    return (
        typeof value === "object" &&
        value !== null &&
        Object.values(value as Record<string, Partial<Sample> | null>).every(
            (sample) => typeof sample?.median === "number" && Array.isArray(sample.runs),
        )
    );
}
