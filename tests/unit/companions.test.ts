import * as assert from "node:assert/strict";

import type { V1Pod } from "@kubernetes/client-node";

import type { StepsArgs } from "../../components/pipelineStep";
import { stepArgs } from "../../components/pipelineStep";
import { readEnvironments } from "../../config/environments";
import { troubleOf } from "../../launcher/companions";
import { describePhase, outcomeOfFailedJob, outOfMemory, phaseOf, startFailure } from "../../launcher/podStatus";
import { environmentsOf } from "../../pipeline/environment";
import type { StepPlan } from "../../pipeline/plan";

/** A pod with an init container and a sidecar, which Kubernetes lists together. */
function pod(init: object, sidecar: object = {}, phase = "Pending"): V1Pod {
    return {
        spec: { nodeName: "n", initContainers: [{ name: "fetch" }, { name: "junit", restartPolicy: "Always" }] },
        status: {
            phase,
            initContainerStatuses: [
                { name: "fetch", state: init },
                { name: "junit", state: {}, ...sidecar },
            ],
        },
    } as unknown as V1Pod;
}

describe("init containers and sidecars in a pod's status", () => {
    const failedJob = { status: { conditions: [{ type: "Failed", status: "True", reason: "PodFailurePolicy" }] } };

    it("say what is running, and what cannot be pulled", () => {
        const running = pod({ running: {} });
        assert.equal(describePhase(phaseOf(running), running), "running the init container `fetch`");
        assert.equal(phaseOf(pod({ terminated: { exitCode: 0 } }, { state: { running: {} } })).name, "preparing");
        const pulling = pod({ waiting: { reason: "ErrImagePull", message: "no" } });
        assert.equal(describePhase(phaseOf(pulling), pulling), "cannot start `fetch`: ErrImagePull: no");
    });

    it("give the outcome where an init container was killed, and not where a sidecar was", () => {
        const killed = pod({ terminated: { exitCode: 137, reason: "Error" } }, {}, "Failed");
        assert.deepEqual(outcomeOfFailedJob(failedJob as object, killed), {
            outcome: "BuildFailed",
            message: "the init container `fetch` ended with exit code 137",
            exitCode: 137,
        });
        assert.equal(outOfMemory(pod({ terminated: { exitCode: 0, reason: "OOMKilled" } })), "fetch");
        assert.equal(
            outOfMemory(pod({}, { state: { terminated: { exitCode: 137, reason: "OOMKilled" } } })),
            undefined,
        );
    });

    it("say what could not be started, of a sidecar also while it is tried again", () => {
        const message = "no /bin/sh";
        const wanted = (name: string) => `the container \`${name}\` cannot be started: no /bin/sh`;
        assert.equal(
            startFailure(pod({ terminated: { exitCode: 128, reason: "StartError", message } })),
            wanted("fetch"),
        );
        const lastState = { terminated: { exitCode: 128, reason: "StartError", message } };
        const again = { state: { waiting: { reason: "CrashLoopBackOff" } }, lastState };
        assert.equal(startFailure(pod({}, again)), wanted("junit"));
    });

    it("are trouble where they did not go as they should", () => {
        const lines = troubleOf([
            { name: "good", role: "init", exitCode: 0 },
            { name: "told", role: "sidecar", exitCode: 143 },
            { name: "bad", role: "sidecar", exitCode: 3 },
            { name: "late", role: "sidecar", exitCode: 143, problem: "stopped" },
        ]);
        assert.deepEqual(lines, ["the sidecar `bad` ended with exit code 3", "the sidecar `late`: stopped"]);
    });
});

describe("a step that names an environment", () => {
    const environments = readEnvironments({
        get: () =>
            JSON.stringify({
                tools: { env: { A: "1" }, resources: { cpuRequest: "2" }, security: { runAsUser: 7 } },
                keys: { volumes: { key: { path: "/key", secret: "s" } } },
            }),
    });

    it("gets what it has, or one line", () => {
        const { env, resources, whole, image } = environmentsOf(environments)("tools");
        assert.deepEqual([env, resources, image], [{ A: "1" }, { cpu: "2" }, undefined]);
        const args = { runAsUser: 1 } as unknown as StepsArgs;
        const made = stepArgs(args, { definition: {}, environment: whole } as unknown as StepPlan);
        assert.deepEqual([made.runAsUser, made.environment], [7, whole]);
        assert.throws(() => environmentsOf(environments)("none"), /names the environment `none`, which is not in/);
        assert.throws(() => environmentsOf(environments)("keys"), /is a Secret: what is built could read it/);
    });
});
