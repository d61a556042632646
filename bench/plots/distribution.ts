import type { Distributions } from "../harness/results";
import { axes, frame, frameHeight, legend, seriesLine } from "./frame";
import { linearScale } from "./scale";
import { element, line, picture, seriesClass, tooltip } from "./svg";

export interface Distribution {
    readonly title: string;
    readonly description: string;
    readonly valueName: string;
    readonly shareName: string;
    readonly distributions: Distributions;
    /** So many percent of the values are to be at most so much. */
    readonly goal?: { readonly percent: number; readonly value: number };
}

/** Of how many values in a hundred are at most so much: a line for each distribution's percentiles, from 0 to 100. */
export function distributionPlot(given: Distribution): string {
    const { title, description, valueName, shareName, distributions, goal } = given;
    const most = Math.max(goal?.value ?? 0, ...Object.values(distributions).flat());
    const x = linearScale(most * 1.05, frame.left, frame.right);
    const y = linearScale(100, frame.bottom, frame.top);
    const drawn = Object.entries(distributions).map(([name, values], index) =>
        element(
            "g",
            {},
            tooltip(name),
            seriesLine(
                values.map((value, percent) => [x.at(value), y.at(percent)]),
                index,
            ),
        ),
    );
    const aim = goal && [
        line(x.at(goal.value), y.at(0), x.at(goal.value), y.at(goal.percent), "goal"),
        line(x.at(0), y.at(goal.percent), x.at(goal.value), y.at(goal.percent), "goal"),
    ];
    const entries = [
        ...Object.keys(distributions).map((name, index) => ({ name, className: `line ${seriesClass(index)}` })),
        ...(goal ? [{ name: "the goal", className: "goal" }] : []),
    ];
    return picture({ title, description, width: frame.width, height: frameHeight }, [
        ...axes(x, y, valueName, shareName),
        ...(aim ?? []),
        ...drawn,
        ...legend(entries),
    ]);
}
