/** What several runs of one measure gave, in the measure's unit. */
export interface Sample {
    readonly min: number;
    readonly median: number;
    readonly max: number;
    /** In the order in which they were taken. */
    readonly runs: readonly number[];
}

export function summarize(runs: readonly number[]): Sample {
    const sorted = sortedOf(runs);
    return { min: sorted[0] ?? NaN, median: middleOf(sorted), max: sorted.at(-1) ?? NaN, runs };
}

/** Of runs that took turns: each is divided by the one that ran beside it, so that a machine whose speed drifts is the same to both. */
export function ratios(over: readonly number[], under: readonly number[]): Sample {
    return summarize(over.map((value, index) => value / (under[index] ?? NaN)));
}

/** The smallest value that at least so much of all (from 0 to 1) are not over: the nearest rank. */
export function percentile(values: readonly number[], share: number): number {
    const sorted = sortedOf(values);
    return sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)] ?? NaN;
}

/** The percentiles from 0 to 100: what is kept of more values than a file of results should hold. */
export function percentiles(values: readonly number[]): readonly number[] {
    const sorted = sortedOf(values);
    return Array.from(
        { length: 101 },
        (_, hundredth) => sorted[Math.max(0, Math.ceil((hundredth * sorted.length) / 100) - 1)] ?? NaN,
    );
}

/** The medians of the lower and of the upper half; the middle value is in both. */
export function quartiles({ runs }: Sample): readonly [number, number] {
    const sorted = sortedOf(runs);
    const half = Math.ceil(sorted.length / 2);
    return [middleOf(sorted.slice(0, half)), middleOf(sorted.slice(sorted.length - half))];
}

/** One row of a table: minimum, median and maximum, with `digits` after the point. */
export function row(name: string, sample: Sample, digits = 2): string {
    const cells = [sample.min, sample.median, sample.max].map((value) => value.toFixed(digits).padStart(8));
    return `| ${name.padEnd(52)} | ${cells.join(" | ")} |`;
}

function sortedOf(values: readonly number[]): readonly number[] {
    return [...values].sort((a, b) => a - b);
}

function middleOf(sorted: readonly number[]): number {
    const middle = Math.floor(sorted.length / 2);
    const upper = sorted[middle] ?? NaN;
    return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}
