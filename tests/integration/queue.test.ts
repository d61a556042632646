import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { setTimeout } from "node:timers/promises";

import { BuildableRepository } from "../helpers/buildable";
import { kubectl, platform, TemporaryStack } from "../helpers/ke1";

/** The part of Kueue's API that the launcher uses; its controller, which this cluster does not have, is played here. */
const workloads = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "workloads.kueue.x-k8s.io" },
    spec: {
        group: "kueue.x-k8s.io",
        scope: "Namespaced",
        names: { kind: "Workload", plural: "workloads", singular: "workload" },
        versions: [
            {
                name: "v1beta1",
                served: true,
                storage: true,
                schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
            },
        ],
    },
};

describe("a build in a queue of Kueue's", () => {
    let repository: BuildableRepository;
    let stack: TemporaryStack;

    before(async () => {
        apply(workloads);
        await kubectl("wait", "--for=condition=Established", "crd/workloads.kueue.x-k8s.io");
        repository = new BuildableRepository(["sleep 8", "mkdir -p bin", "echo queued > bin/greeting"]);
        repository.commit();
        stack = new TemporaryStack("queue", { source: repository.path, queue: "builds" });
    });
    after(async () => {
        await stack.remove();
        repository.remove();
        await kubectl("delete", "crd", "workloads.kueue.x-k8s.io", "--ignore-not-found");
    });

    it("waits for its turn, runs when it is let go, and is cancelled through its Workload", async () => {
        const tag = repository.git("rev-parse", "--short", "HEAD");
        const up = stack.ke1(["up", "--yes"]);
        const job = await jobOf();
        assert.equal(job.metadata.labels["kueue.x-k8s.io/queue-name"], "builds");

        // Kueue's webhook suspends the Job, and its controller makes a Workload for it.
        await suspend(job.metadata.name, true);
        apply({
            apiVersion: "kueue.x-k8s.io/v1beta1",
            kind: "Workload",
            metadata: {
                name: "w",
                namespace: stack.namespace,
                labels: { "kueue.x-k8s.io/job-uid": job.metadata.uid },
            },
            spec: { active: true },
        });
        await setTimeout(3000);
        assert.equal((await jobOf()).spec.suspend, true, "the launcher leaves the queue's Job suspended");

        await suspend(job.metadata.name, false);
        await until(async () => ((await jobOf()).status.active ?? 0) > 0);
        const cancelled = await stack.ke1(["cancel", tag]);
        assert.equal(cancelled.code, 0, cancelled.stderr);
        const active = await kubectl(
            ...["get", "workloads", "w", "--namespace", stack.namespace, "--output", "jsonpath={.spec.active}"],
        );
        assert.equal(active, "false", "the queue is told, which then suspends the Job");
        assert.notEqual((await jobOf()).spec.suspend, true, "and the Job itself is Kueue's to suspend");
        await up;
    });

    async function jobOf(): Promise<any> {
        let found: any;
        await until(async () => {
            const listed = await kubectl("get", "jobs", "--namespace", stack.namespace, "--output", "json");
            found = JSON.parse(listed).items[0];
            return found !== undefined;
        });
        return found;
    }

    async function suspend(name: string, value: boolean): Promise<void> {
        const patch = JSON.stringify({ spec: { suspend: value } });
        await kubectl("patch", "job", name, "--namespace", stack.namespace, "--type=merge", `--patch=${patch}`);
    }

    async function until(isSo: () => Promise<boolean>): Promise<void> {
        for (let attempt = 0; attempt < 200; attempt++) {
            if (await isSo().catch(() => false)) {
                return;
            }
            await setTimeout(200);
        }
        throw new Error("it did not come to be");
    }

    function apply(object: object): void {
        const { kubectl: command, kubeconfig } = platform();
        execFileSync(command, ["apply", "--server-side", "--filename", "-"], {
            input: JSON.stringify(object),
            env: { ...process.env, KUBECONFIG: kubeconfig },
        });
    }
});
