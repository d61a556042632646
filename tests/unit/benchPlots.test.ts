import * as assert from "node:assert/strict";

import { distributionPlot } from "../../bench/plots/distribution";
import { frame } from "../../bench/plots/frame";
import { growthPlot } from "../../bench/plots/growth";
import { linearScale, logScale, scaleOf } from "../../bench/plots/scale";
import { stripPlot } from "../../bench/plots/strip";
import { percentiles, summarize } from "../../bench/statistics";
import type { Sample } from "../../bench/statistics";
import { elementsOf, parseXml } from "../helpers/xml";
import type { XmlElement } from "../helpers/xml";

describe("bench: scales", () => {
    it("go from 0 to at least the largest value in round steps", () => {
        const { at, ticks } = linearScale(13.4, 100, 500);
        assert.deepEqual(ticks, [0, 2, 4, 6, 8, 10, 12, 14]);
        assert.deepEqual([at(0), at(7), at(14)], [100, 300, 500]);
        assert.deepEqual(linearScale(0.25, 0, 1).ticks, [0, 0.05, 0.1, 0.15, 0.2, 0.25]);
        assert.deepEqual(linearScale(0, 0, 1).ticks, [0, 1]);
        for (const most of [0.003, 1, 9.99, 10, 10.01, 1000, 123_456]) {
            const { length, [length - 1]: last = 0 } = linearScale(most, 0, 1).ticks;
            assert.ok(last >= most && length >= 5 && length <= 12, `${most}: ${length} ticks to ${last}`);
        }
    });

    it("can give equal ratios equal lengths", () => {
        const { at, ticks } = logScale(0.3, 4, 0, 300);
        assert.deepEqual(ticks, [0.2, 0.5, 1, 2, 5]);
        assert.deepEqual([at(0.2), at(5)], [0, 300]);
        assert.ok(Math.abs(at(2) - at(1) - (at(4) - at(2))) < 1e-9);
    });

    it("are linear as long as the least value can be told from 0", () => {
        assert.equal(scaleOf([1, 30], 0, 1).ticks[0], 0);
        assert.equal(scaleOf([1, 31], 0, 1).ticks[0], 1);
        assert.equal(scaleOf([0, 31], 0, 1).ticks[0], 0);
    });
});

describe("bench: plots", () => {
    const description = "what it shows";
    const strip = (rows: Readonly<Record<string, Sample>>, goal?: number) =>
        stripPlot({
            ...{ title: "every <run>", description, axis: "seconds" },
            rows: Object.entries(rows).map(([name, sample]) => ({ name, sample, goal })),
        });
    const numbers = (elements: readonly XmlElement[], attribute: string) =>
        elements.map(({ attributes }) => Number(attributes[attribute]));
    const height = frame.bottom - frame.top;

    it("are well-formed, and tell who cannot see them what they show", () => {
        const plot = strip({ 'a & b "c" <d>\u0007': summarize([1, 2, 3]) });
        const svg = parseXml(plot);
        assert.deepEqual([svg.attributes["role"], svg.attributes["aria-labelledby"]], ["img", "title description"]);
        const [title, text] = svg.children.filter(({ attributes }) => attributes["id"] !== undefined);
        assert.deepEqual([title?.name, title?.attributes["id"], title?.text], ["title", "title", "every <run>"]);
        assert.deepEqual([text?.name, text?.attributes["id"], text?.text], ["desc", "description", description]);
        assert.ok(elementsOf(svg, "text").some((each) => each.text === 'a & b "c" <d>\ufffd'));
        assert.match(plot, /@media \(prefers-color-scheme: dark\)/);
        assert.ok(!/NaN|Infinity|undefined/.test(plot));
    });

    it("have each run, the median and the goal where the axis says", () => {
        const svg = parseXml(strip({ one: summarize([2, 4, 6]), other: summarize([10, 10, 10]) }, 8));
        const [one, other] = elementsOf(svg, "g");
        assert.ok(one && other);
        const place = (value: number) =>
            Number(svg.children.find(({ name, text }) => name === "text" && text === String(value))?.attributes["x"]);
        assert.ok(place(2) < place(4));
        assert.deepEqual(numbers(elementsOf(one, "circle"), "cx"), [place(2), place(4), place(6)]);
        assert.deepEqual(numbers(elementsOf(other, "circle"), "cx"), [place(10), place(10), place(10)]);
        assert.deepEqual(numbers(elementsOf(one, "line"), "x1"), [place(4), place(8)]);
        assert.equal(elementsOf(one, "line")[1]?.attributes["class"], "goal");
    });

    it("show growth from nothing to the largest size", () => {
        const series = {
            create: [100, 1000].map((size) => ({ size, sample: summarize([size / 100, size / 50, size / 200]) })),
        };
        const plot = growthPlot({ ...{ title: "t", description, sizeName: "size", valueName: "s" }, series });
        const [group] = elementsOf(parseXml(plot), "g");
        assert.ok(group);
        const dots = elementsOf(group, "circle");
        // Of 1,000; medians of 1 and 10 on an axis to 20.
        const [left, right] = [frame.left + (frame.right - frame.left) / 10, frame.right];
        const [low, high] = [frame.bottom - height / 20, frame.bottom - height / 2];
        assert.deepEqual(numbers(dots, "cx"), [left, right]);
        assert.deepEqual(numbers(dots, "cy"), [low, high]);
        assert.equal(elementsOf(group, "path")[0]?.attributes["d"], `M${left} ${low} L${right} ${high}`);
        const lines = elementsOf(group, "line");
        assert.deepEqual([numbers(lines, "x1")[0], numbers(lines, "y1")[0]], [frame.left, frame.bottom]);
        // From the least run to the largest.
        assert.deepEqual([numbers(lines, "y1")[2], numbers(lines, "y2")[2]], [frame.bottom - height / 4, frame.top]);
    });

    it("show how many values are at most so much", () => {
        const distributions = { a: percentiles([0.5]), b: percentiles([0.25, 1]) };
        const plot = distributionPlot({
            ...{ title: "t", description, valueName: "s", shareName: "%", distributions },
            goal: { percent: 95, value: 2 },
        });
        const svg = parseXml(plot);
        const [a, b] = elementsOf(svg, "path").map(({ attributes }) => attributes["d"] ?? "");
        assert.equal(a?.split(" ").length, 202);
        assert.ok(b?.includes(` ${frame.top + height / 2} `), "half of them at 50 percent");
        const goal = elementsOf(svg, "line").find(({ attributes }) => attributes["class"] === "goal");
        assert.equal(Number(goal?.attributes["y2"]), Number((frame.bottom - height * 0.95).toFixed(2)));
    });
});
