import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { compare, comparisonTable } from "../../bench/harness/compare";
import { figures } from "../../bench/harness/figures";
import { goals, isMet, limitOf, measured } from "../../bench/harness/goals";
import type { PartResult, Results } from "../../bench/harness/results";
import { addPart, latestResultsFile, merged, newResultsFile, readResults } from "../../bench/harness/results";
import { percentile, percentiles, quartiles, ratios, summarize } from "../../bench/statistics";
import { TemporaryDirectory } from "../helpers/temporary";
import { elementsOf, parseXml } from "../helpers/xml";

const oneToTen = [7, 1, 10, 3, 5, 9, 2, 8, 6, 4];

function part(name: string, samples: Readonly<Record<string, readonly number[]>>, more: Partial<PartResult> = {}) {
    return {
        program: name,
        ...{ part: name, takenAt: "2026-11-21T23:45:00.000Z", unit: "seconds", settings: { runs: 3 } },
        machine: { cores: 2, model: "a model", memoryGiB: 8, kernel: "6.1", load: 0.5 },
        versions: { ke1: "abc", node: "v24.0.0", kubernetes: "v1.34.4" },
        samples: Object.fromEntries(Object.entries(samples).map(([key, runs]) => [key, summarize(runs)])),
        ...more,
    } satisfies PartResult;
}

function results(...parts: readonly PartResult[]): Results {
    return { schema: 1, parts };
}

describe("bench: statistics", () => {
    it("say the middle of an odd and of an even number of runs, and keep their order", () => {
        assert.deepEqual(summarize([3, 1, 2]), { min: 1, median: 2, max: 3, runs: [3, 1, 2] });
        assert.equal(summarize([4, 1, 3, 2]).median, 2.5);
    });

    it("take percentiles by the nearest rank", () => {
        assert.deepEqual(
            [0, 0.1, 0.5, 0.9, 0.91, 1].map((share) => percentile(oneToTen, share)),
            [1, 1, 5, 9, 10, 10],
        );
        assert.equal(percentile([4], 0.95), 4);
        const all = percentiles(oneToTen);
        assert.deepEqual([all.length, all[0], all[10], all[11], all[95], all[100]], [101, 1, 1, 2, 10, 10]);
    });

    it("divide the runs that took turns, not what they come to", () => {
        assert.deepEqual(ratios([1, 20], [2, 10]).runs, [0.5, 2]);
    });

    it("find the middle half", () => {
        assert.deepEqual(quartiles(summarize([7, 6, 5, 4, 3, 2, 1])), [2.5, 5.5]);
        assert.deepEqual(quartiles(summarize([1, 2, 3, 4])), [1.5, 3.5]);
        assert.deepEqual(quartiles(summarize([5])), [5, 5]);
    });
});

describe("bench: results", () => {
    let directory: TemporaryDirectory;
    beforeEach(() => (directory = new TemporaryDirectory()));
    afterEach(() => directory.remove());

    it("are one file, to which each part is added, and in which it is replaced", () => {
        const file = path.join(directory.path, "new", "20261121T234500Z.json");
        addPart(file, part("launch", { up: [1, 2, 3] }));
        addPart(file, part("log", { delay: [0.5] }));
        addPart(file, part("launch", { up: [4] }));
        const { parts } = readResults(file);
        assert.deepEqual(
            parts.map((each) => [each.part, Object.values(each.samples)[0]?.runs]),
            [
                ["launch", [4]],
                ["log", [0.5]],
            ],
        );
        assert.deepEqual(fs.readdirSync(path.dirname(file)), [path.basename(file)]);
    });

    it("of a part that is in several files are those of the last", () => {
        const both = merged([results(part("a", { x: [1] }), part("b", { x: [1] })), results(part("a", { x: [2] }))]);
        assert.deepEqual(
            both.parts.map(({ part: name, samples }) => [name, samples["x"]?.median]),
            [
                ["a", 2],
                ["b", 1],
            ],
        );
    });

    it("are found by the newest name, and none is one clear line", () => {
        assert.equal(path.basename(newResultsFile(new Date("2026-11-21T23:45:06.789Z"))), "20261121T234506Z.json");
        assert.throws(() => latestResultsFile(directory.path), /there are no results yet: run `make bench`/);
        for (const name of ["20261121T234506Z.json", "20261122T000000Z.json", "launch-2027.json"]) {
            directory.file(name);
        }
        assert.equal(path.basename(latestResultsFile(directory.path)), "20261122T000000Z.json");
    });

    it("that are no results are one clear line", () => {
        for (const [content, words] of [
            ["{", /cannot be read as results/],
            ['{"samples":{}}', /is not a file of results of this version/],
            ['{"schema":1,"parts":[{"part":"x","machine":{},"versions":{},"samples":{"y":null}}]}', /is not a file/],
        ] as const) {
            assert.throws(() => readResults(directory.file("x.json", content)), words);
        }
        assert.throws(() => readResults(path.join(directory.path, "none")), /cannot be read as results/);
    });
});

