import * as assert from "node:assert/strict";
import * as fs from "node:fs";

import type { StepTimes } from "../../cli/operationTimes";
import { OperationTimes } from "../../cli/operationTimes";
import { TimelineFiles, writeTimeline } from "../../cli/timelineFiles";
import type { MeasuredOperation } from "../../cli/timings";
import { timingsOf } from "../../cli/timings";
import { timingsTable } from "../../cli/timingsTable";
import type { BuildPhase, BuildTimeline } from "../../contract/timings";
import { timingsVariable } from "../../contract/timings";
import type { EngineEvent, StepOp } from "../../engine/steps";

const start = Date.parse("2026-11-21T22:16:00.000Z");
const phases: readonly BuildPhase[] = ["scheduled", "pulled", "started", "built", "exported", "seen"];

/** A build whose Job was made `created` seconds after the operation began; each of its phases takes a second. */
const timeline = (buildTag: string, created: number, changes: Partial<BuildTimeline> = {}): BuildTimeline => ({
    ...{ buildTag, outcome: "Succeeded", attempt: 1, created: start + Math.floor(created) * 1000 },
    marks: phases.map((phase, index) => ({
        ...{ phase, at: start + (created + index + 1) * 1000, exact: true },
        from: phase === "seen" ? "the launcher" : "a clock",
    })),
    ...changes,
});

/** An operation: each step began half a second before it ended, that many seconds after the operation began. */
const operation = (steps: Readonly<Record<string, readonly [StepOp, number]>>): MeasuredOperation => {
    const all = Object.entries(steps).map(([name, [op, end]]): [string, StepTimes] => {
        return [name, { op, start: start + (end - 0.5) * 1000, end: start + end * 1000 }];
    });
    const ends = all.map(([, { end }]) => end);
    return {
        start,
        firstStep: start + 600,
        lastStep: Math.max(...ends),
        lastOf: (isMeant) => all.filter(([name]) => isMeant(name)).map(([, times]) => times)[0],
    };
};

const launched = operation({ "v1-image": ["create", 2.6], "v1-job": ["create", 3.4], "v1-await": ["create", 9.9] });
const after = (seconds: number) => start + seconds * 1000;

describe("the timings of an operation", () => {
    const sumsOf = (...given: Parameters<typeof timingsOf>) =>
        timingsOf(...given).builds[0]?.phases.map(({ phase, seconds, sum }) => [phase, seconds, sum]);

    it("are those of the launcher, and between them the build's, on one clock", () => {
        assert.deepEqual(sumsOf(launched, [timeline("v1", 3.4)], after(10)), [
            ["program start", 0.6, 0.6],
            ["image", 2, 2.6],
            ["create", 0.8, 3.4],
            ["scheduled", 1, 4.4],
            ["pulled", 1, 5.4],
            ["started", 1, 6.4],
            ["built", 1, 7.4],
            ["exported", 1, 8.4],
            ["seen", 1, 9.4],
            ["done", 0.6, 10],
        ]);
    });

    it("are start, engine and done, where there was no build to await", () => {
        const { phases: own, builds } = timingsOf(launched, [], after(10));
        assert.deepEqual(
            own.map(({ phase, seconds }) => [phase, seconds]),
            [
                ["program start", 0.6],
                ["engine", 9.3],
                ["done", 0.1],
            ],
        );
        assert.deepEqual(builds, []);
        const nothing = { ...launched, firstStep: undefined, lastStep: undefined };
        assert.deepEqual(
            timingsOf(nothing, [], after(1)).phases.map(({ phase, seconds }) => [phase, seconds]),
            [["done", 1]],
        );
    });

    it("have no sums for what was before the operation, and none from clocks that differ", () => {
        const there = operation({ "v1-image": ["same", 1], "v1-job": ["same", 1.1] });
        const resumed = timingsOf(there, [timeline("v1", -3)], after(5)).builds[0];
        assert.deepEqual(
            resumed?.phases.map(({ phase, sum }) => [phase, sum]),
            [
                ["program start", 0.6],
                ["image", 1],
                ["create", 1.1],
                ["scheduled", undefined],
                ["pulled", undefined],
                ["started", 0],
                ["built", 1],
                ["exported", 2],
                ["seen", 3],
                ["done", 5],
            ],
        );
        assert.deepEqual(
            resumed.phases.slice(1, 3).map(({ note }) => note),
            ["nothing to build", "the Job was there already"],
        );
        // The cluster is an hour ahead.
        const { marks } = timeline("v1", 3603.4);
        const seen = { ...marks[5]!, at: after(9) };
        const ahead = timeline("v1", 3603.4, { marks: [...marks.slice(0, 5), { ...seen, exact: false }] });
        const skewed = timingsOf(launched, [ahead], after(10)).builds[0]?.phases ?? [];
        assert.deepEqual(skewed.map(({ phase, seconds, sum, exact }) => [phase, seconds, sum, exact]).slice(3), [
            ["scheduled", 1.4, undefined, false],
            ...["pulled", "started", "built", "exported"].map((phase) => [phase, 1, undefined, true]),
            ["seen", 0, 9, false],
            ["done", 1, 10, true],
        ]);
    });

    it("of what was built already are the launcher's alone", () => {
        const seen = { phase: "seen", at: after(4), exact: true, from: "the launcher" } as const;
        const built: BuildTimeline = { buildTag: "v1", outcome: "AlreadyBuilt", marks: [seen] };
        assert.deepEqual(sumsOf(launched, [built], after(5))?.slice(2), [
            ["create", 0.8, 3.4],
            ["seen", 0.6, 4],
            ["done", 1, 5],
        ]);
    });
});

