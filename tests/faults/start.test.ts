import { randomBytes } from "node:crypto";

import { faultSuite } from "../helpers/faultSuite";
import type { Case } from "../helpers/faultSuite";
import type { FaultedBuild } from "../helpers/faults";
import { Gate } from "../helpers/gate";
import { platform } from "../helpers/ke1";
import type { Prepared } from "../helpers/prepared";
import { api } from "../helpers/prepared";

const nobodysDigest = () => `sha256:${randomBytes(32).toString("hex")}`;

/** The build's image through a gate that stands before the registry; the exporter's does not come through it. */
function throughRegistryGate(
    what: Case,
    arrange: (gate: Gate, prepared: Prepared) => Promise<string | undefined> | string | undefined,
    during?: (build: FaultedBuild, gate: Gate) => Promise<void>,
): Case {
    let used: Gate;
    return {
        ...what,
        before: async (prepared, cleanUp) => {
            const [, path = ""] = /^[^/]+(\/.*)$/.exec(prepared.image) ?? [];
            used = await Gate.before(`http://${platform().registry.replace("localhost", "127.0.0.1")}`, "127.0.0.1");
            cleanUp(() => used.close());
            const digest = await arrange(used, prepared);
            const image = `localhost:${used.port}${digest ? path.replace(/sha256:.*/, digest) : path}`;
            return { config: { image } };
        },
        during: async (build) => during?.(build, used),
    };
}

faultSuite("faults before a build begins", 4, {
    "an image that does not exist": {
        config: {
            image: `${platform().registry}/ke-1-build@${nobodysDigest()}`,
            pullLimitSeconds: 3,
        },
        expected: {
            outcome: "ImagePullFailed",
            told: /ImagePullFailed: .*not found/,
            attempts: 1,
            events: /Failed to pull image/,
        },
    },
    "an image that is not what its digest says": throughRegistryGate(
        {
            config: { pullLimitSeconds: 3 },
            expected: { outcome: "ImagePullFailed", told: /ImagePullFailed: .*unexpected commit digest/, attempts: 1 },
        },
        (gate, { image }) => {
            const wrong = nobodysDigest();
            const right = image.replace(/^.*@/, "");
            gate.rule = ({ url = "" }) => (url.includes(wrong) ? { path: url.replace(wrong, right) } : undefined);
            return wrong;
        },
    ),
    "a registry that is down": throughRegistryGate(
        {
            config: { pullLimitSeconds: 3 },
            expected: {
                outcome: "ImagePullFailed",
                told: /ImagePullFailed: .*connection refused/,
                attempts: 1,
                events: /connection refused/,
            },
        },
        async (gate) => {
            await gate.close();
            return undefined;
        },
    ),
    "a registry that is down, and comes back": throughRegistryGate(
        { expected: { outcome: "Succeeded", told: /cannot start `build`: .*connection refused/, attempts: 1 } },
        async (gate) => {
            await gate.close();
            return undefined;
        },
        async (build, gate) => {
            await build.says(/cannot start `build`/);
            await gate.open();
        },
    ),
    "more CPUs than any node has": {
        // Else it is turned away before it is sent.
        config: { cpuRequest: "640", nodeSizes: ["cpu=1000"], scheduleLimitSeconds: 3 },
        expected: {
            outcome: "Unschedulable",
            told: /Unschedulable: no node for \d+ s: .*Insufficient cpu/,
            attempts: 0,
            events: /FailedScheduling: .*Insufficient cpu/,
        },
    },
    "a device that no node has": {
        config: {
            ...{ extendedResources: ["ke1.test/gpu=1"], nodeSizes: ["cpu=1000,ke1.test/gpu=1"] },
            scheduleLimitSeconds: 3,
        },
        expected: {
            outcome: "Unschedulable",
            told: /Unschedulable: no node for \d+ s: .*Insufficient ke1\.test\/gpu/,
            attempts: 0,
            events: /FailedScheduling: .*Insufficient ke1\.test\/gpu/,
        },
    },
    "a label that no node has": {
        config: { nodeRequirements: ["ke1.test/nowhere=yes"], scheduleLimitSeconds: 3 },
        expected: {
            outcome: "Unschedulable",
            told: /Unschedulable: no node for \d+ s: .*didn't match Pod's node affinity/,
            attempts: 0,
            events: /FailedScheduling/,
        },
    },
    "a taint that the build does not bear with": {
        before: async (_, cleanUp) => {
            const name = `tmp-tainted-${randomBytes(4).toString("hex")}`;
            const { core } = api();
            cleanUp(() => core.deleteNode({ name }));
            await core.createNode({
                body: {
                    metadata: { name, labels: { "ke1.test/tainted": name } },
                    spec: { taints: [{ key: "ke1.test/mine", value: "yes", effect: "NoSchedule" }] },
                    status: { allocatable: { cpu: "4", memory: "4Gi", pods: "10" } },
                },
            });
            return { config: { nodeRequirements: [`ke1.test/tainted=${name}`] } };
        },
        config: { scheduleLimitSeconds: 3 },
        expected: {
            outcome: "Unschedulable",
            told: /Unschedulable: no node for \d+ s: .*untolerated taint/,
            attempts: 0,
            events: /FailedScheduling: .*untolerated taint/,
        },
    },
    "a Secret that does not exist": {
        config: { signingKeySecret: "nowhere", createLimitSeconds: 4 },
        expected: {
            outcome: "Unschedulable",
            told: /Unschedulable: the containers were not made in \d+ s on the node/,
            attempts: 0,
            events: /FailedMount: .*secret "nowhere" not found/,
        },
    },
    "a quota that the pod can never satisfy": {
        config: { podLimitSeconds: 4 },
        during: (build) => putQuota(build, { "limits.cpu": "1" }),
        expected: {
            outcome: "Unschedulable",
            told: /Unschedulable: the Job has got no pod in \d+ s/,
            attempts: 0,
            // A busy quota controller has not counted yet.
            events: /FailedCreate: .*(must specify limits.cpu|status unknown for quota)/,
        },
    },
    "a quota that is used up, and becomes free": {
        config: { podLimitSeconds: 2 },
        during: async (build) => {
            await putQuota(build, { pods: "0" });
            await build.says(/waiting for its turn/);
            await api().core.deleteNamespacedResourceQuota({ name: "tight", namespace: build.stack.namespace });
        },
        expected: { outcome: "Succeeded", told: /waiting for its turn/, attempts: 1 },
    },
});

/** As soon as the stack has made its namespace, and before it makes the Job. */
async function putQuota(build: FaultedBuild, hard: Record<string, string>): Promise<void> {
    const body = { metadata: { name: "tight" }, spec: { hard } };
    await build.until(async () =>
        api()
            .core.createNamespacedResourceQuota({ namespace: build.stack.namespace, body })
            .then(
                () => true,
                () => false,
            ),
    );
}
