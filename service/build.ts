import type { Outcome } from "../contract/outcome";

/** `build` runs the source's build in a Job; `image` ends when the source's image is in the registry. */
export type BuildKind = "build" | "image";

export const buildStates = ["queued", "running", "succeeded", "failed", "cancelled"] as const;

/** Where a build of the queue is. The last three are final. */
export type BuildState = (typeof buildStates)[number];

/** What somebody asks the queue for. */
export interface BuildRequest {
    readonly kind: BuildKind;
    /** A URI that `SourceProvider` understands, or a directory of this machine. Without a credential in it. */
    readonly source: string;
    /** A commit, tag or branch; empty is what the source has by itself. */
    readonly ref?: string;
    /** Keys of Pulumi.yaml, over those of the base stack. */
    readonly config: Readonly<Record<string, unknown>>;
    /** What the caller calls it by: `app`, `branch`, `build_uuid`, ... */
    readonly labels: Readonly<Record<string, string>>;
    /** Told of each change of the build's state. */
    readonly callback?: string;
    /** Brokers (`host:port`) that log and events are sent to. */
    readonly kafkaHosts?: readonly string[];
    /** Builds of one lane run one after another, on one stack. */
    readonly lane?: string;
    /** Instead of one of its own; for a lane that is to keep its namespace. */
    readonly namespace?: string;
    /** The stack of a build that failed stays until the lane's next build, or until it is removed. */
    readonly keepFailed?: boolean;
    /** So does that of one that did not: its pod stays for its logs. */
    readonly keep?: boolean;
    /** Of a build that succeeded: part of its success. */
    readonly release?: ReleaseRequest;
    /** From its start on; the service's own limit where it is left out. */
    readonly timeoutSeconds?: number;
}

/** A release on GitHub (service/release). The token is the service's own. */
export interface ReleaseRequest {
    /** `owner/name` */
    readonly repository: string;
    /** The BUILD_TAG where it is left out. */
    readonly tag?: string;
    /** Images to push, each `DESTINATION` or `SOURCE=DESTINATION`. */
    readonly images: readonly string[];
    /** The step of a pipeline whose artifacts are released. */
    readonly step?: string;
}

/** What is never shown: the callback's Authorization header, the registry's password, the source's credential. */
export type BuildSecrets = Readonly<Record<string, string>>;

/** What the queue knows of a build. */
export interface BuildRecord {
    readonly id: string;
    readonly state: BuildState;
    readonly request: BuildRequest;
    /** Who asked for it. */
    readonly caller: string;
    /** The Pulumi stack that it is, or was. */
    readonly stack: string;
    /** ISO 8601, as all times here. */
    readonly createdAt: string;
    readonly startedAt?: string;
    readonly endedAt?: string;
    /** Known once the source is there. */
    readonly buildTag?: string;
    readonly commit?: string;
    /** Where the build's blobs are; known with the tag. */
    readonly containerUrl?: string;
    readonly namespace?: string;
    readonly outcome?: Outcome | "NotStarted" | "NotReleased";
    /** One line: why it did not succeed. */
    readonly message?: string;
    /** Where it was released. */
    readonly releaseUrl?: string;
    /** The stack's outputs of a build that succeeded. */
    readonly outputs?: Readonly<Record<string, unknown>>;
    /** Whether its stack is still there. */
    readonly kept: boolean;
}

/** Something that happened to a build. `seq` grows over all builds, and is never given twice. */
export interface BuildEvent {
    readonly seq: number;
    readonly build: string;
    readonly at: string;
    readonly type: "queued" | "started" | "source" | "phase" | "ended" | "cancelling" | "destroyed" | "removed";
    readonly data: Readonly<Record<string, unknown>>;
}

export function isFinal(state: BuildState): boolean {
    return state === "succeeded" || state === "failed" || state === "cancelled";
}

/** Whether the stack of a build that has ended stays. */
export function isToBeKept({ keep, keepFailed }: BuildRequest, state: BuildState): boolean {
    return keep === true || (keepFailed === true && state === "failed");
}
