/** Seconds of several runs. */
export interface Sample {
    readonly min: number;
    readonly median: number;
    readonly max: number;
    readonly runs: readonly number[];
}

export function summarize(runs: readonly number[]): Sample {
    const sorted = [...runs].sort((a, b) => a - b);
    const middle = Math.floor(sorted.length / 2);
    const upper = sorted[middle] ?? NaN;
    const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
    return { min: sorted[0] ?? NaN, median, max: sorted.at(-1) ?? NaN, runs };
}

/** One row of a table: minimum, median and maximum, with `digits` after the point. */
export function row(name: string, sample: Sample, digits = 2): string {
    const cells = [sample.min, sample.median, sample.max].map((value) => value.toFixed(digits).padStart(8));
    return `| ${name.padEnd(52)} | ${cells.join(" | ")} |`;
}
