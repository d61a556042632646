import type { ServiceEvent, ServiceEventData, ShuttleStatus } from "../../contract/serviceEvent";
import { oneLine } from "../../launcher/notify/build";
import type { BuildEvent, BuildRecord, BuildState } from "../build";

/** In bytes; what a build says of its end is no essay. */
const longestMessage = 4096;

/** The state that a build is in from an event on; undefined for an event that changes none. */
export function stateAfter({ type, data }: BuildEvent): BuildState | undefined {
    switch (type) {
        case "queued":
            return "queued";
        case "started":
            return "running";
        case "ended":
            return data["state"] as BuildState;
        default:
            return undefined;
    }
}

/** Whether a build came by the build shuttle's API, and is told of in its words. */
export function isShuttle({ request: { labels } }: BuildRecord): boolean {
    return ["app_uuid", "build_uuid", "build_number"].every((label) => labels[label] !== undefined);
}

/** What is told of a build whose state is now this one. An older state has no end. */
export function dataOf(record: BuildRecord, state: BuildState): ServiceEventData {
    const { id, request, createdAt, startedAt, endedAt, buildTag, outcome, message } = record;
    const ended = state !== "queued" && state !== "running";
    return {
        id,
        state,
        kind: request.kind,
        createdAt,
        startedAt: state === "queued" ? undefined : startedAt,
        endedAt: ended ? endedAt : undefined,
        buildTag: state === "queued" ? undefined : buildTag,
        outcome: ended ? outcome : undefined,
        message: ended && message !== undefined ? oneLine(message, longestMessage) : undefined,
        labels: request.labels,
    };
}

/** The CloudEvent of a change of state; its id is of the event, so that it is the same whoever asks. */
export function serviceEvent(record: BuildRecord, state: BuildState, at: string, id: string): ServiceEvent {
    return {
        specversion: "1.0",
        id,
        source: `/v1/builds/${record.id}`,
        type: `dev.ke1.service.build.${state}.v1`,
        subject: record.id,
        time: at,
        datacontenttype: "application/json",
        data: dataOf(record, state),
    };
}

/** What the build shuttle would tell; undefined for a state that it does not tell of. */
export function shuttleStatus(record: BuildRecord, state: BuildState): ShuttleStatus | undefined {
    const told = {
        queued: "pending",
        running: undefined,
        succeeded: "succeeded",
        failed: "failed",
        cancelled: "failed",
    };
    const status = told[state] as ShuttleStatus["status"] | undefined;
    return status && { id: buildNumber(record), status, building: false, type: "buildshuttle" };
}

/** As a number where it is one: labels are text, and the shuttle gives back what it was given. */
export function buildNumber({ request: { labels } }: BuildRecord): number | string {
    const text = labels["build_number"] ?? "";
    return /^(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : text;
}
