import type { CoreV1Event, V1Job, V1Pod } from "@kubernetes/client-node";

/** A copy of an object of the API's with other fields. */
export function changed<T extends object>(object: T, changes: Partial<T>): T {
    return Object.assign(structuredClone(object), changes);
}

/** What Kubernetes 1.34 and the exporter kept of a build on the embedded platform, as they wrote it, cut down to times. */

const name = "ke-1-build-5994935-e3315232";
export const podName = `${name}-twtqn`;

export const job = {
    metadata: { name, creationTimestamp: "2026-11-21T22:16:01Z" },
    status: {
        startTime: "2026-11-21T22:16:01Z",
        conditions: [
            { type: "SuccessCriteriaMet", status: "True", lastTransitionTime: "2026-11-21T22:16:08Z" },
            { type: "Complete", status: "True", lastTransitionTime: "2026-11-21T22:16:08Z" },
        ],
    },
} as unknown as V1Job;

const ended = (started: string, finished: string) => ({
    state: { terminated: { exitCode: 0, reason: "Completed", startedAt: started, finishedAt: finished } },
});

export const pod = {
    metadata: { name: podName, creationTimestamp: "2026-11-21T22:16:01Z" },
    spec: { nodeName: "ke1", containers: [{ name: "build" }, { name: "exporter" }] },
    status: {
        phase: "Succeeded",
        conditions: [
            { type: "Initialized", status: "True", lastTransitionTime: "2026-11-21T22:16:01Z" },
            { type: "PodScheduled", status: "True", lastTransitionTime: "2026-11-21T22:16:01Z" },
        ],
        containerStatuses: [
            { name: "build", ...ended("2026-11-21T22:16:03Z", "2026-11-21T22:16:05Z") },
            { name: "exporter", ...ended("2026-11-21T22:16:03Z", "2026-11-21T22:16:06Z") },
        ],
    },
} as unknown as V1Pod;

export const finished = {
    finishedAt: "2026-11-21T22:16:05.969Z",
    durations: { buildSeconds: 2.062, exportSeconds: 0.08 },
};

const event = (object: string, suffix: string, reason: string, message: string, container?: string): CoreV1Event => {
    // The name has the same time as `firstTimestamp`, which is cut off to seconds.
    const seconds = Number(BigInt(`0x${suffix}`) / 1_000_000_000n);
    return {
        metadata: { name: `${object}.${suffix}` },
        involvedObject: { name: object, ...(container ? { fieldPath: `spec.containers{${container}}` } : {}) },
        reason,
        message,
        type: "Normal",
        firstTimestamp: new Date(seconds * 1000),
        lastTimestamp: new Date(seconds * 1000),
    };
};

const image = "localhost:5000/ke-1-build@sha256:1b4728713ebef3509f84b85896cf8e4ed2b930beed0464fbc288dfa09a5abf80";
const exporterImage =
    "localhost:5000/ke-1-exporter@sha256:6a1b2ab02e7e6725144f07beb1dfaa1fc91b7f57eb686f179b7037dc46a4cd66";

export const jobCreatedPod = event(name, "18ea2f41fa472fe3", "SuccessfulCreate", `Created pod: ${podName}`);

export const scheduled = changed(
    event(podName, "18ea2f41faed0fa9", "Scheduled", `Successfully assigned builds/${podName} to ke1`),
    { eventTime: "2026-11-21T22:16:01.889777Z" as unknown as CoreV1Event["eventTime"], firstTimestamp: undefined },
);

export const pulledBuild = event(
    podName,
    "18ea2f424d0a62bf",
    "Pulled",
    `Successfully pulled image "${image}" in 376ms (376ms including waiting). Image size: 138930896 bytes.`,
    "build",
);

export const pulledExporter = event(
    podName,
    "18ea2f425bc3e178",
    "Pulled",
    `Container image "${exporterImage}" already present on machine`,
    "exporter",
);

export const events: readonly CoreV1Event[] = [
    scheduled,
    event(podName, "18ea2f42369a554f", "Pulling", `Pulling image "${image}"`, "build"),
    pulledBuild,
    event(podName, "18ea2f424f877303", "Created", "Created container: build", "build"),
    event(podName, "18ea2f425bb56a3b", "Started", "Started container build", "build"),
    pulledExporter,
    event(podName, "18ea2f425c76a780", "Created", "Created container: exporter", "exporter"),
    event(podName, "18ea2f426a136603", "Started", "Started container exporter", "exporter"),
    jobCreatedPod,
    event(name, "18ea2f438de256b8", "Completed", "Job completed"),
];
