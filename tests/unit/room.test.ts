import * as assert from "node:assert/strict";

import type { V1Pod } from "@kubernetes/client-node";

import { describePhase, phaseOf } from "../../launcher/podStatus";
import { countBefore, waitsForRoom } from "../../launcher/room";
import { Watchdog } from "../../launcher/watchdog";

/** What the scheduler of Kubernetes 1.34 says of a pod that has no node. */
const noVictims = "No preemption victims found for incoming pod";
const notHelpful = "Preemption is not helpful for scheduling";
const said = {
    tooMany: `0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 ${noVictims}.`,
    fullBesideTainted:
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). " +
        `no new claims to deallocate, preemption: 0/3 nodes are available: 1 ${noVictims}, 2 ${notHelpful}.`,
    fullOfOthers:
        "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available: 1 Insufficient memory.",
    neverPreempts:
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
    tooLarge: `0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 ${notHelpful}.`,
    elsewhere:
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. " +
        `preemption: 0/2 nodes are available: 2 ${notHelpful}.`,
    cordoned: `0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 ${notHelpful}.`,
};

function podOf(message: string): V1Pod {
    return {
        metadata: { name: "p", uid: "1" },
        spec: { containers: [] },
        status: { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", message }] },
    };
}

describe("a pod without a node", () => {
    it("waits for room where a node would take it that is full", () => {
        for (const detail of [said.tooMany, said.fullBesideTainted, said.fullOfOthers, said.neverPreempts]) {
            assert.equal(waitsForRoom(detail), true, detail);
        }
    });
    it("waits for nothing where no node would ever take it", () => {
        for (const detail of [said.tooLarge, said.elsewhere, said.cordoned, ""]) {
            assert.equal(waitsForRoom(detail), false, detail);
        }
    });
    it("is shown as what it is, without what the scheduler tried", () => {
        const pod = podOf(said.tooMany);
        const waiting = "waiting for room on a node";
        assert.equal(describePhase(phaseOf(pod), pod), `${waiting}: 0/1 nodes are available: 1 Too many pods.`);
        const beside = podOf(said.fullBesideTainted);
        const why = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).";
        assert.equal(describePhase(phaseOf(beside), beside), `${waiting}: ${why}`);
    });
    it("is not given up as long as it waits for room, and is where it does not", () => {
        const hour = 3_600_000;
        const limits = {
            podLimitSeconds: 1,
            scheduleLimitSeconds: 1,
            pullLimitSeconds: 1,
            createLimitSeconds: 1,
            terminateLimitSeconds: 1,
        };
        const job = { spec: { template: {} }, status: { active: 1 } };
        const stuckAfter = (detail: string) => {
            const watchdog = new Watchdog(limits);
            watchdog.look(job, podOf(detail), 0);
            return watchdog.look(job, podOf(detail), hour)?.kind;
        };
        assert.equal(stuckAfter(said.tooMany), undefined);
        assert.equal(stuckAfter(said.tooLarge), "schedule");
    });
});

describe("the place in the queue", () => {
    const pod = (
        name: string,
        second: number,
        more: { priority?: number; nodeName?: string; phase?: string } = {},
    ) => ({
        metadata: { name, uid: name, creationTimestamp: new Date(second * 1000) },
        spec: { containers: [], priority: more.priority, nodeName: more.nodeName },
        status: { phase: more.phase ?? "Pending" },
    });

    it("counts who came before and has no node either", () => {
        const mine = pod("m", 5);
        const others = [
            pod("older", 4),
            pod("same-second", 5),
            pod("a-same-second", 5),
            pod("younger", 6),
            pod("has-a-node", 1, { nodeName: "n" }),
            pod("is-over", 1, { phase: "Failed" }),
            mine,
        ];
        assert.equal(countBefore(others, mine), 2);
    });
    it("is behind whoever has a higher priority", () => {
        const mine = pod("m", 5);
        assert.equal(countBefore([pod("urgent", 9, { priority: 10 }), pod("idle", 1, { priority: -10 })], mine), 1);
    });
});
