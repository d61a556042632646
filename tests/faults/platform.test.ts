import * as assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";

import { readSettings } from "../../platform/settings";
import { faultSuite } from "../helpers/faultSuite";
import type { FaultedBuild } from "../helpers/faults";
import { killContainer, restorePlatform, signalDaemon } from "../helpers/nodeFaults";
import { api } from "../helpers/prepared";

const merge = setHeaderOptions("Content-Type", PatchStrategy.StrategicMergePatch);

// These hurt everybody on the platform: one after the other, and each mends what it broke.
faultSuite("faults of the platform", 1, {
    "an API server that is killed, and started again": {
        lines: 40,
        during: async (build, cleanUp) => {
            await build.says(/line 5 /);
            cleanUp(restorePlatform);
            build.fault();
            signalDaemon("kube-apiserver", "SIGKILL");
            await restorePlatform();
        },
        expected: { outcome: "Succeeded", told: /Succeeded: /, attempts: 1 },
    },
    "a blob store that is stopped for 5 s, and then restarted": {
        lines: 60,
        during: async (build, cleanUp) => {
            await build.says(/line 5 /);
            cleanUp(restorePlatform);
            build.fault();
            signalDaemon("azurite", "SIGSTOP");
            await sleep(5000);
            signalDaemon("azurite", "SIGCONT");
            await sleep(1000);
            signalDaemon("azurite", "SIGTERM");
            await sleep(1000);
            await restorePlatform();
        },
        expected: { outcome: "Succeeded", told: /Succeeded: /, attempts: 1 },
    },
    "a node that is drained": {
        during: async (build, cleanUp) => {
            await build.says(/line 5 /);
            const pod = await build.pod();
            cleanUp(() => cordon(pod.spec?.nodeName ?? "", false));
            await cordon(pod.spec?.nodeName ?? "", true);
            const at = { name: pod.metadata?.name ?? "", namespace: build.stack.namespace };
            build.fault();
            await api().core.createNamespacedPodEviction({ ...at, body: { metadata: at } });
            await build.says(/waiting for a node: .*unschedulable/, 20);
            await cordon(pod.spec?.nodeName ?? "", false);
        },
        expected: { outcome: "Succeeded", told: /disrupted: EvictionByEvictionAPI/, attempts: 2, lostAtMost: 2 },
    },
    "a node that is lost, and comes back": {
        config: { nodeLostSeconds: 1, terminateLimitSeconds: 2 },
        during: async (build, cleanUp) => {
            await build.says(/line 5 /);
            await loseNode(build, cleanUp);
        },
        expected: {
            outcome: "Succeeded",
            told: /disrupted: DeletionByTaintManager|was to end \d+ s ago, and has not: removed by force/,
            attempts: 2,
            lostAtMost: 2,
        },
    },
});

async function cordon(name: string, unschedulable: boolean): Promise<void> {
    await api().core.patchNode({ name, body: { spec: { unschedulable } } }, merge);
}

/**
 * Kills the kubelet and what its pod runs, and starts the kubelet again once the pod was taken from the node. Kubernetes
 * waits 50 s before it says of a node that it is lost; so that others can go on with theirs, the test says it. Kubernetes
 * does not believe that all nodes are lost at once: there must be another, on which nothing can run.
 */
async function loseNode(build: FaultedBuild, cleanUp: (step: () => unknown) => void): Promise<void> {
    const { core } = api();
    const pod = await build.pod();
    const node = readSettings().nodeName;
    const other = `tmp-other-${process.pid}`;
    cleanUp(() => core.deleteNode({ name: other }));
    await core.createNode({
        body: {
            metadata: { name: other },
            spec: { taints: [{ key: "ke1.test/nothing-runs-here", value: "yes", effect: "NoSchedule" }] },
        },
    });
    await say(other, "True");
    // Until the controller has seen the other node as ready.
    await build.until(async () => {
        const { spec } = await core.readNode({ name: other });
        return !spec?.taints?.some(({ key }) => key === "node.kubernetes.io/not-ready");
    });
    cleanUp(restorePlatform);
    build.fault();
    signalDaemon("kubelet", "SIGKILL");
    assert.ok(killContainer(pod, "build") + killContainer(pod, "exporter") > 1);
    await say(node, "Unknown");
    await build.says(/removed by force/);
    await restorePlatform();
}

async function say(name: string, status: "True" | "Unknown"): Promise<void> {
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const ready = { type: "Ready", status, reason: "Test", lastHeartbeatTime: now, lastTransitionTime: now };
    const body = { status: { conditions: [ready] } };
    await api().core.patchNodeStatus({ name, body }, merge);
}
