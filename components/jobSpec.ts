import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { needLabel } from "../contract/dependencies";
import { buildTagLabel, sourceContainer, sourceUnavailable, stepLabel } from "../contract/labels";
import type { BuildPodArgs } from "./buildPod";
import { workloadIdentity } from "./buildPod";
import { checkoutLabels } from "./checkout";
import { withoutEmptyValues } from "./emptyValues";
import { scrapeAnnotations } from "./exports";
import { commonLabels } from "./labels";
import { queueLabel } from "./placement";

type Container = k8s.types.input.core.v1.Container;

/** What a build's Job is made of. */
export interface JobArgs extends BuildPodArgs {
    readonly namespace: pulumi.Input<string>;
    readonly deadlineSeconds: number;
    readonly ttlSecondsAfterFinished: number;
    /** How often a build is started again when it was not to blame. */
    readonly retries: number;
}

export interface NamedJobArgs extends JobArgs {
    readonly name: pulumi.Input<string>;
    /** Whether it is made suspended. */
    readonly waits: boolean;
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
/** A commit that its remote does not have is not there the next time either. */
const noSource = {
    action: "FailJob",
    onExitCodes: { containerName: sourceContainer, operator: "In", values: [sourceUnavailable] },
};

/** By these a build's pod may reach what it needs, and no other may. */
function needLabels({ needs = [] }: JobArgs): Readonly<Record<string, string>> {
    return Object.fromEntries(needs.map((name) => [needLabel(name), "true"]));
}

/**
 * A build's Job, without anything of Pulumi's at run time: what is declared is also judged before there is an engine
 * (components/judge.ts).
 */
export function jobOf(args: NamedJobArgs, podSpec: k8s.types.input.core.v1.PodSpec): k8s.batch.v1.JobArgs {
    const labels = {
        ...commonLabels,
        "app.kubernetes.io/component": "build",
        [buildTagLabel]: args.buildTag,
        ...(args.step ? { [stepLabel]: args.step.name } : {}),
    };
    const podIdentity = args.credentialSecret === undefined ? workloadIdentity(args) : undefined;
    const annotations = { ...podIdentity?.annotations, ...scrapeAnnotations(args.exports) };
    return {
        metadata: {
            name: args.name,
            namespace: args.namespace,
            labels: { ...labels, ...queueLabel(args) },
            // The provider's own wait ends after ten minutes and does not say why; `ke1 await` does.
            annotations: { "pulumi.com/skipAwait": "true" },
        },
        spec: {
            activeDeadlineSeconds: args.deadlineSeconds,
            ttlSecondsAfterFinished: args.ttlSecondsAfterFinished,
            ...(args.waits ? { suspend: true } : {}),
            backoffLimit: args.retries,
            completions: 1,
            parallelism: 1,
            podReplacementPolicy: "Failed",
            podFailurePolicy: {
                rules: [
                    // Evicted, preempted, drained: not the build's fault, and not counted.
                    { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
                    ...(args.checkout ? [noSource] : []),
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
                        onExitCodes: { containerName, operator: "NotIn", values: [0, notTheBuildsFault, terminated] },
                    })),
                ],
            },
            template: {
                metadata: {
                    labels: {
                        ...labels,
                        ...podIdentity?.labels,
                        ...(args.checkout ? checkoutLabels : {}),
                        ...needLabels(args),
                    },
                    // None at all rather than an empty object, which the CLI's provider does not keep in the state.
                    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
                },
                spec: {
                    ...podSpec,
                    ...(podSpec.initContainers
                        ? { initContainers: (podSpec.initContainers as Container[]).map(withoutEmptyValues) }
                        : {}),
                    containers: (podSpec.containers as Container[]).map(withoutEmptyValues),
                },
            },
        },
    };
}
