import type { Scale } from "./scale";
import { tickText } from "./scale";
import { curve, element, label, line, seriesClass } from "./svg";

/** Where the axes of a plot of lines are. */
export const frame = { width: 1000, top: 48, bottom: 400, left: 64, right: 600 } as const;
export const frameHeight = frame.bottom + 56;

/** Axes with their names, and a grid. */
export function axes(x: Scale, y: Scale, xName: string, yName: string): readonly string[] {
    const { top, bottom, left, right } = frame;
    return [
        ...x.ticks.map((tick) => line(x.at(tick), top, x.at(tick), bottom, "grid")),
        ...y.ticks.map((tick) => line(left, y.at(tick), right, y.at(tick), "grid")),
        ...x.ticks.map((tick) => label(x.at(tick), bottom + 18, tickText(tick), { "text-anchor": "middle" })),
        ...y.ticks.map((tick) => label(left - 8, y.at(tick) + 4, tickText(tick), { "text-anchor": "end" })),
        line(left, bottom, right, bottom, "axis"),
        line(left, top, left, bottom, "axis"),
        label((left + right) / 2, bottom + 40, xName, { "text-anchor": "middle" }),
        label(0, 0, yName, {
            "text-anchor": "middle",
            transform: `translate(18 ${(top + bottom) / 2}) rotate(-90)`,
        }),
    ];
}

/** Which line is which, beside the plot. */
export function legend(entries: readonly { readonly name: string; readonly className: string }[]): readonly string[] {
    return entries.flatMap(({ name, className }, index) => {
        const y = frame.top + 12 + index * 22;
        return [line(frame.right + 16, y, frame.right + 46, y, className), label(frame.right + 54, y + 4, name)];
    });
}

export function seriesLine(points: readonly (readonly [number, number])[], index: number): string {
    return curve(points, `line ${seriesClass(index)}`);
}

export function dot(x: number, y: number, index: number): string {
    return element("circle", { cx: x, cy: y, r: 3.5, class: `dot ${seriesClass(index)}` });
}
