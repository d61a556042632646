import type { PartResult, Results } from "./results";
import type { Sample } from "../statistics";

/** What is aimed at: docs/performance.md has the table. */
export interface Goal {
    /** What is measured, in Markdown. */
    readonly what: string;
    readonly part: string;
    /** Matches the name of the sample that shows it. */
    readonly sample: RegExp;
    readonly atMost?: number;
    readonly atLeast?: number;
    /** Empty for a ratio. */
    readonly unit: "" | "s" | "MiB";
}

const launch = { part: "launch", unit: "" } as const;
const engine = { part: "engine", unit: "s" } as const;
const exporter = { part: "export", unit: "" } as const;
const log = { part: "log", unit: "s", atMost: 1 } as const;

export const goals: readonly Goal[] = [
    {
        ...{ ...launch, atMost: 1, sample: /^1 build: ke1 up \/ kubectl$/ },
        what: "`ke1 up` of one build, against `kubectl create` and `kubectl wait`",
    },
    { ...launch, atMost: 1, sample: /^\d+ builds at once: ke1 up \/ kubectl$/, what: "20 builds at once, the same" },
    { ...launch, unit: "s", atMost: 0.8, sample: /^ke1 up, nothing to do$/, what: "`ke1 up`, nothing to do" },
    {
        ...{ ...launch, atMost: 0.5, sample: /^nothing to do: ke1 up \/ pulumi up$/ },
        what: "`ke1 up`, nothing to do, against the Pulumi CLI",
    },
    { ...launch, unit: "s", atMost: 0.8, sample: /^ke1 preview\b/, what: "`ke1 preview`" },
    { ...engine, atMost: 15, sample: /^1,?000 ConfigMaps.*\bcreate$/, what: "engine: 1,000 ConfigMaps, create" },
    { ...engine, atMost: 2, sample: /^1,?000 ConfigMaps.*\bnothing to do$/, what: "engine: the same, nothing to do" },
    { ...engine, atMost: 15, sample: /^1,?000 ConfigMaps.*\bdestroy$/, what: "engine: the same, destroy" },
    {
        ...{ ...exporter, atLeast: 0.9, sample: /^1 file of .*: plain SDK \/ exporter$/ },
        what: "exporter: one file of 1 GiB, the plain SDK at its best against it",
    },
    {
        ...{ ...exporter, atLeast: 0.9, sample: /^\d+ files of .*: plain SDK \/ exporter$/ },
        what: "exporter: 10,000 files of 10 KiB, the same",
    },
    {
        ...{ ...exporter, unit: "MiB", atMost: 150, sample: /^1 file of .*peak memory/ },
        what: "exporter: its memory, one file of 1 GiB",
    },
    {
        ...{ ...exporter, unit: "MiB", atMost: 150, sample: /^\d+ files of .*peak memory/ },
        what: "exporter: its memory, 10,000 files",
    },
    ...["1 line", "10,000 lines"].flatMap((lines) => [
        {
            ...log,
            sample: new RegExp(`^${lines} a second, to the blob: 95th`),
            what: `log, ${lines} a second: to the blob, 95th percentile`,
        },
        {
            ...{ ...log, sample: new RegExp(`^${lines} a second, to the screen of ke1 up: 95th`) },
            what: `log, ${lines} a second: to the screen of \`ke1 up\`, 95th percentile`,
        },
        {
            ...{ ...log, sample: new RegExp(`^${lines} a second, to the screen of ke1 logs --follow: 95th`) },
            what: `log, ${lines} a second: to that of \`ke1 logs --follow\`, 95th percentile`,
        },
    ]),
];

export function limitOf({ atMost, atLeast, unit }: Goal): string {
    const word = atMost === undefined ? "at least" : "at most";
    return `${word} ${atMost ?? atLeast ?? NaN}${unit === "" ? "" : ` ${unit}`}`;
}

/** Whether the median is what is aimed at. */
export function isMet({ atMost = Infinity, atLeast = -Infinity }: Goal, { median }: Sample): boolean {
    return median <= atMost && median >= atLeast;
}

/** The goal that a sample of a part shows, if any. */
export function goalOf(part: string, sample: string): Goal | undefined {
    return goals.find((goal) => goal.part === part && goal.sample.test(sample));
}

/** The part and the sample that show it; undefined where it was not measured. */
export function measured(
    goal: Goal,
    results: Results,
): { readonly part: PartResult; readonly name: string; readonly sample: Sample } | undefined {
    for (const part of results.parts.filter((each) => each.part === goal.part)) {
        const [name, sample] = Object.entries(part.samples).find(([each]) => goal.sample.test(each)) ?? [];
        if (name !== undefined && sample) {
            return { part, name, sample };
        }
    }
    return undefined;
}
