import type { V1ContainerStatus, V1Job, V1Pod } from "@kubernetes/client-node";

import type { ExporterResult } from "../contract/manifest";
import type { Outcome } from "../contract/outcome";
import { failedInit, initOutOfMemory, runningInit, unstartableCompanion } from "./companions";
import { waitsForRoom, withoutPreemption } from "./room";
import { sourceFailure, sourceStatus } from "./sourceFailure";

/** The containers of a build's pod. */
export const buildContainer = "build";
export const exporterContainer = "exporter";

/** Where a build's pod is on its way. */
export type Phase =
    | { readonly name: "unscheduled"; readonly detail: string }
    /** Nodes are full that would take it: as soon as others end, it is its turn. */
    | { readonly name: "waiting"; readonly detail: string }
    | { readonly name: "preparing" }
    | { readonly name: "initializing"; readonly container: string }
    | { readonly name: "pullFailing"; readonly container: string; readonly detail: string }
    /** The working copy is being made, which may take as long as it takes. */
    | { readonly name: "fetching" }
    | { readonly name: "running" }
    | { readonly name: "ended" };

/** Reasons of a waiting container that mean that its image is not coming (kubelet, pkg/kubelet/images/types.go). */
const pullFailures = new Set([
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
]);
/** Reasons of a waiting container that mean that it cannot be made as it is declared. */
const createFailures = new Set(["CreateContainerConfigError", "CreateContainerError", "RunContainerError"]);

export function phaseOf(pod: V1Pod): Phase {
    if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") {
        return { name: "ended" };
    }
    const scheduled = pod.status?.conditions?.find((condition) => condition.type === "PodScheduled");
    if (!pod.spec?.nodeName) {
        const detail = scheduled?.message ?? "";
        return { name: waitsForRoom(detail) ? "waiting" : "unscheduled", detail };
    }
    for (const status of [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]) {
        const waiting = status.state?.waiting;
        if (waiting?.reason && (pullFailures.has(waiting.reason) || createFailures.has(waiting.reason))) {
            return {
                name: "pullFailing",
                container: status.name,
                detail: `${waiting.reason}: ${waiting.message ?? ""}`,
            };
        }
    }
    if (sourceStatus(pod)?.state?.running) {
        return { name: "fetching" };
    }
    const init = runningInit(pod);
    if (init !== undefined) {
        return { name: "initializing", container: init };
    }
    const running = statusOf(pod, buildContainer)?.state;
    return running?.running || running?.terminated ? { name: "running" } : { name: "preparing" };
}

/** A phase in words for a person; empty where there is nothing to say. */
export function describePhase(phase: Phase | undefined, pod: V1Pod | undefined): string {
    switch (phase?.name) {
        case undefined:
            return "";
        case "unscheduled":
            return phase.detail === "" ? "queued" : `waiting for a node: ${phase.detail}`;
        case "waiting":
            return `waiting for room on a node: ${withoutPreemption(phase.detail)}`;
        case "preparing":
            return `starting on ${pod?.spec?.nodeName ?? "a node"}`;
        case "initializing":
            return `running the init container \`${phase.container}\``;
        case "pullFailing":
            return `cannot start \`${phase.container}\`: ${phase.detail}`;
        case "fetching":
            return "getting the source";
        case "running":
            return "building";
        case "ended":
            return pod && disruption(pod) ? `disrupted: ${disruption(pod) ?? ""}` : "";
    }
}

/** Milliseconds since 1970; 0 for a pod that the API server has not seen. */
export function createdAt(pod: V1Pod): number {
    return new Date(pod.metadata?.creationTimestamp ?? 0).getTime();
}

export function statusOf(pod: V1Pod, container: string): V1ContainerStatus | undefined {
    return pod.status?.containerStatuses?.find((status) => status.name === container);
}

/** What the exporter left as its termination message, once its container has ended. */
export function exporterResult(pod: V1Pod): ExporterResult | undefined {
    const message = statusOf(pod, exporterContainer)?.state?.terminated?.message;
    try {
        return message ? (JSON.parse(message) as ExporterResult) : undefined;
    } catch {
        return undefined;
    }
}

/**
 * The exit code of an exporter that did not end by its own decision (docs/exporter.md has those that it ends with), while
 * the build beside it runs on.
 */
export function exporterKilled(pod: V1Pod): number | undefined {
    const code = statusOf(pod, exporterContainer)?.state?.terminated?.exitCode;
    return code !== undefined && code > 3 ? code : undefined;
}

