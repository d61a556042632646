import { buildPhases } from "../contract/timings";
import { columns } from "./columns";
import type { BuildTimings, OperationTimings, PhaseTiming } from "./timings";

/** The bar of the longest operation, in characters. */
const barWidth = 24;

/** The timings as lines for a person. */
export function timingsTable(timings: OperationTimings): readonly string[] {
    const { builds } = timings;
    const [first] = builds;
    if (!first) {
        return withNotes([`Timings: ${total(timings)}`, ...phaseTable(timings.phases, timings.seconds)], []);
    }
    const lines = builds.some(({ step }) => step !== undefined)
        ? pipelineTable(timings)
        : builds.length === 1
          ? [`Timings of ${titleOf(first)}: ${total(timings)}`, ...phaseTable(first.phases, timings.seconds)]
          : summaryTable(timings);
    return withNotes(
        lines,
        builds.flatMap(({ phases }) => phases),
    );
}

/** One build, or none: a row for each phase. */
function phaseTable(phases: readonly PhaseTiming[], whole: number): readonly string[] {
    return aligned(
        [
            ["phase", "seconds", "sum", "", "known from"],
            ...phases.map((phase) => [
                phase.phase,
                secondsOf(phase),
                phase.sum?.toFixed(2) ?? "-",
                bar(phase, whole),
                phase.note === undefined ? phase.from : `${phase.from}: ${phase.note}`,
            ]),
        ],
        "lrrll",
    );
}

/** Several builds: for each phase, how long it took the builds that went through it; and the build that ended last. */
function summaryTable(timings: OperationTimings): readonly string[] {
    const { builds } = timings;
    const last = builds.at(-1);
    const names = orderOf(builds);
    const rows = names.map((name) => {
        const found = builds.flatMap(({ phases }) => phases.filter(({ phase }) => phase === name));
        const seconds = found.map((phase) => phase.seconds).sort((a, b) => a - b);
        const mark = found.some(({ exact }) => !exact) ? "~" : "";
        const three = [seconds[0], medianOf(seconds), seconds.at(-1)];
        const slowest = last?.phases.find(({ phase }) => phase === name);
        return [
            name,
            String(found.length),
            ...three.map((value) => (value === undefined ? "-" : `${mark}${value.toFixed(2)}`)),
            slowest ? secondsOf(slowest) : "-",
            slowest?.sum?.toFixed(2) ?? "-",
            slowest ? slowest.from : "",
        ];
    });
    const ended = new Map<string, number>();
    builds.forEach(({ outcome }) => ended.set(outcome, (ended.get(outcome) ?? 0) + 1));
    const outcomes = [...ended].map(([outcome, count]) => `${count} ${outcome}`).join(", ");
    const header = ["phase", "builds", "min", "median", "max", last?.buildTag ?? "", "sum", "known from"];
    return [
        `Timings of ${builds.length} builds (${outcomes}): ${total(timings)}; the last to end was ${last ? titleOf(last) : ""}`,
        ...aligned([header, ...rows], "lrrrrrrl"),
    ];
}

/** A pipeline: what comes before and after its steps, and a row for each step. */
function pipelineTable(timings: OperationTimings): readonly string[] {
    const { builds } = timings;
    const launch = builds[0]?.phases.filter(({ from }) => from === "ke1") ?? [];
    const own = orderOf(builds).filter((name) => buildPhases.some((phase) => phase === name));
    const tags = new Set(builds.map(({ buildTag }) => buildTag));
    const nameOf = ({ buildTag, step }: BuildTimings) => (tags.size > 1 ? `${buildTag}/${step ?? ""}` : (step ?? ""));
    const rows = builds.map((build) => {
        const timed = own.map((name) => build.phases.find(({ phase }) => phase === name));
        const sum = timed.findLast((phase) => phase?.sum !== undefined)?.sum;
        return [
            nameOf(build),
            ...timed.map((phase) => (phase ? secondsOf(phase) : "-")),
            sum?.toFixed(2) ?? "-",
            build.outcome,
        ];
    });
    return [
        `Timings of ${[...tags].join(", ")}: ${total(timings)}`,
        ...phaseTable(
            launch.filter(({ phase }) => phase !== "seen" && phase !== "done"),
            timings.seconds,
        ),
        "",
        ...aligned([["step", ...own, "ended at", ""], ...rows], `l${"r".repeat(own.length + 1)}l`),
    ];
}

/** The names of the phases that any of the builds went through, in their order. */
function orderOf(builds: readonly BuildTimings[]): readonly string[] {
    const there = new Set(builds.flatMap(({ phases }) => phases.map(({ phase }) => phase)));
    return ["program start", "image", "create", ...buildPhases, "done"].filter((name) => there.has(name));
}

function titleOf({ buildTag, outcome, attempt }: BuildTimings): string {
    return `${buildTag} (${outcome}${(attempt ?? 1) > 1 ? `, attempt ${attempt ?? 1}` : ""})`;
}

function total({ seconds }: OperationTimings): string {
    return `${seconds.toFixed(2)} s`;
}

function secondsOf({ seconds, exact }: PhaseTiming): string {
    return `${exact ? "" : "~"}${seconds.toFixed(2)}`;
}

/** Where in the operation the phase was: what an earlier run did is not in it. */
function bar({ sum, seconds }: PhaseTiming, whole: number): string {
    if (sum === undefined || whole === 0) {
        return "".padEnd(barWidth);
    }
    const column = (at: number) => Math.min(barWidth, Math.max(0, Math.round((at / whole) * barWidth)));
    const from = Math.min(barWidth - 1, column(sum - seconds));
    return `${" ".repeat(from)}${"█".repeat(Math.max(1, column(sum) - from))}`.padEnd(barWidth);
}

function withNotes(lines: readonly string[], phases: readonly PhaseTiming[]): readonly string[] {
    return phases.some(({ exact }) => !exact)
        ? [...lines, "~ known to a second only, or from clocks that differ (docs/timings.md)"]
        : lines;
}

function aligned(rows: readonly (readonly string[])[], sides: string): readonly string[] {
    return columns(rows, sides).map((line) => `  ${line}`);
}

/** Of numbers in order. */
function medianOf(sorted: readonly number[]): number | undefined {
    const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]];
    return low === undefined || high === undefined ? undefined : (low + high) / 2;
}
