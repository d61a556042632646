import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import {
    ContainerSASPermissions,
    generateBlobSASQueryParameters,
    SASProtocol,
    StorageSharedKeyCredential,
} from "@azure/storage-blob";

import type { Case } from "../helpers/faultSuite";
import { faultSuite } from "../helpers/faultSuite";
import type { FaultedBuild } from "../helpers/faults";
import { platform } from "../helpers/ke1";
import { killContainer, squeezeMemory } from "../helpers/nodeFaults";
import { api, countingBuild } from "../helpers/prepared";

/** A shell, whose own memory grows: 24 MiB of text, which it holds more than once. */
const hungryShell = 'x=$(head -c 24m /dev/zero | tr "\\0" a); y="$x$x"; echo ${#y}';
const littleMemory = { memoryRequest: "32Mi", memoryLimit: "32Mi" };

/** @param why what Kubernetes says of it */
function fullDisk(file: string, why: RegExp): Case {
    return {
        script: countingBuild(4, 0.2, `head -c 40m /dev/zero >${file}; sleep 200`),
        lines: 4,
        config: { diskLimit: "20Mi" },
        during: async (build) => {
            await build.says(/line 4 /);
            build.fault();
        },
        expected: {
            outcome: "BuildFailed",
            told: new RegExp(
                String.raw`BuildFailed: the build used more disk than it may \(diskLimit\): .*${why.source}`,
            ),
            attempts: 1,
            lines: 4,
        },
    };
}

faultSuite("faults of the build and its pod", 6, {
    "an exit code": {
        script: countingBuild(4, 0.2, "exit 7"),
        lines: 4,
        expected: {
            outcome: "BuildFailed",
            told: /BuildFailed: `sh -c .*` ended with exit code 7/,
            attempts: 1,
            lines: 4,
        },
    },
    "an exporter that is killed": {
        during: async (build) => {
            await build.says(/line 5 /);
            const pod = await build.pod();
            build.fault();
            assert.ok(killContainer(pod, "exporter") > 0);
        },
        expected: {
            outcome: "Succeeded",
            told: /the exporter was killed \(exit code 137\): ending this attempt/,
            attempts: 2,
            lostAtMost: 2,
        },
    },
    "an exporter that is out of memory": {
        config: { retries: 0 },
        during: async (build) => {
            await build.says(/line 5 /);
            const pod = await build.pod();
            build.fault();
            squeezeMemory(pod, "exporter");
        },
        expected: { outcome: "OutOfMemory", told: /OutOfMemory: the container `exporter` used more memory/ },
    },
    "a build that is out of memory": {
        script: countingBuild(4, 0.2, hungryShell),
        lines: 4,
        config: littleMemory,
        expected: {
            outcome: "OutOfMemory",
            told: /OutOfMemory: the container `build` used more memory/,
            attempts: 1,
            lines: 4,
        },
    },
    "a child of the build that is out of memory": {
        script: countingBuild(4, 0.2, "tail -c 100m /dev/zero | tail -n 1 >/dev/null || exit 3; exit 4"),
        lines: 4,
        config: littleMemory,
        expected: { outcome: "OutOfMemory", told: /OutOfMemory: the container `build` used more memory/, attempts: 1 },
    },
    "a build that is out of memory, and may have more": {
        script: `${countingBuild(4, 0.2, hungryShell)} && mkdir -p bin && echo hello > bin/greeting`,
        lines: 4,
        config: { ...littleMemory, memoryRetryLimit: "512Mi" },
        expected: {
            outcome: "Succeeded",
            told: /out of memory with 32Mi: starting again with \d+Mi/,
            lines: 4,
        },
    },
    "a disk that is full": fullDisk("$KE1_DIR/junk", /exceeds the limit "20Mi"/),
    "a disk that is full outside of the shared volume": fullDisk("/tmp/junk", /exceed.* limit/),
    "a deadline": {
        lines: 200,
        config: { deadlineSeconds: 6 },
        expected: { outcome: "DeadlineExceeded", told: /DeadlineExceeded: .* deadline of 6 s/, attempts: 1 },
    },
    "a pod that is evicted": {
        during: async (build) => {
            await build.says(/line 5 /);
            await evict(build);
        },
        expected: { outcome: "Succeeded", told: /disrupted: EvictionByEvictionAPI/, attempts: 2, lostAtMost: 2 },
    },
    "a pod that is evicted each time": {
        during: async (build) => {
            await build.says(/line 5 /);
            await evict(build);
            await build.says(/starting again[^]*line 3 /);
            await evict(build);
        },
        expected: {
            outcome: "Disrupted",
            told: /Disrupted: the build was started again and disrupted again, 2 times, .*EvictionByEvictionAPI/,
            attempts: 2,
            lostAtMost: 2,
        },
    },
    "a pod that makes room for a more important one": {
        during: async (build, cleanUp) => {
            await build.says(/line 5 /);
            await preempt(build, cleanUp);
        },
        expected: { outcome: "Succeeded", told: /disrupted: PreemptionByScheduler/, attempts: 2, lostAtMost: 2 },
    },
    "`ke1 cancel`": {
        lines: 200,
        during: async (build) => {
            await build.says(/line 5 /);
            build.fault();
            assert.equal((await build.stack.ke1(["cancel", build.prepared.buildTag])).code, 0);
        },
        expected: { outcome: "Cancelled", told: /Cancelled: the build was cancelled/, attempts: 1, lostAtMost: 2 },
    },
    "Ctrl-C": {
        lines: 200,
        during: async (build) => {
            await build.says(/line 5 /);
            build.fault();
            build.signal("SIGINT", true);
            await build.ended();
            await build.until(async () => (await build.stack.ke1(["builds"])).stdout.includes("Cancelled"));
        },
        expected: { outcome: "Cancelled", code: 130, told: /Cancelled: `ke1 up` starts the build again/, attempts: 1 },
    },
    "a Job that somebody deletes": {
        lines: 200,
        during: async (build) => {
            await build.says(/line 5 /);
            build.fault();
            const { namespace } = build.stack;
            await api().batch.deleteCollectionNamespacedJob({ namespace, propagationPolicy: "Background" });
        },
        expected: { outcome: "Cancelled", told: /Cancelled: the Job was deleted/, attempts: 1, lostAtMost: 2 },
    },
    "`ke1 destroy` while it runs": {
        lines: 200,
        during: async (build) => {
            await build.says(/line 5 /);
            await build.kill();
            build.fault();
            await build.destroy();
        },
        expected: { outcome: "Cancelled", code: 137, told: /line 5 /, attempts: 1 },
    },
    "a launcher that is killed, and started again": {
        lines: 40,
        during: async (build) => {
            await build.says(/line 5 /);
            build.fault();
            await build.kill();
            await sleep(1000);
            build.up();
        },
        expected: { outcome: "Succeeded", told: /Succeeded: 1 artifact/, attempts: 1 },
    },
    "a credential that expires": {
        lines: 60,
        config: { retries: 0 },
        during: async (build) => {
            await build.until(() => expireCredential(build, 9));
        },
        expected: { outcome: "ExportFailed", told: /ExportFailed: .*403/, attempts: 1 },
        afterwards: async (build) => {
            build.up();
            const { code } = await build.ended();
            assert.equal(code, 0, `the next \`up\` brings a new one: ${build.shown}`);
        },
    },
});

