import * as assert from "node:assert/strict";

import type { V1Job, V1Pod } from "@kubernetes/client-node";

import { LineSplitter, presentable } from "../../launcher/logFollower";
import { jobEnd, outcomeOfFailedJob, phaseOf } from "../../launcher/podStatus";

describe("a build's log on a terminal", () => {
    const linesOf = (...chunks: (string | Buffer)[]) => {
        const lines: string[] = [];
        const splitter = new LineSplitter((line) => lines.push(line));
        chunks.forEach((chunk) => splitter.write(Buffer.from(chunk)));
        splitter.end();
        return lines;
    };

    it("is split into lines across chunks, also inside of a character", () => {
        const bytes = Buffer.from("größe\nzwei");
        assert.deepEqual(linesOf(bytes.subarray(0, 3), bytes.subarray(3)), ["größe", "zwei"]);
        assert.deepEqual(linesOf("a\n", "\nb"), ["a", "", "b"]);
    });
    it("shows of a progress bar its last state", () => {
        assert.deepEqual(linesOf("10%\r50%\r100%\r\n"), ["100%"]);
    });
    it("has no control character that could steer the terminal", () => {
        assert.equal(presentable("\u001b[31mred\u001b[0m"), "red");
        assert.equal(presentable("\u001b]0;title\u0007x"), "x");
        assert.equal(presentable("a\tb\u0000c\u009bd"), "a    b\ufffdc\ufffdd");
    });
    it("has no line without end, and keeps none in memory", () => {
        const [line] = linesOf("x".repeat(100_000), "x".repeat(1_000_000), "\n");
        assert.equal(line!.length, 4097);
        assert.equal(linesOf(...Array.from({ length: 100 }, () => "\rbar".repeat(1000)), "\n")[0], "bar");
    });
});

describe("what a pod's status means", () => {
    const pod = (status: object, spec: object = { nodeName: "n" }) => ({ status, spec }) as unknown as V1Pod;
    const containers = (build: object, exporter: object = { running: {} }) => ({
        containerStatuses: [
            { name: "build", state: build },
            { name: "exporter", state: exporter },
        ],
    });
    const failedJob = (reason: string) =>
        ({
            spec: { activeDeadlineSeconds: 60 },
            status: { conditions: [{ type: "Failed", status: "True", reason, message: "m" }] },
        }) as unknown as V1Job;

    it("is a phase", () => {
        assert.equal(phaseOf(pod({}, {})).name, "unscheduled");
        assert.equal(phaseOf(pod(containers({ waiting: { reason: "ContainerCreating" } }))).name, "preparing");
        assert.equal(phaseOf(pod(containers({ running: {} }))).name, "running");
        assert.equal(phaseOf(pod(containers({ terminated: {} }))).name, "running", "the exporter is still at work");
        assert.equal(phaseOf(pod({ phase: "Failed" })).name, "ended");
        assert.deepEqual(
            phaseOf(pod(containers({ running: {} }, { waiting: { reason: "ErrImagePull", message: "no" } }))),
            {
                name: "pullFailing",
                container: "exporter",
                detail: "ErrImagePull: no",
            },
        );
    });
    it("is the end of a Job as soon as it is certain", () => {
        assert.equal(jobEnd({}), undefined);
        assert.equal(jobEnd(failedJob("BackoffLimitExceeded"))?.complete, false);
        const ending = { status: { conditions: [{ type: "FailureTarget", status: "True", reason: "r" }] } };
        assert.equal(jobEnd(ending as unknown as V1Job)?.reason, "r");
    });
    it("is an outcome where the build could not say", () => {
        const outcome = (reason: string, status: object) => outcomeOfFailedJob(failedJob(reason), pod(status)).outcome;
        const killed = { terminated: { reason: "OOMKilled", exitCode: 137 } };
        assert.equal(outcome("DeadlineExceeded", containers(killed)), "DeadlineExceeded");
        assert.equal(outcome("PodFailurePolicy", containers(killed)), "OutOfMemory");
        assert.equal(outcome("PodFailurePolicy", containers({ running: {} }, killed)), "OutOfMemory");
        assert.equal(outcome("PodFailurePolicy", containers({ terminated: { exitCode: 2 } })), "BuildFailed");
        assert.equal(outcome("BackoffLimitExceeded", containers({ terminated: { exitCode: 0 } })), "ExportFailed");
        const target = { type: "DisruptionTarget", status: "True", reason: "EvictionByEvictionAPI" };
        assert.equal(
            outcome("PodFailurePolicy", { conditions: [target], ...containers({ terminated: { exitCode: 143 } }) }),
            "Disrupted",
        );
        assert.equal(outcomeOfFailedJob(failedJob("BackoffLimitExceeded"), undefined).outcome, "Disrupted");
    });
});
