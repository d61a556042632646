import type { UserRule } from "../../admission/judge";
import { jobOf } from "../../components/jobSpec";
import { podSpecOf } from "../../components/buildPod";
import type { Placement } from "../../config/placement";

const digest = `sha256:${"a".repeat(64)}`;

/** What the nodes offer in the table below. */
export const nodes = "cpu=4,memory=16Gi,nvidia.com/gpu=1;cpu=8,memory=8Gi";

export const ownRules: readonly UserRule[] = [
    {
        expression: "variables.pod.containers.all(c, c.?env.orValue([]).all(e, e.name != 'DEBUG'))",
        message: "leave out DEBUG: release builds only",
    },
    {
        expression: "object.spec.activeDeadlineSeconds <= 7200 || object.metadata.?annotations[?'slow'].hasValue()",
        message: "annotate a build of more than two hours as slow",
    },
];

const anywhere: Placement = {
    ...{ nodeRequirements: [], nodePreferences: [], tolerations: [], extendedResources: {} },
    ...{ priorityClass: "", queue: "" },
};

/** A Job as a stack declares it, in JSON. */
export function rightJob(namespace: string, placement: Placement = anywhere): any {
    const args = {
        ...{ buildTag: "v1.0.2", source: { tree: "1".repeat(40) }, sourceDateEpoch: 0, command: ["make", "build"] },
        ...{
            usesBuildWrapper: true,
            artifactDirectory: "bin",
            runAsUser: 65532,
            diskLimit: "1Gi",
            nodeLostSeconds: 120,
        },
        image: `registry.test/ke-1-build@${digest}`,
        exporterImage: `registry.test/ke-1-exporter@${digest}`,
        serviceAccount: "ke1-build",
        credentialSecret: "ke1-blob-credential",
        signingKeySecret: "signing",
        imagePullSecrets: [],
        companions: { initContainers: [], sidecars: [], sidecarLimitSeconds: 60 },
        wrapperConfigMap: "ke1-wrapper",
        containerUrl: "http://store.test/builds",
        resolvesNames: false,
        ...{ cpuRequest: "500m", memoryRequest: "1Gi" },
        ...placement,
        ...{ deadlineSeconds: 6000, ttlSecondsAfterFinished: 3600, retries: 3, waits: false },
        ...{ name: "ke-1-build-v1-0-2-0a1b2c3d", namespace },
    };
    const job = jobOf(args, podSpecOf(args, "2Gi"));
    return JSON.parse(JSON.stringify({ apiVersion: "batch/v1", kind: "Job", ...job }));
}

export interface JudgedJob {
    /** Makes the Job another. */
    readonly change: (job: any, pod: any, build: any) => void;
    /** What is told; absent where nothing is wrong. */
    readonly problem?: string;
    /** What the API server itself has to say to it before any policy. */
    readonly refusedBefore?: boolean;
}

const tokenOf = { projected: { sources: [{ serviceAccountToken: { path: "token" } }] } };
const init = (image: string, more: object = {}) => ({
    ...{ name: "prepare", image },
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    ...more,
});
const otherImage = `registry.test/other@${digest}`;
/** What is told of a pod that is too large. */
const tooLarge = (wants: string) =>
    `no node is large enough (${wants}), as the largest have cpu=4,memory=16Gi,nvidia.com/gpu=1 or cpu=8,memory=8Gi: ` +
    "lower cpuRequest, memoryRequest or extendedResources, or bring nodeSizes up to date";