describe("bench: comparing", () => {
    const before = results(part("launch", { up: [4, 5, 6], preview: [1, 1, 1] }), part("old", { gone: [1] }));

    it("shows the ratio of the medians, and whether the ranges overlap", () => {
        const { compared, onlyBefore, onlyAfter, warnings } = compare(
            before,
            results(part("launch", { up: [5, 4, 7], preview: [0.5, 0.25, 0.99], added: [3] })),
        );
        assert.deepEqual(
            compared.map(({ name, ratio, overlap }) => [name, ratio, overlap]),
            [
                ["up", 1, true],
                ["preview", 0.5, false],
            ],
        );
        assert.deepEqual([onlyBefore, onlyAfter, warnings], [["old: gone"], ["launch: added"], []]);
        const text = comparisonTable({ compared, onlyBefore, onlyAfter, warnings });
        assert.match(
            text,
            /^\| launch: preview \| 1.00 \(1.00 to 1.00\) \| 0.50 \(0.25 to 0.99\) \| 0.50 {2}\| lower {3}\|$/m,
        );
        assert.match(text, /^\| launch: up .* \| 1.00 {2}\| overlap \|$/m);
        assert.match(text, /^only before: old: gone\nonly after: launch: added$/m);
    });

    it("says what rises, and takes ranges that touch for the same", () => {
        const { compared } = compare(before, results(part("launch", { up: [6, 6], preview: [2] })));
        assert.deepEqual(
            compared.map(({ overlap }) => overlap),
            [true, false],
        );
        assert.match(comparisonTable({ compared, onlyBefore: [], onlyAfter: [], warnings: [] }), /2\.00 +\| higher/);
    });

    it("warns of another machine and other settings", () => {
        const other = part("launch", { up: [1] }, { settings: { runs: 7 } });
        const moved = { ...other, machine: { ...other.machine, cores: 8 } };
        const { warnings } = compare(before, results(moved));
        assert.deepEqual(warnings, [
            "launch: 2 cores, a model, 8 GiB before, 8 cores, a model, 8 GiB after",
            'launch: other settings: {"runs":3}, {"runs":7}',
        ]);
    });
});

describe("bench: goals", () => {
    it("are met by the median, at most or at least", () => {
        const most = goals.find(({ atMost }) => atMost === 0.8);
        const least = goals.find(({ atLeast }) => atLeast === 0.9);
        assert.ok(most && least);
        assert.deepEqual([limitOf(most), limitOf(least)], ["at most 0.8 s", "at least 0.9"]);
        const met = (goal: typeof most, ...runs: readonly number[]) => isMet(goal, summarize(runs));
        assert.deepEqual([met(most, 0.7, 0.8, 9), met(most, 0.7, 0.81, 0.82)], [true, false]);
        assert.deepEqual([met(least, 0.1, 0.9, 0.95), met(least, 0.89)], [true, false]);
    });

    it("are found in the part and the sample that show them", () => {
        const [goal] = goals;
        assert.ok(goal);
        const found = measured(goal, results(part("launch", { other: [1], "1 build: ke1 up / kubectl": [0.9] })));
        assert.deepEqual([found?.name, found?.sample.median], ["1 build: ke1 up / kubectl", 0.9]);
        assert.equal(measured(goal, results(part("log", { "1 build: ke1 up / kubectl": [0.9] }))), undefined);
    });
});

describe("bench: the page's figures", () => {
    it("are a table of goals, and a table and a plot for each part", () => {
        const given = results(
            part("launch", { "ke1 up, 1 build": [4, 5, 6], "1 build: ke1 up / kubectl": [0.9, 1.1, 1.2] }),
            part("engine", {
                "1000 ConfigMaps, ke1: create": [10],
                "create: each of 300 to 1000 / each of 100 to 300": [-0.5, 1],
                "100 ConfigMaps, ke1: create": [1],
                "100 ConfigMaps, create: peak memory, MiB": [200],
            }),
            part(
                "log",
                { "1 line a second, to the blob: 95th": [0.2] },
                {
                    distributions: { "to the blob": percentiles([0.1, 0.2]) },
                },
            ),
        );
        const { markdown, plots } = figures(given, "performance");
        assert.match(markdown, /^\| `ke1 up` of one build.*\| at most 1 \| \*\*1\.10\*\* \| 0\.90 to 1\.20 \| no \|/m);
        assert.match(markdown, /^\| log, 1 line a second, to the blob: .*\| at most 1 s \| \*\*0\.20\*\* .*\| yes \|/m);
        assert.match(markdown, /^\| `ke1 preview` \| at most 0\.8 s \| not measured \|/m);
        assert.match(markdown, /Commit abc, Node\.js v24\.0\.0, Kubernetes v1\.34\.4; 2 cores \(a model\), 8 GiB/);
        assert.deepEqual(Object.keys(plots).sort(), ["engine.svg", "goals.svg", "launch.svg", "log.svg"]);
        for (const [name, plot] of Object.entries(plots)) {
            assert.ok(markdown.includes(`](performance/${name})`), name);
            assert.equal(parseXml(plot).name, "svg", name);
        }
        assert.match(markdown, /^\| engine: create, each resource .* \| -0\.50 to 1\.00 \| yes \|/m);
        assert.ok(!plots["goals.svg"]?.includes("each resource"), "what is less than nothing is on no axis of ratios");
        assert.ok(!plots["goals.svg"]?.includes("NaN"));
        const [growth = ""] = elementsOf(parseXml(plots["engine.svg"] ?? ""), "path").map(
            (each) => each.attributes["d"],
        );
        assert.match(growth, /^M\S+ \S+ L600 \S+$/, "from the smallest to the largest size");
        assert.ok(!plots["launch.svg"]?.includes("1 build: ke1 up / kubectl"), "a ratio is on no axis of seconds");
    });
});
