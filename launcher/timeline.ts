import type { V1Job, V1Pod } from "@kubernetes/client-node";

import type { AttemptFinished, Manifest } from "../contract/manifest";
import type { BuildTimeline, PhaseMark } from "../contract/timings";
import { buildPhases } from "../contract/timings";
import type { Instant, TimedEvent } from "./eventTimes";
import { createdAt } from "./podStatus";
import { pullsOf } from "./pulls";

/** All that is known of a build that has ended. */
export interface TimelineEvidence {
    readonly buildTag: string;
    readonly step?: string;
    readonly outcome: string;
    readonly attempt?: number;
    readonly job: V1Job;
    /** Of the last attempt. */
    readonly pod?: V1Pod;
    /** Of the Job and of that pod. */
    readonly events: readonly TimedEvent[];
    /** What the exporter wrote at the end. */
    readonly finished?: Pick<AttemptFinished | Manifest, "finishedAt" | "durations">;
    /** When the launcher knew the end, by its own clock. */
    readonly seenAt: number;
}

type Found = Omit<PhaseMark, "phase"> | undefined;

/** Whole seconds, as Kubernetes writes most of its times, can make this much of nothing, in milliseconds. */
const coarseness = 1000;

/**
 * Puts together when a build went through which phase. Clocks of machines differ: a phase that ends before the one that
 * it follows is not exact.
 */
export function timelineOf(evidence: TimelineEvidence): BuildTimeline {
    const { buildTag, step, outcome, attempt, job } = evidence;
    const created = timeOf(job.metadata?.creationTimestamp) ?? 0;
    const found: Readonly<Record<(typeof buildPhases)[number], Found>> = {
        ...waited(evidence),
        scheduled: scheduled(evidence),
        initialized: initialized(evidence),
        pulled: pulled(evidence),
        ...exported(evidence),
        seen: { at: evidence.seenAt, exact: true, from: "the launcher" },
    };
    let last = created;
    const marks = buildPhases.flatMap((phase): PhaseMark[] => {
        const mark = found[phase];
        if (!mark) {
            return [];
        }
        const isEarly = mark.at < last;
        last = Math.max(last, mark.at);
        return [{ phase, ...mark, exact: mark.exact && !isEarly }];
    });
    return { buildTag, step, outcome, attempt, created, marks };
}

/** Until the attempt's pod was made: only where there was something to wait for. */
function waited({ job, pod, attempt, events }: TimelineEvidence): Record<"queued" | "retried", Found> {
    const none = { queued: undefined, retried: undefined };
    if (!pod) {
        return none;
    }
    const name = pod.metadata?.name ?? "";
    const event = events.find(({ reason, message }) => reason === "SuccessfulCreate" && message.endsWith(` ${name}`));
    const made: Instant = event ?? { at: createdAt(pod), exact: false };
    const mark = { at: made.at, exact: made.exact, from: event ? "the Job controller's event" : "Kubernetes" };
    if ((attempt ?? 1) > 1) {
        return { ...none, retried: { ...mark, note: `this is attempt ${attempt ?? 1}` } };
    }
    return hasWaited(job, made.at) ? { ...none, queued: mark } : none;
}

/** Whether a Job, by what can be known in whole seconds, had its pod not at once. */
export function hasWaited(job: V1Job, podMade: number): boolean {
    const created = timeOf(job.metadata?.creationTimestamp) ?? podMade;
    const wasSuspended = job.status?.conditions?.some(({ type }) => type === "Suspended") ?? false;
    return wasSuspended || podMade - created > 2 * coarseness;
}

function scheduled({ pod, events }: TimelineEvidence): Found {
    const event = events.find(({ reason, object }) => reason === "Scheduled" && object === pod?.metadata?.name);
    if (event) {
        return { at: event.at, exact: event.exact, from: "the scheduler's event" };
    }
    const condition = pod?.status?.conditions?.find(({ type, status }) => type === "PodScheduled" && status === "True");
    const at = timeOf(condition?.lastTransitionTime);
    return at === undefined ? undefined : { at, exact: false, from: "the pod's conditions" };
}

/** The end of the init containers that are none of the sidecars. */
function initialized({ pod, events }: TimelineEvidence): Found {
    const inits = pod?.spec?.initContainers?.filter(({ restartPolicy }) => restartPolicy !== "Always") ?? [];
    if (inits.length === 0) {
        return undefined;
    }
    const [first] = ofContainers(events, pod)
        .filter(({ fieldPath }) => fieldPath.startsWith("spec.containers{"))
        .sort((a, b) => a.at - b.at);
    if (first) {
        return { at: first.at, exact: first.exact, from: "kubelet's events" };
    }
    const condition = pod?.status?.conditions?.find(({ type, status }) => type === "Initialized" && status === "True");
    const at = timeOf(condition?.lastTransitionTime);
    return at === undefined ? undefined : { at, exact: false, from: "the pod's conditions" };
}

function pulled({ pod, events }: TimelineEvidence): Found {
    const pulls = ofContainers(events, pod).filter(({ reason }) => reason === "Pulled");
    const [last] = pulls.sort((a, b) => b.at - a.at);
    const expected = pod?.spec?.containers.length ?? 0;
    const ofMain = pulls.filter(({ fieldPath }) => fieldPath.startsWith("spec.containers{"));
    if (last && ofMain.length >= expected) {
        return { at: last.at, exact: last.exact, from: "kubelet's events", note: pullsOf(pulls) };
    }
    // That a container runs says that its image was there.
    const starts = (pod?.status?.containerStatuses ?? []).map(({ state }) =>
        timeOf(state?.running?.startedAt ?? state?.terminated?.startedAt),
    );
    const known = starts.filter((start) => start !== undefined);
    return known.length === 0 || known.length < expected
        ? undefined
        : { at: Math.max(...known), exact: false, from: "the containers' starts", note: pullsOf(pulls) };
}

/** By the exporter's clock; a build that the exporter did not see has none of them. */
function exported({ finished }: TimelineEvidence): Record<"started" | "built" | "exported", Found> {
    const { buildSeconds, exportSeconds } = finished?.durations ?? { buildSeconds: 0, exportSeconds: 0 };
    const end = timeOf(finished?.finishedAt);
    if (end === undefined || (buildSeconds === 0 && exportSeconds === 0)) {
        return { started: undefined, built: undefined, exported: undefined };
    }
    const at = (milliseconds: number) => ({ at: milliseconds, exact: true, from: "the exporter" });
    const built = end - exportSeconds * 1000;
    return { started: at(built - buildSeconds * 1000), built: at(built), exported: at(end) };
}

function ofContainers(events: readonly TimedEvent[], pod: V1Pod | undefined): TimedEvent[] {
    return events.filter(({ object, fieldPath }) => object === pod?.metadata?.name && fieldPath !== "");
}

function timeOf(text: Date | string | undefined): number | undefined {
    const time = text === undefined ? NaN : new Date(text).getTime();
    return Number.isNaN(time) ? undefined : time;
}
