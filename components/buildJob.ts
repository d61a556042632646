import { createHash } from "node:crypto";

import * as command from "@pulumi/command";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { buildTagLabel } from "../contract/labels";
import type { BuildResult } from "../contract/result";
import type { Watchdogs } from "../contract/watchdogs";
import type { BuildPodArgs } from "./buildPod";
import { podSpecOf, workloadIdentity } from "./buildPod";
import { commonLabels } from "./labels";
import { queueLabel } from "./placement";

export interface BuildJobArgs extends BuildPodArgs {
    readonly namespace: pulumi.Input<string>;
    readonly kubeconfig: pulumi.Input<string>;
    readonly kubeContext: pulumi.Input<string>;
    readonly deadlineSeconds: number;
    readonly ttlSecondsAfterFinished: number;
    /** How often a build is started again when it was not to blame. */
    readonly retries: number;
    /**
     * What a build may use, as Kubernetes quantities: at first, and then each time that it ran out of memory. Never empty.
     */
    readonly memorySteps: readonly string[];
    /** How long the launcher waits for a pod that gets nowhere, in seconds. */
    readonly watchdogs: Watchdogs;
    readonly notify: NotifyArgs;
}

/** Who is told of a build's start and end. */
export interface NotifyArgs {
    /** A Pushgateway's address; empty for none. */
    readonly pushgateway: string;
    /** Empty for none. */
    readonly webhook: string;
    /** The webhook's key: a secret output. */
    readonly webhookSecret?: pulumi.Output<string>;
}

/**
 * The exporter's exit code that says that no retry can help: the BUILD_TAG was built from another tree
 * (docs/exporter.md).
 */
const exporterConflict = 3;
/** The wrapper's exit code when the build is not to blame: it was turned away or told to end (docs/exporter.md). */
const notTheBuildsFault = 75;
/** The exit code of a shell that SIGTERM ended before it had begun: its pod is taken away. */
const terminated = 143;
/** The exporter's exit code when it could not store what the build left, or when the build failed. */
const exporterFailed = 1;
/** The exporter's exit code for a configuration that it cannot work with. */
const exporterMisconfigured = 2;

/**
 * One build of one BUILD_TAG: a Job with the build and, beside it, the exporter that carries log and artifacts out; and
 * the wait for its outcome. Its outputs come from the manifest.
 */
export class BuildJob extends pulumi.ComponentResource {
    /** `<namespace>/<name>`. */
    public readonly job: pulumi.Output<string>;
    public readonly result: pulumi.Output<BuildResult>;

    public constructor(name: string, args: BuildJobArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:BuildJob", name, {}, opts);

        const [first, ...more] = args.memorySteps.map((memoryLimit, step) =>
            declareJob(step === 0 ? `${name}-job` : `${name}-job-${memoryLimit}`, args, memoryLimit, step > 0, this),
        );
        if (!first) {
            throw new Error("memorySteps is empty");
        }
        const jobs = [first, ...more];
        this.job = pulumi.interpolate`${first.metadata.namespace}/${first.metadata.name}`;

        const wait = new command.local.Command(
            `${name}-await`,
            {
                create: "bin/ke1 await",
                environment: {
                    KE1_KUBECONFIG: args.kubeconfig,
                    KE1_KUBE_CONTEXT: args.kubeContext,
                    KE1_NAMESPACE: first.metadata.namespace,
                    // The others are let go, one after the other, when a build runs out of memory.
                    KE1_JOBS: pulumi.jsonStringify(jobs.map((job) => job.metadata.name)),
                    KE1_MEMORY: JSON.stringify(args.memorySteps),
                    // Not read: a Job that was made anew is awaited anew.
                    KE1_JOB_UID: first.metadata.uid,
                    KE1_RETRIES: String(args.retries),
                    KE1_WATCHDOGS: JSON.stringify(args.watchdogs),
                    KE1_PUSHGATEWAY: args.notify.pushgateway,
                    KE1_WEBHOOK: args.notify.webhook,
                    ...(args.notify.webhookSecret ? { KE1_WEBHOOK_SECRET: args.notify.webhookSecret } : {}),
                    KE1_STACK: pulumi.getStack(),
                    KE1_BUILD_TAG: args.buildTag,
                    KE1_SOURCE_COMMIT: args.source.commit ?? "",
                    KE1_SOURCE_TREE: args.source.tree,
                    KE1_COMMAND: JSON.stringify(args.command),
                    KE1_CONTAINER_URL: args.containerUrl,
                },
                // What a build printed must not become the environment of the next command.
                addPreviousOutputInEnv: false,
                logging: "stderr",
            },
            { parent: this },
        );
        this.result = wait.stdout.apply((stdout) => JSON.parse(stdout) as BuildResult);

        this.registerOutputs({ job: this.job, result: this.result });
    }
}

