import type { Series } from "../harness/results";
import { axes, dot, frame, frameHeight, legend, seriesLine } from "./frame";
import { linearScale } from "./scale";
import { element, line, picture, seriesClass, tooltip } from "./svg";

export interface Growth {
    readonly title: string;
    readonly description: string;
    readonly sizeName: string;
    readonly valueName: string;
    readonly series: Series;
}

/**
 * How what is measured grows with its size: medians as lines, all runs' range as a bar, and through each series' largest size
 * a dotted line to nothing at all: what is above it costs less a piece when there are more.
 */
export function growthPlot({ title, description, sizeName, valueName, series }: Growth): string {
    const all = Object.values(series).flat();
    const x = linearScale(Math.max(...all.map(({ size }) => size)), frame.left, frame.right);
    const y = linearScale(Math.max(...all.map(({ sample }) => sample.max)), frame.bottom, frame.top);
    const drawn = Object.entries(series).map(([name, points], index) => {
        const last = points.at(-1);
        return element(
            "g",
            {},
            tooltip(name),
            ...(last ? [line(x.at(0), y.at(0), x.at(last.size), y.at(last.sample.median), "faint")] : []),
            seriesLine(
                points.map(({ size, sample }) => [x.at(size), y.at(sample.median)]),
                index,
            ),
            ...points.flatMap(({ size, sample }) => [
                line(x.at(size), y.at(sample.min), x.at(size), y.at(sample.max), seriesClass(index)),
                dot(x.at(size), y.at(sample.median), index),
            ]),
        );
    });
    const entries = [
        ...Object.keys(series).map((name, index) => ({ name, className: `line ${seriesClass(index)}` })),
        { name: "in proportion to the largest", className: "faint" },
    ];
    return picture({ title, description, width: frame.width, height: frameHeight }, [
        ...axes(x, y, sizeName, valueName),
        ...drawn,
        ...legend(entries),
    ]);
}
