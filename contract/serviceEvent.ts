/**
 * What the service posts to the callback of a build at each change of its state: a CloudEvent in structured mode
 * (https://github.com/cloudevents/spec, version 1.0). `contract/schemas/serviceEvent.schema.json` is its schema,
 * `docs/service-events.md` its description.
 */
export interface ServiceEvent {
    readonly specversion: "1.0";
    /** The same for every try at handing over this event. */
    readonly id: string;
    /** `/v1/builds/<id>`, at the service. */
    readonly source: string;
    readonly type: `dev.ke1.service.build.${ServiceBuildState}.v1`;
    /** The build's id. */
    readonly subject: string;
    /** When it happened: RFC 3339, UTC, milliseconds. */
    readonly time: string;
    readonly datacontenttype: "application/json";
    readonly data: ServiceEventData;
}

export const serviceBuildStates = ["queued", "running", "succeeded", "failed", "cancelled"] as const;

export type ServiceBuildState = (typeof serviceBuildStates)[number];

export interface ServiceEventData {
    readonly id: string;
    readonly state: ServiceBuildState;
    readonly kind: string;
    readonly createdAt: string;
    readonly startedAt?: string;
    readonly endedAt?: string;
    readonly buildTag?: string;
    /** Of a build that ended: one of the outcomes of docs/builds.md. */
    readonly outcome?: string;
    /** One line for a person. */
    readonly message?: string;
    /** As the request had them. */
    readonly labels: Readonly<Record<string, string>>;
}

/**
 * What is posted instead for a build that came by the build shuttle's API
 * (https://github.com/akkeris/buildshuttle, `sendStatus` in common.js).
 */
export interface ShuttleStatus {
    /** The request's `build_number`. */
    readonly id: number | string;
    readonly status: "pending" | "succeeded" | "failed";
    readonly building: false;
    readonly type: "buildshuttle";
}
