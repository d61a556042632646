import * as assert from "node:assert/strict";

import { PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";

import { BuildableRepository } from "../helpers/buildable";
import { TemporaryStack } from "../helpers/ke1";
import { api } from "../helpers/prepared";

/**
 * The node is full for these builds and for nobody else: it has two slots, a resource of their own, and each of them takes
 * one, as it takes one of the pods that a node can have.
 */
describe("more builds at once than the node has room for", function () {
    this.timeout(300_000);
    const slot = `ke1.test/room-${process.pid}`;
    let node: string;
    let repository: BuildableRepository;
    let stack: TemporaryStack;

    before(async () => {
        const { items } = await api().core.listNode({ labelSelector: "!ke1.test/hollow" });
        node = items[0]?.metadata?.name ?? "";
        await offer("2");
    });
    after(async () => {
        await stack.remove();
        repository.remove();
        await offer(null);
    });

    it("wait for it however long it takes, say so and how many are before them, and none fails for it", async () => {
        repository = new BuildableRepository(["sleep 3", "mkdir -p bin", "echo built > bin/it"]);
        repository.commit();
        const buildTags = ["one", "two", "three", "four", "five"];
        buildTags.forEach((tag) => repository.git("tag", tag));
        stack = new TemporaryStack("room", {
            ...{ source: repository.path, buildTags, extendedResources: [`${slot}=1`] },
            // One that no node would take is given up after this.
            ...{ nodeSizes: [`cpu=1000,${slot}=2`], scheduleLimitSeconds: 1 },
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        assert.equal(up.stderr.match(/Succeeded: 1 artifact/g)?.length, buildTags.length);
        assert.match(up.stderr, /waiting for room on a node: .*Insufficient ke1\.test\/room-\d+[,.]/);
        assert.match(up.stderr, /(1 build is|\d builds are) before it\./);
        assert.doesNotMatch(up.stderr, /Unschedulable/);
    });

    /** Lets the node have so many slots, or none. */
    async function offer(slots: string | null): Promise<void> {
        const body = { status: { capacity: { [slot]: slots }, allocatable: { [slot]: slots } } };
        await api().core.patchNodeStatus(
            { name: node, body },
            setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
        );
    }
});
