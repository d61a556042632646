import type { SourceIdentity } from "./manifest";
import type { Outcome } from "./outcome";

/**
 * What is posted to a webhook: a CloudEvent in structured mode (https://github.com/cloudevents/spec, version 1.0).
 * `contract/schemas/notification.schema.json` is its schema, `docs/monitoring.md` its description.
 */
export interface Notification {
    readonly specversion: "1.0";
    /** A UUID; the same for every try at handing over this notification. */
    readonly id: string;
    /** `/ke1/<namespace>/<job>`. */
    readonly source: string;
    readonly type: NotificationType;
    /** The BUILD_TAG. */
    readonly subject: string;
    /** When it happened: RFC 3339, UTC, milliseconds. */
    readonly time: string;
    readonly datacontenttype: "application/json";
    readonly data: NotificationData;
}

export const notificationTypes = [
    "dev.ke1.build.started.v1",
    "dev.ke1.build.succeeded.v1",
    "dev.ke1.build.failed.v1",
    "dev.ke1.build.cancelled.v1",
] as const;

export type NotificationType = (typeof notificationTypes)[number];

/** What `started` tells: all up to `startedAt`; every other type has `outcome` and `endedAt` too. */
export interface NotificationData {
    readonly buildTag: string;
    /** Which step of a pipeline; absent for a build that is none. */
    readonly step?: string;
    readonly stack?: string;
    readonly job: { readonly namespace: string; readonly name: string };
    readonly source: SourceIdentity;
    readonly command: readonly string[];
    readonly startedAt: string;
    readonly endedAt?: string;
    readonly outcome?: Outcome;
    /** One line for a person. */
    readonly message?: string;
    readonly exitCode?: number;
    readonly attempt?: number;
    readonly durations?: { readonly buildSeconds: number; readonly exportSeconds: number };
    readonly artifacts?: number;
    readonly logUrl?: string;
    readonly manifestUrl?: string;
}

/** Which type tells of an outcome. That somebody cancelled a build is no failure of it. */
export function notificationType(outcome: Outcome): NotificationType {
    switch (outcome) {
        case "Succeeded":
        case "AlreadyBuilt":
            return "dev.ke1.build.succeeded.v1";
        case "Cancelled":
            return "dev.ke1.build.cancelled.v1";
        default:
            return "dev.ke1.build.failed.v1";
    }
}
