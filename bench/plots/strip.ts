import { quartiles } from "../statistics";
import type { Sample } from "../statistics";
import type { Scale } from "./scale";
import { logScale, scaleOf, tickText } from "./scale";
import { element, label, line, picture, seriesClass, tooltip } from "./svg";

export interface StripRow {
    readonly name: string;
    readonly sample: Sample;
    /** What is aimed at, in the row's unit. */
    readonly goal?: number;
}

export interface Strips {
    readonly title: string;
    readonly description: string;
    /** What the axis shows, with its unit. */
    readonly axis: string;
    readonly rows: readonly StripRow[];
    /** The axis is a ratio: half and twice are as far from 1. */
    readonly isRatio?: boolean;
}

const width = 1000;
const rowHeight = 28;
const top = 44;
const left = 440;
const right = width - 90;

/** Every run of every measure as a dot; a box has the middle half of them, its line is the median, a dashed line is the goal. */
export function stripPlot({ title, description, axis, rows, isRatio }: Strips): string {
    const bottom = top + rows.length * rowHeight;
    const values = rows.flatMap(({ sample, goal }) => [...sample.runs, ...(goal === undefined ? [] : [goal])]);
    const scale = isRatio
        ? logScale(Math.min(...values) * 0.95, Math.max(...values) * 1.05, left, right)
        : scaleOf(values, left, right);
    const body = [
        ...scale.ticks.map((tick) => line(scale.at(tick), top, scale.at(tick), bottom, "grid")),
        ...ticksOf(scale).map((tick) =>
            label(scale.at(tick), bottom + 18, tickText(tick), { "text-anchor": "middle" }),
        ),
        line(left, bottom, right, bottom, "axis"),
        label((left + right) / 2, bottom + 38, axis, { "text-anchor": "middle" }),
        ...rows.map((row, index) => strip(row, index, scale)),
    ];
    return picture({ title, description, width, height: bottom + 52 }, body);
}

function strip({ name, sample, goal }: StripRow, index: number, scale: Scale): string {
    const middle = top + (index + 0.5) * rowHeight;
    const [lower, upper] = quartiles(sample);
    const color = seriesClass(0);
    const box = {
        ...{ x: scale.at(lower), y: middle - 8, width: Math.max(0.5, scale.at(upper) - scale.at(lower)), height: 16 },
        ...{ class: color, fill: "none" },
    };
    return element(
        "g",
        {},
        tooltip(`${name}: median ${shown(sample.median)}`),
        label(left - 12, middle + 4, cut(name), { "text-anchor": "end" }),
        element("rect", box),
        line(scale.at(sample.median), middle - 11, scale.at(sample.median), middle + 11, `${color} line`),
        ...sample.runs.map((run, number) =>
            element("circle", {
                ...{ cx: scale.at(run), cy: middle + ((number % 3) - 1) * 4, r: 2.5, class: `dot ${color}` },
            }),
        ),
        ...(goal === undefined
            ? []
            : [line(scale.at(goal), middle - rowHeight / 2, scale.at(goal), middle + rowHeight / 2, "goal")]),
        label(right + 12, middle + 4, shown(sample.median)),
    );
}

/** As many as have room for their text. */
function ticksOf({ at, ticks }: Scale): readonly number[] {
    let last = -Infinity;
    return ticks.filter((tick) => {
        const has = at(tick) - last > 34;
        last = has ? at(tick) : last;
        return has;
    });
}

function shown(value: number): string {
    return value.toFixed(value < 100 ? 2 : 0);
}

function cut(name: string): string {
    return name.length > 66 ? `${name.slice(0, 65)}…` : name;
}