/**
 * A build's Job.
 *
 * @param waits whether it is made suspended, for when the build has run out of memory in the one before
 */
function declareJob(
    name: string,
    args: BuildJobArgs,
    memoryLimit: string,
    waits: boolean,
    parent: pulumi.Resource,
): k8s.batch.v1.Job {
    const podSpec = podSpecOf(args, memoryLimit);
    // A Job's template cannot be changed, and deletion is not waited for: so a changed Job has another name.
    const jobName = pulumi
        .jsonStringify([podSpec, args.deadlineSeconds, args.retries, args.source.tree, args.command])
        .apply((spec) => jobNameOf(args.buildTag, spec));
    const labels = {
        ...commonLabels,
        "app.kubernetes.io/component": "build",
        [buildTagLabel]: args.buildTag,
    };
    const podIdentity = args.credentialSecret === undefined ? workloadIdentity(args) : undefined;
    return new k8s.batch.v1.Job(
        name,
        {
            metadata: {
                name: jobName,
                namespace: args.namespace,
                labels: { ...labels, ...queueLabel(args) },
                // The provider's own wait ends after ten minutes and does not say why; `ke1 await` does.
                annotations: { "pulumi.com/skipAwait": "true" },
            },
            spec: {
                activeDeadlineSeconds: args.deadlineSeconds,
                ttlSecondsAfterFinished: args.ttlSecondsAfterFinished,
                ...(waits ? { suspend: true } : {}),
                backoffLimit: args.retries,
                completions: 1,
                parallelism: 1,
                podReplacementPolicy: "Failed",
                podFailurePolicy: {
                    rules: [
                        // Evicted, preempted, drained: not the build's fault, and not counted.
                        { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
                        {
                            action: "FailJob",
                            onExitCodes: {
                                containerName: "exporter",
                                operator: "In",
                                values: [exporterMisconfigured, exporterConflict],
                            },
                        },
                        // Killed, and not by its own decision: out of memory, or the node went down. The build, killed
                        // by the same, did not fail.
                        {
                            action: "Count",
                            onExitCodes: {
                                containerName: "exporter",
                                operator: "NotIn",
                                values: [0, exporterFailed, exporterMisconfigured, exporterConflict],
                            },
                        },
                        // A build that failed will fail again; one that was turned away or told to end did not fail.
                        {
                            action: "FailJob",
                            onExitCodes: {
                                containerName: "build",
                                operator: "NotIn",
                                values: [0, notTheBuildsFault],
                            },
                        },
                        // One that failed by itself ends with 0, for the exporter to say (docs/environments.md). What is
                        // left was killed, or could not be started, and would be again.
                        ...args.companions.initContainers.map(({ name: containerName }) => ({
                            action: "FailJob",
                            onExitCodes: {
                                containerName,
                                operator: "NotIn",
                                values: [0, notTheBuildsFault, terminated],
                            },
                        })),
                    ],
                },
                template: {
                    metadata: {
                        labels: { ...labels, ...podIdentity?.labels },
                        annotations: podIdentity?.annotations,
                    },
                    spec: podSpec,
                },
            },
        },
        // Whether it runs is the launcher's to say, from then on.
        { parent, ignoreChanges: waits ? ["spec.suspend"] : [] },
    );
}

/** `ke-1-build-<tag>-<hash>`: a DNS label, at most 52 characters so that the pods' names keep it whole. */
function jobNameOf(buildTag: string, spec: string): string {
    const hash = createHash("sha256").update(spec).digest("hex").slice(0, 8);
    const tag = buildTag
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .slice(0, 31)
        .replace(/-+$/, "");
    return `ke-1-build-${tag}-${hash}`;
}