async function evict(build: FaultedBuild): Promise<void> {
    const { metadata } = await build.pod();
    const at = { name: metadata?.name ?? "", namespace: build.stack.namespace };
    build.fault();
    await api().core.createNamespacedPodEviction({ ...at, body: { metadata: at } });
}

/** Schedules a pod that cannot be beside this build, and beside no other. */
async function preempt(build: FaultedBuild, cleanUp: (step: () => unknown) => void): Promise<void> {
    const { core, scheduling } = api();
    const { namespace } = build.stack;
    const name = build.stack.name;
    const { spec } = await build.pod();
    cleanUp(() => scheduling.deletePriorityClass({ name }));
    await scheduling.createPriorityClass({ body: { metadata: { name }, value: 1000 } });
    const notBeside = {
        topologyKey: "kubernetes.io/hostname",
        namespaces: [namespace],
        labelSelector: { matchExpressions: [{ key: "batch.kubernetes.io/job-name", operator: "Exists" }] },
    };
    build.fault();
    cleanUp(() => core.deleteNamespacedPod({ namespace: "default", name }));
    await core.createNamespacedPod({
        namespace: "default",
        body: {
            metadata: { name },
            spec: {
                priorityClassName: name,
                restartPolicy: "Never",
                affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [notBeside] } },
                containers: [{ name: "important", image: build.prepared.image, command: ["true"] }],
                tolerations: spec?.tolerations,
            },
        },
    });
}

/** Puts a signature in place of the exporter's that is good for some seconds. @returns whether there was one already */
async function expireCredential(build: FaultedBuild, seconds: number): Promise<boolean> {
    const { core } = api();
    const at = { name: "ke1-blob-credential", namespace: build.stack.namespace };
    const secret = await core.readNamespacedSecret(at).catch(() => undefined);
    if (!secret) {
        return false;
    }
    const { account, key } = JSON.parse(fs.readFileSync(platform().blobCredentialFile, "utf8")) as {
        account: string;
        key: string;
    };
    const sas = generateBlobSASQueryParameters(
        {
            containerName: build.stack.container,
            permissions: ContainerSASPermissions.from({ create: true, write: true, add: true, read: true }),
            startsOn: new Date(Date.now() - 60_000),
            expiresOn: new Date(Date.now() + seconds * 1000),
            protocol: SASProtocol.HttpsAndHttp,
        },
        new StorageSharedKeyCredential(account, key),
    );
    const { metadata, type } = secret;
    await core.replaceNamespacedSecret({ ...at, body: { metadata, type, stringData: { sas: String(sas) } } });
    return true;
}
