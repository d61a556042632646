import * as assert from "node:assert/strict";

import type { V1Pod } from "@kubernetes/client-node";

import { readPlacement } from "../../config/placement";
import { Reader } from "../../config/reader";
import { HollowNodes, until } from "../helpers/hollowNodes";
import { rightJob } from "../helpers/judgedJobs";
import { kubectl } from "../helpers/ke1";
import { api } from "../helpers/prepared";

/** The label and the taint of AKS's spot nodes. */
const spot = "kubernetes.azure.com/scalesetpriority";

/**
 * Where the scheduler puts a build's pod, on nodes of several kinds: the Jobs are what a stack with that configuration
 * declares.
 */
describe("placement, on several nodes", function () {
    this.timeout(600_000);
    const hollow = new HollowNodes();
    const namespace = hollow.id;
    const nodes: Record<string, string> = {};
    let count = 0;

    before(async () => {
        await api().core.createNamespace({ body: { metadata: { name: namespace } } });
        await hollow.start();
        const taint = (key: string, value: string) => [{ key, value, effect: "NoSchedule" }];
        nodes["plain"] = await hollow.add("plain", { labels: { disk: "hdd", pool: "general" } });
        nodes["ssd"] = await hollow.add("ssd", { labels: { disk: "ssd", pool: "fast" } });
        nodes["dedicated"] = await hollow.add("dedicated", {
            labels: { disk: "ssd", team: "booster" },
            taints: taint("team", "booster"),
        });
        nodes["gpu"] = await hollow.add("gpu", {
            labels: { accelerator: "nvidia" },
            taints: taint("nvidia.com/gpu", "present"),
            resources: { "nvidia.com/gpu": "2" },
        });
        nodes["spot"] = await hollow.add("spot", { labels: { [spot]: "spot" }, taints: taint(spot, "spot") });
    });
    afterEach(async () => {
        await api().batch.deleteCollectionNamespacedJob({ namespace, propagationPolicy: "Background" });
        await until(
            "no pod is left",
            async () => (await api().core.listNamespacedPod({ namespace })).items.length === 0,
        );
    });
    after(async () => {
        await hollow.remove();
        await kubectl("delete", "namespace", namespace, "--wait=false");
    });

    describe("nodeRequirements", () => {
        it("pick the node that has the label", async () => {
            assert.equal(await nodeOf({ nodeRequirements: ["disk=ssd"] }), nodes["ssd"]);
            assert.equal(await nodeOf({ nodeRequirements: ["disk in (hdd,tape)"] }), nodes["plain"]);
            assert.equal(await nodeOf({ nodeRequirements: ["disk", "pool!=general"] }), nodes["ssd"]);
        });
        it("leave a build without a node where none has it", async () => {
            const why = /didn't match Pod's node affinity\/selector/;
            assert.match(await unschedulable({ nodeRequirements: ["disk=tape"] }), why);
            assert.match(await unschedulable({ nodeRequirements: ["disk=ssd", "pool=general"] }), why);
        });
    });

    describe("nodePreferences", () => {
        it("weigh: the greatest sum wins", async () => {
            const all = { nodeRequirements: ["disk"] };
            assert.equal(await nodeOf({ ...all, nodePreferences: ["90:disk=ssd", "10:pool=general"] }), nodes["ssd"]);
            assert.equal(await nodeOf({ ...all, nodePreferences: ["10:disk=ssd", "90:pool=general"] }), nodes["plain"]);
        });
        it("are no more than that: another node is taken where the preferred one has no room", async () => {
            const preferred = { nodeRequirements: ["disk"], nodePreferences: ["100:disk=ssd"] };
            assert.equal(await nodeOf(preferred, { cpu: "3" }), nodes["ssd"]);
            assert.equal(await nodeOf(preferred, { cpu: "3" }), nodes["plain"]);
        });
    });

    describe("dedicatedNodes", () => {
        it("keep others away", async () => {
            const drawn = { nodePreferences: ["100:team=booster"], nodeRequirements: ["disk=ssd"] };
            assert.equal(await nodeOf(drawn), nodes["ssd"]);
            assert.match(await unschedulable({ nodeRequirements: ["team=booster"] }), /untolerated taint/);
        });
        it("are where the builds run that they are for, and nowhere else", async () => {
            assert.equal(await nodeOf({ dedicatedNodes: "team=booster" }), nodes["dedicated"]);
            await hollow.cordon(nodes["dedicated"]!, true);
            try {
                assert.match(await unschedulable({ dedicatedNodes: "team=booster" }), /were unschedulable/);
            } finally {
                await hollow.cordon(nodes["dedicated"]!, false);
            }
        });
    });

    describe("tolerations", () => {
        it("let a build to a tainted node, and do not draw it there", async () => {
            const tolerations = ["team=booster:NoSchedule"];
            assert.equal(await nodeOf({ nodeRequirements: ["team"], tolerations }), nodes["dedicated"]);
            assert.equal(await nodeOf({ nodeRequirements: ["pool=general"], tolerations }), nodes["plain"]);
        });
    });

    describe("extendedResources", () => {
        const gpu = (number: number) => ({
            extendedResources: [`nvidia.com/gpu=${number}`],
            tolerations: ["nvidia.com/gpu"],
        });
        it("bring a build to a node that has them, as long as some are free", async () => {
            assert.equal(await nodeOf(gpu(1)), nodes["gpu"]);
            assert.equal(await nodeOf(gpu(1)), nodes["gpu"]);
            assert.match(await unschedulable(gpu(1)), /Insufficient nvidia\.com\/gpu/);
        });
        it("leave a build without a node where none has so many", async () => {
            assert.match(await unschedulable(gpu(3)), /Insufficient nvidia\.com\/gpu/);
            assert.match(
                await unschedulable({ extendedResources: ["ke1.test/fpga=1"] }),
                /Insufficient ke1\.test\/fpga/,
            );
        });
    });

    describe("spot", () => {
        it("takes a spot node, and another where there is none", async () => {
            assert.equal(await nodeOf({ spot: true }), nodes["spot"]);
            await hollow.cordon(nodes["spot"]!, true);
            try {
                const node = await nodeOf({ spot: true, nodeRequirements: ["pool"] });
                assert.ok(node === nodes["plain"] || node === nodes["ssd"], node);
            } finally {
                await hollow.cordon(nodes["spot"]!, false);
            }
        });
        it("is kept from builds that are not to be interrupted", async () => {
            assert.match(await unschedulable({ nodeRequirements: [`${spot}=spot`] }), /untolerated taint/);
        });
    });

    it("lets nobody to these nodes who does not bear with their taint", async () => {
        const pod = await podOf({ nodeRequirements: ["pool=general"] }, {}, false);
        assert.match(reasonOf(pod), /untolerated taint/);
    });

    interface Configured {
        readonly nodeRequirements?: readonly string[];
        readonly nodePreferences?: readonly string[];
        readonly tolerations?: readonly string[];
        readonly extendedResources?: readonly string[];
        readonly dedicatedNodes?: string;
        readonly spot?: boolean;
    }

    /** Where a build of a stack with this configuration comes to. */
    async function nodeOf(config: Configured, requests: object = {}): Promise<string | undefined> {
        const pod = await podOf(config, requests);
        assert.ok(pod.spec?.nodeName, reasonOf(pod));
        return pod.spec.nodeName;
    }

    async function unschedulable(config: Configured): Promise<string> {
        const pod = await podOf(config);
        assert.equal(pod.spec?.nodeName, undefined);
        return reasonOf(pod);
    }

    /** The pod of a new build, once the scheduler has decided. */
    async function podOf(config: Configured, requests: object = {}, isHollow = true): Promise<V1Pod> {
        const { spot: isSpot = false, ...rest } = config;
        const bearing = {
            ...rest,
            nodeRequirements: [...(rest.nodeRequirements ?? []), `${HollowNodes.key}=${hollow.id}`],
            tolerations: [...(rest.tolerations ?? []), ...(isHollow ? [`${HollowNodes.key}=${hollow.id}`] : [])],
        };
        const get = (key: string) => {
            const value: unknown = bearing[key as keyof typeof bearing];
            return typeof value === "string" || value === undefined ? value : JSON.stringify(value);
        };
        const body = rightJob(namespace, readPlacement(new Reader({ get }), isSpot));
        const name = `build-${++count}`;
        body.metadata.name = name;
        Object.assign(body.spec.template.spec.containers[0].resources.requests, requests);
        // What is tried here is the scheduler: it is not to be told of the service account and the quota of a stack.
        delete body.spec.template.spec.serviceAccountName;
        await api().batch.createNamespacedJob({ namespace, body });
        let pod: V1Pod | undefined;
        await until(`the scheduler has decided on ${name}`, async () => {
            const labelSelector = `batch.kubernetes.io/job-name=${name}`;
            pod = (await api().core.listNamespacedPod({ namespace, labelSelector })).items[0];
            return pod?.spec?.nodeName !== undefined || (pod !== undefined && reasonOf(pod) !== "");
        });
        return pod!;
    }

    function reasonOf({ status }: V1Pod): string {
        const condition = status?.conditions?.find(({ type }) => type === "PodScheduled");
        return condition?.reason === "Unschedulable" ? (condition.message ?? "") : "";
    }
});