describe("the table of timings", () => {
    it("has a row for each phase of one build, with where it was in the whole", () => {
        const lines = timingsTable(timingsOf(launched, [timeline("v1", 3.4)], after(10)));
        assert.equal(lines[0], "Timings of v1 (Succeeded): 10.00 s");
        assert.match(lines[1] ?? "", /^ {2}phase +seconds +sum +known from$/);
        assert.match(lines[3] ?? "", /^ {2}image +2\.00 +2\.60 {3}█████ +ke1$/);
        assert.equal(lines.length, 12);
        const retried = timeline("v1", 3.4, { attempt: 3, outcome: "BuildFailed" });
        assert.equal(
            timingsTable(timingsOf(launched, [retried], after(10)))[0],
            "Timings of v1 (BuildFailed, attempt 3): 10.00 s",
        );
    });

    it("marks what is known to a second only, and says so", () => {
        const coarse = timeline("v1", 3.4);
        const marks = coarse.marks.map((mark) => (mark.phase === "pulled" ? { ...mark, exact: false } : mark));
        const lines = timingsTable(timingsOf(launched, [{ ...coarse, marks }], after(10)));
        assert.deepEqual(
            lines.filter((line) => line.includes("~1.00")).map((line) => line.trim().split(" ")[0]),
            ["pulled", "started"],
        );
        assert.match(lines.at(-1) ?? "", /^~ known to a second only/);
    });

    it("has least, median and most of several builds, and the one that ended last", () => {
        const many = operation({
            ...Object.fromEntries(["v1", "v2", "v3"].map((tag) => [`${tag}-job`, ["create", 1] as const])),
        });
        const marks = (built: number) =>
            timeline("", 1).marks.map((mark, index) => (index < 3 ? mark : { ...mark, at: mark.at + built * 1000 }));
        const builds = [
            timeline("v2", 1, { marks: marks(9) }),
            timeline("v1", 1),
            timeline("v3", 1, { marks: marks(2), outcome: "BuildFailed" }),
            timeline("v4", 1, { marks: timeline("", 1).marks.slice(-1), created: undefined, outcome: "AlreadyBuilt" }),
        ];
        const lines = timingsTable(timingsOf(many, builds, after(20)));
        assert.equal(
            lines[0],
            "Timings of 4 builds (2 Succeeded, 1 AlreadyBuilt, 1 BuildFailed): 20.00 s; the last to end was v2 (Succeeded)",
        );
        const row = (name: string) =>
            lines
                .find((line) => line.startsWith(`  ${name} `))
                ?.trim()
                .split(/ {2,}/)
                .slice(1);
        assert.deepEqual(row("phase"), ["builds", "min", "median", "max", "v2", "sum", "known from"]);
        assert.deepEqual(row("built"), ["3", "1.00", "3.00", "10.00", "10.00", "14.00", "a clock"]);
        assert.deepEqual(row("done")?.slice(0, 4), ["4", "4.00", "12.00", "13.00"]);
    });

    it("has a row for each step of a pipeline", () => {
        const steps = operation({
            "v1-image": ["create", 1],
            "v1-compile-job": ["create", 2],
            "v1-test-job": ["create", 2],
        });
        const compile = timeline("v1", 2, { step: "compile" });
        const queued = { phase: "queued", at: after(8), exact: false, from: "Kubernetes" } as const;
        const rest = timeline("v1", 8).marks.map((mark) => mark);
        const test = timeline("v1", 2, { step: "test", outcome: "BuildFailed", marks: [queued, ...rest] });
        const lines = timingsTable(timingsOf(steps, [test, compile], after(15)));
        assert.equal(lines[0], "Timings of v1: 15.00 s");
        assert.deepEqual(
            lines.slice(1, -1).map((line) => line.trim().split(/ {2,}/)),
            [
                ["phase", "seconds", "sum", "known from"],
                ["program start", "0.60", "0.60", "█", "ke1"],
                ["image", "0.40", "1.00", "█", "ke1"],
                ["create", "1.00", "2.00", "█", "ke1"],
                [""],
                ["step", "queued", "scheduled", "pulled", "started", "built", "exported", "seen", "ended at"],
                ["compile", "-", "1.00", "1.00", "1.00", "1.00", "1.00", "1.00", "8.00", "Succeeded"],
                ["test", "~6.00", "~1.00", "1.00", "1.00", "1.00", "1.00", "1.00", "14.00", "BuildFailed"],
            ].map((row) => row.flatMap((cell) => (cell === "█" ? [expect(lines, row[0] ?? "")] : [cell]))),
        );
    });

    /** The bar of a row is looked at elsewhere. */
    function expect(lines: readonly string[], phase: string): string {
        return /█+/.exec(lines.find((line) => line.includes(phase)) ?? "")?.[0] ?? "";
    }
});

