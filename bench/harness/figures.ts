import { distributionPlot } from "../plots/distribution";
import { growthPlot } from "../plots/growth";
import { stripPlot } from "../plots/strip";
import type { Sample } from "../statistics";
import type { Goal } from "./goals";
import { goalOf, goals, isMet, limitOf, measured } from "./goals";
import type { PartResult, Results, Series } from "./results";

/** What the figures of a file of results look like in docs/performance.md: Markdown, and the plots that it shows. */
export interface Figures {
    readonly markdown: string;
    /** By the name of their file. */
    readonly plots: Readonly<Record<string, string>>;
}

/** @param plotDirectory where the page finds the plots */
export function figures(results: Results, plotDirectory: string): Figures {
    const plots: Record<string, string> = {};
    const show = (name: string, alternative: string, plot: string) => {
        plots[`${name}.svg`] = plot;
        return `![${alternative}](${plotDirectory}/${name}.svg)`;
    };
    const found = goals.flatMap((goal) => {
        const one = measured(goal, results);
        // A difference can be less than nothing, where a ratio has no place: the table has it.
        return one && one.sample.min > 0 ? [{ goal, ...one }] : [];
    });
    const sections = [
        goalsTable(results),
        ...(found.length > 0
            ? [show("goals", "each run of each goal's measure, over the goal", goalsPlot(found))]
            : []),
        ...results.parts.flatMap((part) => [
            `### ${command(part.program)}${part.part === part.program ? "" : `: ${part.part}`}`,
            takenWith(part),
            sampleTable(part),
            ...partPlots(part).map(({ name, alternative, plot }) => show(name, alternative, plot)),
        ]),
    ];
    return { markdown: sections.join("\n\n"), plots };
}

function goalsTable(results: Results): string {
    const rows = goals.map((goal) => {
        const one = measured(goal, results);
        const { what, program } = goal;
        if (!one) {
            return [what, limitOf(goal), "not measured", "", "", command(program)];
        }
        const { sample } = one;
        return [
            ...[what, limitOf(goal), `**${figure(sample.median)}**`, `${figure(sample.min)} to ${figure(sample.max)}`],
            ...[isMet(goal, sample) ? "yes" : "no", command(program)],
        ];
    });
    return table(["", "goal", "median", "range", "met", "command"], rows);
}

function sampleTable({ samples }: PartResult): string {
    const rows = Object.entries(samples).map(([name, { min, median, max, runs }]) => [
        ...[name, figure(min), figure(median), figure(max), String(runs.length)],
    ]);
    return table(["", "min", "median", "max", "runs"], rows);
}

function takenWith({ unit, takenAt, machine, versions, settings }: PartResult): string {
    const { cores, model, memoryGiB, kernel, load } = machine;
    const given = Object.entries(settings).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
    return (
        `In ${unit}. Commit ${versions.ke1}, Node.js ${versions.node}, Kubernetes ${versions.kubernetes}; ` +
        `${cores} cores (${model}), ${memoryGiB} GiB, Linux ${kernel}; ${takenAt.slice(0, 16).replace("T", " ")} UTC, ` +
        `load ${load} at its end${given.length > 0 ? `; ${given.join(", ")}` : ""}.`
    );
}

/** Relative to what is aimed at, so that all fit one axis: what is over 1 is not there yet. */
function goalsPlot(found: readonly { readonly goal: Goal; readonly sample: Sample }[]): string {
    return stripPlot({
        title: "Each goal's runs, over the goal",
        description:
            "One row for each goal. A dot is a run, the box has the middle half of them, its line is the median; 1 is the " +
            `goal, and less is better. ${found.filter(({ goal, sample }) => isMet(goal, sample)).length} of ` +
            `${found.length} medians are at the goal or better.`,
        axis: "measured / goal (for a goal that is a least value: goal / measured)",
        isRatio: true,
        rows: found.map(({ goal, sample: { runs, min, median, max } }) => {
            const { atMost, atLeast = NaN, what } = goal;
            const relative = (value: number) => (atMost === undefined ? atLeast / value : value / atMost);
            const sorted = [relative(min), relative(max)].sort((a, b) => a - b) as [number, number];
            return {
                name: what.replaceAll("`", "").replace(" percentile", ""),
                goal: 1,
                sample: { min: sorted[0], median: relative(median), max: sorted[1], runs: runs.map(relative) },
            };
        }),
    });
}

interface NamedPlot {
    readonly name: string;
    readonly alternative: string;
    readonly plot: string;
}

function partPlots({
    part,
    unit,
    samples,
    series = seriesOf(samples),
    distributions,
}: PartResult): readonly NamedPlot[] {
    if (distributions) {
        return [
            {
                name: part,
                alternative: `how many lines have come after how many seconds`,
                plot: distributionPlot({
                    title: `How long a line takes (${unit})`,
                    description:
                        "For each number of lines a second and each reader, how many percent of the lines had come after " +
                        "so many seconds. The goal is 95 percent within 1 s.",
                    valueName: unit,
                    shareName: "percent of the lines",
                    distributions,
                    goal: { percent: 95, value: 1 },
                }),
            },
        ];
    }
    if (Object.keys(series).length > 0) {
        return [
            {
                name: part,
                alternative: `${part}: ${unit} at several sizes`,
                plot: growthPlot({
                    title: `${part}: how it grows`,
                    description: `${Object.keys(series).join(", ")}, in ${unit}, at several sizes. A line that is no steeper than the dotted one to nothing grows no faster than its size.`,
                    sizeName: "resources",
                    valueName: unit,
                    series,
                }),
            },
        ];
    }
    // What is in another unit than the part is in the table.
    const rows = Object.entries(samples).flatMap(([name, sample]) => {
        const goal = goalOf(part, name);
        return isOfAnotherUnit(name) ? [] : [{ name, sample, goal: goal?.atMost ?? goal?.atLeast }];
    });
    return rows.length === 0
        ? []
        : [
              {
                  name: part,
                  alternative: `every run of ${part}`,
                  plot: stripPlot({
                      title: `${part}: every run`,
                      description: `One row for each measure, in ${unit}. A dot is a run, the box has the middle half of them, its line is the median.`,
                      axis: unit.split(",", 1)[0] ?? unit,
                      rows,
                  }),
              },
          ];
}

/** Of samples that are named by their size, as in `100 ConfigMaps, ke1: create`; what runs beside `ke1` is in the table. */
function seriesOf(samples: PartResult["samples"]): Series {
    const series: Record<string, Series[string][number][]> = {};
    for (const [name, sample] of Object.entries(samples)) {
        const [, size, what = ""] = /^(\d+) \w+, ke1: ([^/]+)$/.exec(name) ?? [];
        if (size !== undefined) {
            (series[what] ??= []).push({ size: Number(size), sample });
        }
    }
    const several = Object.entries(series).filter(([, points]) => points.length > 1);
    return Object.fromEntries(several.map(([name, points]) => [name, points.sort((a, b) => a.size - b.size)]));
}

/** By what report.ts says of names. */
function isOfAnotherUnit(name: string): boolean {
    return / \/ |, [KMG]i?B$/.test(name);
}

function command(program: string): string {
    return `\`make bench PARTS=${program}\``;
}

function figure(value: number): string {
    return value.toFixed(Math.abs(value) < 100 ? 2 : 0);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
    const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
    return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
