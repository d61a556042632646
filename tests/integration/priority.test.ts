import * as assert from "node:assert/strict";

import { PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";

import { BuildableRepository } from "../helpers/buildable";
import { FaultedBuild } from "../helpers/faults";
import { until } from "../helpers/hollowNodes";
import { TemporaryStack } from "../helpers/ke1";
import type { Prepared } from "../helpers/prepared";
import { api, countingBuild, prepare } from "../helpers/prepared";

/**
 * Who goes first. The node is full for these builds and for nobody else: it has one slot, a resource of their own, and each
 * of them takes it.
 */
describe("builds of different priority on a full node", function () {
    this.timeout(600_000);
    const unique = `tmp-${process.pid}`;
    const slot = `ke1.test/slot-${unique}`;
    const classes = { low: -100, high: 100 };
    let prepared: Prepared | undefined;
    let node: string;
    const builds: FaultedBuild[] = [];

    before(async () => {
        const { core, scheduling } = api();
        const { items } = await core.listNode({ labelSelector: "!ke1.test/hollow" });
        node = items[0]?.metadata?.name ?? "";
        await offer("1");
        for (const [name, value] of Object.entries(classes)) {
            await scheduling.createPriorityClass({ body: { metadata: { name: `${unique}-${name}` }, value } });
        }
        prepared = await prepare();
    });
    after(async () => {
        for (const build of builds) {
            await build.remove();
        }
        prepared?.repository.remove();
        for (const name of Object.keys(classes)) {
            await api().scheduling.deletePriorityClass({ name: `${unique}-${name}` });
        }
        await offer(null);
    });

    it("the higher one takes the lower one's place, which starts again when it is over, and both succeed", async () => {
        // It is still under way when the other one has come so far.
        const low = build("low", 150);
        low.up();
        await low.says(/line 5 /);
        const high = build("high", 8);
        high.up();
        low.fault();
        await low.says(/disrupted: PreemptionByScheduler/);
        await high.ended();
        const highRow = await high.endsAs("the higher priority", {
            outcome: "Succeeded",
            told: /Succeeded: 1 artifact/,
            attempts: 1,
            lines: 8,
        });
        assert.equal(highRow.attempts, 1);
        assert.doesNotMatch(low.shown, /Succeeded/, "the lower one is not over yet");
        await low.endsAs("the lower priority", {
            outcome: "Succeeded",
            told: /disrupted: PreemptionByScheduler[^]*starting again[^]*Succeeded: 1 artifact/,
            attempts: 2,
            lostAtMost: 2,
        });
    });

    it("of those that wait, the higher one is next", async () => {
        const first = build("high", 240);
        first.up();
        await first.says(/line 1 /);
        const low = build("low", 4);
        low.up();
        await until("the lower one waits", async () => (await waiting(low)) === 1);
        const high = build("high", 4);
        high.up();
        await until("the higher one waits", async () => (await waiting(high)) === 1);
        await high.ended();
        assert.match(high.shown, /Succeeded: 1 artifact/);
        await low.ended();
        assert.match(low.shown, /Succeeded: 1 artifact/);
        assert.ok((await startOf(high)) < (await startOf(low)), "the lower one came first, and was started last");
        await first.ended();
    });

    function build(priority: keyof typeof classes, lines: number): FaultedBuild {
        const made = new FaultedBuild(prepared!, lines, {
            command: ["sh", "-c", countingBuild(lines)],
            priorityClass: `${unique}-${priority}`,
            extendedResources: [`${slot}=1`],
            nodeSizes: [`cpu=1000,${slot}=1`],
            retries: 3,
        });
        builds.push(made);
        return made;
    }

    async function waiting({ stack: { namespace } }: FaultedBuild): Promise<number> {
        const { items } = await api().core.listNamespacedPod({ namespace });
        return items.filter(({ status }) =>
            status?.conditions?.some(({ type, reason }) => type === "PodScheduled" && reason === "Unschedulable"),
        ).length;
    }

    async function startOf({ stack: { namespace } }: FaultedBuild): Promise<number> {
        const { items } = await api().core.listNamespacedPod({ namespace });
        return items[0]?.status?.startTime?.getTime() ?? NaN;
    }

    /** Lets the node have so many slots, or none. */
    async function offer(slots: string | null): Promise<void> {
        const body = { status: { capacity: { [slot]: slots }, allocatable: { [slot]: slots } } };
        await api().core.patchNodeStatus(
            { name: node, body },
            setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
        );
    }
});

describe("more builds than the namespace's quota admits", function () {
    this.timeout(600_000);
    let repository: BuildableRepository;
    let stack: TemporaryStack;

    after(async () => {
        await stack.remove();
        repository.remove();
    });

    it("wait for their turn and say so, and none fails for it", async () => {
        repository = new BuildableRepository(["sleep 3", "mkdir -p bin", "date +%s.%N > bin/start"]);
        const config = { podLimitSeconds: 2, maxPods: 1 };
        const tags = ["one", "two", "three"].map((name) => {
            repository.file("name", name);
            repository.commit();
            repository.git("tag", name);
            return name;
        });
        stack = new TemporaryStack("quota", { source: repository.path, buildTags: tags, ...config });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        assert.match(up.stderr, /waiting for its turn: /);
        assert.equal(up.stderr.match(/Succeeded: 1 artifact/g)?.length, 3);
        const pods = (await api().core.listNamespacedPod({ namespace: stack.namespace })).items;
        const spans = pods.map((pod) => {
            const states = (pod.status?.containerStatuses ?? []).flatMap(({ state }) => state?.terminated ?? []);
            const ends = states.map(({ finishedAt }) => finishedAt?.getTime() ?? NaN);
            return { start: pod.status?.startTime?.getTime() ?? NaN, end: Math.max(...ends) };
        });
        spans.sort((a, b) => a.start - b.start);
        assert.equal(spans.length, 3);
        spans.slice(1).forEach(({ start }, index) => assert.ok(start >= spans[index]!.end, JSON.stringify(spans)));
    });
});
