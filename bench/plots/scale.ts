/** Where a value is on an axis, and which values are named there. */
export interface Scale {
    readonly at: (value: number) => number;
    readonly ticks: readonly number[];
}

/** From 0 to `most` or a little more. */
export function linearScale(most: number, from: number, to: number): Scale {
    const step = niceStep(most);
    const end = Math.max(step, Math.ceil(most / step - 1e-9) * step);
    const count = Math.round(end / step);
    return {
        at: (value) => from + (value / end) * (to - from),
        ticks: Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12))),
    };
}

/** Equal ratios are equal lengths; both ends are one of 1, 2 and 5 times a power of 10. */
export function logScale(least: number, most: number, from: number, to: number): Scale {
    const all = Array.from({ length: 40 }, (_, index) => index - 20).flatMap((power) =>
        [1, 2, 5].map((digit) => Number(`${digit}e${power}`)),
    );
    const first = all.findLast((value) => value <= least) ?? least;
    const last = all.find((value) => value >= most && value > first) ?? most;
    const length = Math.log(last / first);
    return {
        at: (value) => from + (Math.log(value / first) / length) * (to - from),
        ticks: all.filter((value) => value >= first && value <= last),
    };
}

/** Linear as long as the least of the values can be told from 0. */
export function scaleOf(values: readonly number[], from: number, to: number): Scale {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return least > 0 && most / least > 30 ? logScale(least, most, from, to) : linearScale(most, from, to);
}

export function tickText(value: number): string {
    return value >= 1000 ? value.toLocaleString("en") : String(value);
}

/** One that makes four to ten steps. */
function niceStep(most: number): number {
    if (!(most > 0)) {
        return 1;
    }
    const power = 10 ** Math.floor(Math.log10(most));
    const step = [0.1, 0.2, 0.5, 1].find((each) => most / (each * power) <= 10) ?? 1;
    return step * power;
}
