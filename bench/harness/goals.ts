import type { PartResult, Results } from "./results";
import type { Sample } from "../statistics";

/** What is aimed at: docs/performance.md has the table. */
export interface Goal {
    /** What is measured, in Markdown. */
    readonly what: string;
    /** What measures it: bench/<program>.ts. */
    readonly program: string;
    readonly part: string;
    /** Matches the name of the sample that shows it. */
    readonly sample: RegExp;
    readonly atMost?: number;
    readonly atLeast?: number;
    /** Empty for a ratio. */
    readonly unit: "" | "s" | "MiB";
}

const launch = { program: "launch", part: "launch", unit: "" } as const;
const engine = { program: "engine", part: "engine", unit: "s" } as const;
const exporter = { program: "export", part: "export", unit: "" } as const;
const log = { program: "log", part: "log", unit: "s", atMost: 1 } as const;
const cold = { program: "coldLaunch", part: "cold-launch", unit: "s" } as const;

const readers = [
    ["to the blob", "to the blob"],
    ["to the screen of ke1 up", "to the screen of `ke1 up`"],
    ["to the screen of ke1 logs --follow", "to that of `ke1 logs --follow`"],
] as const;

export const goals: readonly Goal[] = [
    {
        ...{ ...launch, atMost: 1, sample: /^1 build: ke1 up \/ kubectl$/ },
        what: "`ke1 up` of one build, against `kubectl create` and `kubectl wait`",
    },
    { ...launch, atMost: 1, sample: /^20 builds at once: ke1 up \/ kubectl$/, what: "20 builds at once, the same" },
    { ...launch, unit: "s", atMost: 0.8, sample: /^ke1 up, nothing to do$/, what: "`ke1 up`, nothing to do" },
    {
        ...{ ...launch, atMost: 0.5, sample: /^nothing to do: ke1 up \/ pulumi up$/ },
        what: "the same, against the Pulumi CLI",
    },
    { ...launch, unit: "s", atMost: 0.8, sample: /^ke1 preview\b/, what: "`ke1 preview`" },
    { ...engine, atMost: 15, sample: /^1000 ConfigMaps, ke1: create$/, what: "engine: 1,000 ConfigMaps, create" },
    { ...engine, atMost: 2, sample: /^1000 ConfigMaps, ke1: nothing to do$/, what: "engine: nothing to do" },
    { ...engine, atMost: 15, sample: /^1000 ConfigMaps, ke1: destroy$/, what: "engine: destroy" },
    ...["create", "destroy"].map((step) => ({
        // A tenth more is what two differences of a few runs can tell from linear.
        ...{
            ...engine,
            unit: "" as const,
            atMost: 1.1,
            sample: new RegExp(`^${step}: each of \\d+ to 1000 / each of`),
        },
        what: `engine: ${step}, each resource between 300 and 1,000 over each between 100 and 300`,
    })),
    {
        ...{ ...exporter, atLeast: 0.9, sample: /^1 file of 1024 MiB: plain SDK \/ exporter$/ },
        what: "exporter: 1 GiB in one file, the plain SDK's time over its own",
    },
    {
        ...{ ...exporter, atLeast: 0.9, sample: /^10000 files of 10 KiB: plain SDK \/ exporter$/ },
        what: "exporter: 10,000 files of 10 KiB, the same",
    },
    {
        ...{ ...exporter, unit: "MiB", atMost: 150, sample: /^1 file of 1024 MiB: .*peak memory, MiB$/ },
        what: "exporter: memory, 1 GiB in one file",
    },
    {
        ...{ ...exporter, unit: "MiB", atMost: 150, sample: /^10000 files of 10 KiB: .*peak memory, MiB$/ },
        what: "exporter: memory, 10,000 files",
    },
    ...["1 line", "10,000 lines"].flatMap((lines) =>
        readers.map(([reader, words]) => ({
            ...{ ...log, sample: new RegExp(`^${lines} a second, ${reader}: 95th$`) },
            what: `log, ${lines} a second, ${words}: 95th percentile`,
        })),
    ),
    {
        ...{ program: "warmLaunch", part: "warm-launch", unit: "s", atMost: 8, sample: /^more than by hand$/ },
        what: "`make launch-build` of a new commit, over `make build`",
    },
    { ...cold, atMost: 360, sample: /^nothing there$/, what: "`make launch-build` in a fresh clone, nothing there" },
    {
        ...{ ...cold, atMost: 75, sample: /^Go's and npm's caches there$/ },
        what: "the same, with the caches of Go and npm",
    },
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