/** Jobs, what is wrong with each, and in which words it is told: here and by a real API server. */
export const judgedJobs: Readonly<Record<string, JudgedJob>> = {
    "as the stack declares it": { change: () => undefined },
    "with an init container by digest": { change: (_, pod) => (pod.initContainers = [init(otherImage)]) },
    "another BUILD_TAG on its pods": {
        change: (job) => (job.spec.template.metadata.labels["ke1.dev/build-tag"] = "v1.0.3"),
        problem: "label the Job and its pod template ke1.dev/build-tag=<BUILD_TAG>: nothing says what it builds",
    },
    "no BUILD_TAG": {
        change: (job) => {
            job.metadata.labels = { team: "booster" };
            delete job.spec.template.metadata.labels;
        },
        problem: "label the Job and its pod template ke1.dev/build-tag=<BUILD_TAG>: nothing says what it builds",
    },
    "an image by tag": {
        change: (_, __, build) => (build.image = "registry.test/ke-1-build:v1.0.2"),
        problem: "container build: name the image by digest (repository@sha256:...): a tag can be moved to another",
    },
    "init containers by tag": {
        change: (_, pod) => (pod.initContainers = [init("busybox"), init("busybox:1@latest", { name: "again" })]),
        problem:
            "container prepare, again: name the image by digest (repository@sha256:...): a tag can be moved to another",
    },
    "a token by default": {
        change: (_, pod) => delete pod.automountServiceAccountToken,
        problem: "set automountServiceAccountToken to false: the build would hold a token for the cluster",
    },
    "a token in a volume of the build": {
        change: (_, pod, build) => {
            pod.volumes.push({ name: "token", ...tokenOf });
            build.volumeMounts.push({ name: "token", mountPath: "/token" });
        },
        problem: "container build: leave out its volumes with a Secret or a token: what is built could read it",
    },
    "the store's credential in the build": {
        change: (_, __, build) => build.volumeMounts.push({ name: "credential", mountPath: "/c" }),
        problem: "container build: leave out its volumes with a Secret or a token: what is built could read it",
    },
    "the store's credential in an init container": {
        change: (_, pod) =>
            (pod.initContainers = [init(otherImage, { volumeMounts: [{ name: "credential", mountPath: "/c" }] })]),
        problem: "container prepare: leave out the exporter's volumes with a Secret or a token: they are its alone",
    },
    "a Secret of its own in an init container": {
        change: (_, pod) => {
            pod.volumes.push({ name: "key", secret: { secretName: "key" } });
            pod.initContainers = [init(otherImage, { volumeMounts: [{ name: "key", mountPath: "/key" }] })];
        },
    },
    "a build by another name": {
        change: (_, __, build) => (build.name = "compile"),
        problem:
            "name the container that builds build, and the one that stores what it made exporter: rules go by the names",
    },
    "a Secret in the build's environment": {
        change: (_, __, build) =>
            build.env.push({ name: "X", valueFrom: { secretKeyRef: { name: "ke1-blob-credential", key: "sas" } } }),
        problem: "container build: leave out the Secret in its environment: what is built could print it",
    },
    "all of a Secret in an init container's environment": {
        change: (_, pod) => (pod.initContainers = [init(otherImage, { envFrom: [{ secretRef: { name: "s" } }] })]),
        problem: "container prepare: leave out the Secret in its environment: what is built could print it",
    },
    "an identity of Azure for all": {
        change: (job) => (job.spec.template.metadata.labels["azure.workload.identity/use"] = "true"),
        problem:
            "container build: add it to the annotation azure.workload.identity/skip-containers: the store's token would be given to it",
    },
    "an identity of Azure for the exporter": {
        change: (job) => {
            job.spec.template.metadata.labels["azure.workload.identity/use"] = "true";
            job.spec.template.metadata.annotations = { "azure.workload.identity/skip-containers": "x; build" };
        },
    },
    "one view of all processes": {
        change: (_, pod) => (pod.shareProcessNamespace = true),
        problem: "leave out shareProcessNamespace: the build could read the exporter's memory and files",
    },
    "the node's network": {
        change: (_, pod) => (pod.hostNetwork = true),
        problem: "leave out hostNetwork, hostPID and hostIPC: a build must not see what else runs on the node",
    },
    "the node's disk": {
        change: (_, pod) => pod.volumes.push({ name: "disk", hostPath: { path: "/" } }),
        problem: "leave out volumes with hostPath: they are the node's own disk",
    },
    "a privileged build": {
        change: (_, __, build) => (build.securityContext = { privileged: true, capabilities: { drop: ["ALL"] } }),
        problem: "container build: leave out privileged: it is root on the node",
        refusedBefore: true,
    },
    "root, by the pod": {
        change: (_, pod) => (pod.securityContext.runAsUser = 0),
        problem: "container build, exporter: set runAsUser to another user than 0, root",
    },
    "root, by the container": {
        change: (_, __, build) => (build.securityContext.runAsUser = 0),
        problem: "container build: set runAsUser to another user than 0, root",
    },
    "perhaps root": {
        change: (_, __, build) => (build.securityContext.runAsNonRoot = false),
        problem: "container build: set runAsNonRoot to true",
    },
    "setuid programs": {
        change: (_, __, build) => delete build.securityContext.allowPrivilegeEscalation,
        problem: "container build: set allowPrivilegeEscalation to false: setuid programs give more rights without it",
    },
    "a capability": {
        change: (_, __, build) => (build.securityContext.capabilities.add = ["NET_RAW"]),
        problem: "container build: set capabilities.drop to [ALL], and leave out capabilities.add",
    },
    "capabilities that are not dropped": {
        change: (_, __, build) => delete build.securityContext.capabilities,
        problem: "container build: set capabilities.drop to [ALL], and leave out capabilities.add",
    },
    "all system calls": {
        change: (_, pod) => delete pod.securityContext.seccompProfile,
        problem:
            "container build, exporter: set seccompProfile.type to RuntimeDefault: all system calls are open without it",
    },
    "no deadline": {
        change: (job) => delete job.spec.activeDeadlineSeconds,
        problem: "set activeDeadlineSeconds (deadlineSeconds) to 1 to 86400: a build that hangs would never end",
    },
    "a deadline of two days": {
        change: (job) => (job.spec.activeDeadlineSeconds = 172_800),
        problem: "set activeDeadlineSeconds (deadlineSeconds) to 1 to 86400: a build that hangs would never end",
    },
    "kept for ever": {
        change: (job) => delete job.spec.ttlSecondsAfterFinished,
        problem: "set ttlSecondsAfterFinished: nothing would remove the Job when it is over",
    },
    "many pods": {
        change: (job) => (job.spec.parallelism = 50),
        problem:
            "set completions and parallelism to 1 and restartPolicy to Never: a build is one pod, and each attempt a new one",
    },
    "a node by name": {
        change: (_, pod) => (pod.nodeName = "somewhere"),
        problem: "leave out nodeName: it passes by the scheduler, and what keeps nodes apart; use nodeRequirements",
    },
    "every taint": {
        change: (_, pod) => pod.tolerations.push({ operator: "Exists" }),
        problem: "name the key of each toleration: one without bears with every taint, also those of broken nodes",
    },
    "all of the CPUs of the largest node, less what the exporter wants": {
        change: (_, __, build) => (build.resources.requests = { cpu: "7990m", memory: "1Gi" }),
    },
    "all of the CPUs of the largest node": {
        change: (_, __, build) => (build.resources.requests = { cpu: "8", memory: "1Gi" }),
        problem: tooLarge("build cpu=8,memory=1Gi; exporter cpu=10m,memory=32Mi"),
    },
    "the CPUs of one node and the memory of another": {
        change: (_, __, build) =>
            (build.resources = { requests: { cpu: "6", memory: "12Gi" }, limits: { memory: "12Gi" } }),
        problem: tooLarge("build cpu=6,memory=12Gi; exporter cpu=10m,memory=32Mi"),
    },
    "a GPU": {
        change: (_, __, build) => {
            build.resources.requests["nvidia.com/gpu"] = "1";
            build.resources.limits["nvidia.com/gpu"] = "1";
        },
    },
    "more GPUs than any node has": {
        change: (_, __, build) => {
            build.resources.requests["nvidia.com/gpu"] = "2";
            build.resources.limits["nvidia.com/gpu"] = "2";
        },
        problem: tooLarge("build cpu=500m,memory=1Gi,nvidia.com/gpu=2; exporter cpu=10m,memory=32Mi"),
    },
    "what no node has": {
        change: (_, __, build) => {
            build.resources.requests["ke1.test/fpga"] = "1";
            build.resources.limits["ke1.test/fpga"] = "1";
        },
        problem: tooLarge("build cpu=500m,memory=1Gi,ke1.test/fpga=1; exporter cpu=10m,memory=32Mi"),
    },
    "disk that nobody has told of": {
        change: (_, __, build) => {
            build.resources.requests["ephemeral-storage"] = "100Gi";
            build.resources.limits["ephemeral-storage"] = "100Gi";
        },
    },
    "an init container that is as large as a node": {
        change: (_, pod) =>
            (pod.initContainers = [init(otherImage, { resources: { requests: { cpu: "8", memory: "8Gi" } } })]),
    },
    "an init container that is larger than any node": {
        change: (_, pod) => (pod.initContainers = [init(otherImage, { resources: { requests: { cpu: "8001m" } } })]),
        problem: tooLarge("build cpu=500m,memory=1Gi; exporter cpu=10m,memory=32Mi; prepare cpu=8001m"),
    },
    "a sidecar that does not fit beside the build": {
        change: (_, pod) =>
            (pod.initContainers = [
                init(otherImage, { restartPolicy: "Always", resources: { requests: { cpu: "7500m" } } }),
            ]),
        problem: tooLarge("build cpu=500m,memory=1Gi; exporter cpu=10m,memory=32Mi; prepare cpu=7500m"),
    },
    "what a rule of the user's forbids": {
        change: (_, __, build) => build.env.push({ name: "DEBUG", value: "1" }),
        problem: "leave out DEBUG: release builds only",
    },
    "what another rule of the user's asks for": {
        change: (job) => (job.spec.activeDeadlineSeconds = 80_000),
        problem: "annotate a build of more than two hours as slow",
    },
    "and has": {
        change: (job) => {
            job.spec.activeDeadlineSeconds = 80_000;
            job.metadata.annotations = { slow: "yes" };
        },
    },
};

/** A Job of the table. */
export function judgedJob(namespace: string, { change }: JudgedJob): any {
    const job = rightJob(namespace);
    const pod = job.spec.template.spec;
    change(job, pod, pod.containers[0]);
    return job;
}
