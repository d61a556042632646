import * as fs from "node:fs";

import { messageOf, UserError } from "../../contract/errors";
import type { Sample } from "../statistics";
import type { Results } from "./results";
import { latestResultsFile, publishedResults, readResults } from "./results";

/** A measure that two results have. */
export interface Compared {
    readonly part: string;
    readonly name: string;
    readonly before: Sample;
    readonly after: Sample;
    /** Of the medians, after over before. */
    readonly ratio: number;
    /** Where the ranges of the runs overlap, the difference may be chance. */
    readonly overlap: boolean;
}

export interface Comparison {
    readonly compared: readonly Compared[];
    /** What only one of them has: `part: name`. */
    readonly onlyBefore: readonly string[];
    readonly onlyAfter: readonly string[];
    /** What else differs between them, and makes seconds no measure of the program. */
    readonly warnings: readonly string[];
}

export function compare(before: Results, after: Results): Comparison {
    const [old, now] = [samplesOf(before), samplesOf(after)];
    const compared = [...now].flatMap(([key, { part, name, sample }]) => {
        const match = old.get(key)?.sample;
        if (!match) {
            return [];
        }
        const overlap = sample.min <= match.max && match.min <= sample.max;
        return [{ part, name, before: match, after: sample, ratio: sample.median / match.median, overlap }];
    });
    return {
        compared,
        onlyBefore: [...old.keys()].filter((key) => !now.has(key)),
        onlyAfter: [...now.keys()].filter((key) => !old.has(key)),
        warnings: warningsOf(before, after),
    };
}

function samplesOf({ parts }: Results) {
    return new Map(
        parts.flatMap(({ part, samples }) =>
            Object.entries(samples).map(([name, sample]) => [`${part}: ${name}`, { part, name, sample }] as const),
        ),
    );
}

function warningsOf(before: Results, after: Results): readonly string[] {
    return after.parts.flatMap((now) => {
        const old = before.parts.find(({ part }) => part === now.part);
        if (!old) {
            return [];
        }
        const machine = ({ machine: { cores, model, memoryGiB } }: typeof now) =>
            `${cores} cores, ${model}, ${memoryGiB} GiB`;
        return [
            ...(machine(old) === machine(now) ? [] : [`${now.part}: ${machine(old)} before, ${machine(now)} after`]),
            ...(JSON.stringify(old.settings) === JSON.stringify(now.settings)
                ? []
                : [`${now.part}: other settings: ${JSON.stringify(old.settings)}, ${JSON.stringify(now.settings)}`]),
        ];
    });
}

/** As Markdown. */
export function comparisonTable({ compared, onlyBefore, onlyAfter, warnings }: Comparison): string {
    const range = ({ min, median, max }: Sample) => `${figure(median)} (${figure(min)} to ${figure(max)})`;
    const cells = compared.map(({ part, name, before, after, ratio, overlap }) => [
        `${part}: ${name}`,
        range(before),
        range(after),
        ratio.toFixed(2),
        overlap ? "overlap" : ratio < 1 ? "lower" : "higher",
    ]);
    const head = ["median (range)", "before", "after", "ratio", "ranges"];
    const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)));
    const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
    return [
        line(head),
        `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`,
        ...cells.map(line),
        ...onlyBefore.map((key) => `only before: ${key}`),
        ...onlyAfter.map((key) => `only after: ${key}`),
        ...warnings.map((text) => `warning: ${text}`),
        "",
    ].join("\n");
}

function figure(value: number): string {
    return value.toFixed(Math.abs(value) < 100 ? 2 : 0);
}

function main(): void {
    const after = process.env["AFTER"] || latestResultsFile();
    const before = process.env["BEFORE"] || publishedResults;
    if (!fs.existsSync(before)) {
        throw new UserError(`there is no ${before}: name a file of results with BEFORE=`);
    }
    const [old, now] = [readResults(before), readResults(after)];
    process.stdout.write(`before: ${before}, ${madeOf(old)}\nafter: ${after}, ${madeOf(now)}\n\n`);
    process.stdout.write(comparisonTable(compare(old, now)));
}

function madeOf({ parts }: Results): string {
    return `of ${[...new Set(parts.map(({ versions }) => versions.ke1))].join(", ")}`;
}

if (require.main === module) {
    try {
        main();
    } catch (error) {
        process.stderr.write(`error: ${messageOf(error)}\n`);
        process.exitCode = error instanceof UserError ? 2 : 1;
    }
}
