import type { BatchV1Api, CoreV1Api, CoreV1Event, ObservableMiddleware } from "@kubernetes/client-node";
import { Observable } from "@kubernetes/client-node";

import { buildName } from "../../contract/layout";
import { isSuccess } from "../../contract/outcome";
import type { Receiver } from "./notifier";
import type { NotifiedBuild, NotifiedEnding } from "./build";
import { oneLine } from "./build";
import type { Answer } from "./delivery";

/** Who reports the events, so that they can be told from Kubernetes' own. */
export const eventReporter = "ke1";
/** The API server takes no longer one (pkg/apis/core/validation/events.go). */
const longestMessage = 1024;

/** An event on a build's Job. */
export interface JobEvent {
    readonly namespace: string;
    readonly job: string;
    readonly type: "Normal" | "Warning";
    /** UpperCamelCase. */
    readonly reason: string;
    readonly message: string;
    readonly time: Date;
}

/** Writes one; rejects with the API's status as `code` when it is refused. */
export type EventWriter = (event: JobEvent, signal: AbortSignal) => Promise<void>;

/** The build's Job in Kubernetes, told with events that `kubectl describe job` shows. */
export function eventReceiver(write: EventWriter): Receiver {
    const tell = (event: JobEvent) => async (signal: AbortSignal) => {
        try {
            await write(event, signal);
            return { kind: "told" } as const;
        } catch (error) {
            return refusal(error);
        }
    };
    return {
        name: "the Job's events",
        start: (build) => tell(startEvent(build)),
        end: (build, ending) => tell(endEvent(build, ending)),
        endTellsAll: false,
    };
}

function startEvent(build: NotifiedBuild): JobEvent {
    const { namespace, job, buildTag, step, command } = build;
    const message = oneLine(`build ${buildName(buildTag, step)}: \`${command.join(" ")}\``, longestMessage);
    return { namespace, job, type: "Normal", reason: "BuildStarted", message, time: build.startedAt };
}

export function endEvent(build: NotifiedBuild, ending: NotifiedEnding): JobEvent {
    const { outcome } = ending;
    const said = ending.message ?? (isSuccess(outcome) ? `${ending.artifacts ?? 0} artifact(s)` : outcome);
    return {
        namespace: build.namespace,
        job: ending.job ?? build.job,
        // That somebody cancelled it is nothing to be warned of.
        type: isSuccess(outcome) || outcome === "Cancelled" ? "Normal" : "Warning",
        reason: outcome.startsWith("Build") ? outcome : `Build${outcome}`,
        message: oneLine(`build ${buildName(build.buildTag, build.step)}: ${said}`, longestMessage),
        time: ending.endedAt,
    };
}

/** Whoever may launch builds need not be allowed to write events: they go without. So does a Job that is gone. */
function refusal(error: unknown): Answer {
    const code = (error as { code?: unknown }).code;
    if (code === 401 || code === 403 || code === 404) {
        return { kind: "unwanted", reason: `the API server answered ${code}` };
    }
    if (typeof code !== "number") {
        throw error;
    }
    return { kind: "failed", reason: `the API server answered ${code}`, retry: code === 429 || code >= 500 };
}

/** Writes events to a cluster. Needs get on Jobs and create on events. */
export function eventWriter(batch: BatchV1Api, core: CoreV1Api): EventWriter {
    return async ({ namespace, job: name, type, reason, message, time }, signal) => {
        const { metadata } = await batch.readNamespacedJob({ namespace, name }, abortable(signal));
        const body: CoreV1Event = {
            metadata: { generateName: `${name}.`, namespace },
            // `kubectl describe` looks for the uid too: an earlier Job of this name has events of its own.
            involvedObject: { apiVersion: "batch/v1", kind: "Job", namespace, name, uid: metadata?.uid },
            type,
            reason,
            message,
            source: { component: eventReporter },
            reportingComponent: eventReporter,
            firstTimestamp: time,
            lastTimestamp: time,
            count: 1,
        };
        await core.createNamespacedEvent({ namespace, body, fieldManager: eventReporter }, abortable(signal));
    };
}

function abortable(signal: AbortSignal) {
    const middleware: ObservableMiddleware = {
        pre: (request) => {
            request.setSignal(signal);
            return new Observable(Promise.resolve(request));
        },
        post: (response) => new Observable(Promise.resolve(response)),
    };
    return { middleware: [middleware], middlewareMergeStrategy: "append" as const };
}