describe("how timings are handed over", () => {
    it("is by files of its own directory, which goes with the operation", () => {
        const before = process.env[timingsVariable];
        const files = new TimelineFiles();
        const directory = files.variables[timingsVariable] ?? "";
        try {
            writeTimeline(timeline("v0", 0));
            assert.deepEqual(files.read(), [], "nobody asked for it");
            Object.assign(process.env, files.variables);
            writeTimeline(timeline("v1", 0));
            writeTimeline(timeline("v2", 0));
            fs.writeFileSync(`${directory}/cut.json`, "{");
            assert.deepEqual(
                files
                    .read()
                    .map(({ buildTag }) => buildTag)
                    .sort(),
                ["v1", "v2"],
            );
            assert.equal(fs.statSync(directory).mode & 0o777, 0o700);
            for (const file of fs.readdirSync(directory).filter((name) => name !== "cut.json")) {
                assert.equal(fs.statSync(`${directory}/${file}`).mode & 0o777, 0o600);
            }
        } finally {
            files.remove();
            if (before === undefined) {
                Reflect.deleteProperty(process.env, timingsVariable);
            }
        }
        assert.equal(fs.existsSync(directory), false);
    });

    it("is by the engine's events, of which the stack's own is none", () => {
        const times = new OperationTimes();
        const first = () => times.firstStep;
        const step = (phase: "start" | "done", type: string, name: string): EngineEvent => ({
            ...{ kind: "step", phase, seconds: 0 },
            step: { op: "create", type, urn: `urn:pulumi:dev::ke-1-build::${type}::${name}` },
        });
        times.handle(step("start", "pulumi:pulumi:Stack", "ke-1-build-dev"));
        assert.equal(first(), undefined);
        times.handle(step("start", "docker:index/image:Image", "v1-image"));
        times.handle(step("done", "docker:index/image:Image", "v1-image"));
        times.handle({ kind: "log", severity: "info", message: "x", ephemeral: false });
        const image = times.lastOf((name) => name === "v1-image");
        assert.ok(image && times.lastStep === image.end && image.start <= image.end);
        assert.ok(times.start <= (first() ?? 0));
        assert.deepEqual([times.lastOf((name) => name === "v1")], [undefined]);
    });
});