/** The container in which the kernel's OOM killer struck; a sidecar is none of these. */
export function outOfMemory(pod: V1Pod): string | undefined {
    const init = initOutOfMemory(pod);
    if (init !== undefined) {
        return init;
    }
    return pod.status?.containerStatuses?.find((status) => status.state?.terminated?.reason === "OOMKilled")?.name;
}

/** Which container could not be started at all, and why: for example an image without a shell. */
export function startFailure(pod: V1Pod): string | undefined {
    const companion = unstartableCompanion(pod);
    if (companion) {
        return `the container \`${companion.name}\` cannot be started: ${companion.message ?? ""}`;
    }
    const ended = statusOf(pod, buildContainer)?.state?.terminated;
    return ended && ["StartError", "ContainerCannotRun"].includes(ended.reason ?? "")
        ? `the build's container cannot be started: ${ended.message ?? ended.reason ?? ""}`
        : undefined;
}

/** Why Kubernetes took the pod away, when it was not the build's doing: evicted, preempted, node lost. */
export function disruption(pod: V1Pod): string | undefined {
    const target = pod.status?.conditions?.find(
        (condition) => condition.type === "DisruptionTarget" && condition.status === "True",
    );
    if (target) {
        return `${target.reason ?? "disrupted"}: ${target.message ?? ""}`;
    }
    return pod.status?.reason === "Evicted" ? `Evicted: ${pod.status.message ?? ""}` : undefined;
}

/**
 * What kubelet said when a pod was evicted for what itself had used, not for want of the node's
 * (pkg/kubelet/eviction/eviction_manager.go).
 */
export function diskExceeded(pod: V1Pod): string | undefined {
    const message = pod.status?.reason === "Evicted" ? (pod.status.message ?? "") : "";
    return /exceeds the (total )?limit|exceeded its local ephemeral storage limit/i.test(message) ? message : undefined;
}

/** How a Job ended, and undefined while it has not. `FailureTarget` comes first, while its pods are still ending. */
export function jobEnd(
    job: V1Job,
): { readonly complete: boolean; readonly reason: string; readonly message: string } | undefined {
    for (const condition of job.status?.conditions ?? []) {
        if (condition.status === "True" && ["Complete", "SuccessCriteriaMet"].includes(condition.type)) {
            return { complete: true, reason: condition.reason ?? "", message: condition.message ?? "" };
        }
        if (condition.status === "True" && ["Failed", "FailureTarget"].includes(condition.type)) {
            return { complete: false, reason: condition.reason ?? "", message: condition.message ?? "" };
        }
    }
    return undefined;
}

/**
 * The outcome of a Job that failed, from what its last pod shows. What a build's own exit code says is in `finished.json`
 * and comes first; this is for builds that could not say.
 */
export function outcomeOfFailedJob(
    job: V1Job,
    pod: V1Pod | undefined,
): { readonly outcome: Outcome; readonly message: string; readonly exitCode?: number } {
    const end = jobEnd(job);
    if (end?.reason === "DeadlineExceeded") {
        return {
            outcome: "DeadlineExceeded",
            message: `the build took longer than its deadline of ${job.spec?.activeDeadlineSeconds ?? 0} s`,
        };
    }
    if (!pod) {
        return { outcome: "Disrupted", message: `the build's pod is gone: ${end?.message ?? ""}` };
    }
    const noSource = disruption(pod) === undefined ? sourceFailure(pod) : undefined;
    if (noSource !== undefined) {
        return { outcome: "BuildFailed", message: noSource };
    }
    const exceeded = outOfMemory(pod);
    if (exceeded) {
        return { outcome: "OutOfMemory", message: `the container \`${exceeded}\` used more memory than its limit` };
    }
    const why = disruption(pod);
    if (why) {
        return { outcome: "Disrupted", message: why };
    }
    const init = failedInit(pod);
    if (init) {
        const { name, exitCode } = init;
        return {
            outcome: "BuildFailed",
            message: `the init container \`${name}\` ended with exit code ${exitCode}`,
            exitCode,
        };
    }
    const killed = exporterKilled(pod);
    if (killed !== undefined) {
        return { outcome: "ExportFailed", message: `the exporter was killed (exit code ${killed})` };
    }
    const exitCode = statusOf(pod, buildContainer)?.state?.terminated?.exitCode;
    if (exitCode !== undefined && exitCode !== 0) {
        return { outcome: "BuildFailed", message: `the build ended with exit code ${exitCode}`, exitCode };
    }
    return { outcome: "ExportFailed", message: end?.message ?? "the exporter failed" };
}
