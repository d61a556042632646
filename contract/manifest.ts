import type { Outcome } from "./outcome";

/** What was built: a commit, and the git tree (or the content hash) of the directory that was built. */
export interface SourceIdentity {
    /** The full commit hash; absent for a tree that is not under git. */
    readonly commit?: string;
    /** The git tree id of the source directory, or `sha256:<hex>` of its content when it is not under git. */
    readonly tree: string;
}

/** A regular file that the build left in its artifact directory. */
export interface Artifact {
    /** Path relative to the artifact directory, with `/`; the blob is `<BUILD_TAG>/bin/<name>`. */
    readonly name: string;
    /** Bytes. */
    readonly size: number;
    /** Lower-case hex. */
    readonly sha256: string;
    readonly mediaType: string;
    /** Whether its owner may execute it; restored on download. */
    readonly executable: boolean;
}

/** A symbolic link in the artifact directory; recreated on download, never followed. */
export interface ArtifactLink {
    readonly name: string;
    /** As the build made it: relative, and inside the artifact directory. */
    readonly target: string;
}

/** An earlier step whose artifacts a step had: its name, and the SHA-256 of its `manifest.json`. */
export interface StepInput {
    readonly step: string;
    readonly sha256: string;
}

export interface LogRecord {
    /** Path below `<BUILD_TAG>/`, for example `logs/20261121T085101.123Z.log`. */
    readonly name: string;
    readonly size: number;
    readonly sha256: string;
}

/** An init container or a sidecar of a build (docs/environments.md). */
export interface Companion {
    readonly name: string;
    readonly role: "init" | "sidecar";
    /** The log's path below `<BUILD_TAG>/`. */
    readonly log: string;
}

/** How an init container or a sidecar ended. */
export interface CompanionEnd {
    readonly name: string;
    readonly role: "init" | "sidecar";
    /** Absent where it was killed, or is not known to have ended. */
    readonly exitCode?: number;
    /** One line for a person, where it did not go as it should. */
    readonly problem?: string;
    readonly log?: LogRecord;
}

/** What sidecars said of a build, by the sidecar's name: JSON objects, at most 64 KiB all together. */
export type Summaries = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** A log besides that of the build's output: a file that the build, or a container beside it, wrote. */
export interface LogFileRecord {
    /** Path below the directory of the attempt's logs: `layout.logFile` has the blob's. */
    readonly name: string;
    readonly size: number;
    readonly sha256: string;
    /** Whether the file was larger than what is kept. */
    readonly truncated?: true;
}

/** How many lines of the log a receiver beside the store took: Loki, Elasticsearch. */
export interface LogDelivery {
    readonly receiver: string;
    readonly lines: number;
    readonly dropped: number;
    /** Why the last of those that were dropped were. */
    readonly problem?: string;
}

/** `<BUILD_TAG>/manifest.json`: written last, once, with `If-None-Match: *`. Its presence means built. */
export interface Manifest {
    readonly schemaVersion: 1;
    readonly buildTag: string;
    /** Which step of a pipeline; absent for a build that is none. */
    readonly step?: string;
    /** Of a step: the digest of what else than tree, command and inputs decides its result (pipeline/recipe.ts). */
    readonly recipe?: string;
    readonly inputs?: readonly StepInput[];
    readonly source: SourceIdentity;
    readonly command: readonly string[];
    /** The image by digest, `<repository>@sha256:<hex>`. */
    readonly image: string;
    readonly job: { readonly namespace: string; readonly name: string };
    readonly attempt: number;
    readonly startedAt: string;
    readonly finishedAt: string;
    readonly durations: { readonly buildSeconds: number; readonly exportSeconds: number };
    readonly log: LogRecord;
    readonly logFiles?: readonly LogFileRecord[];
    readonly artifacts: readonly Artifact[];
    readonly links?: readonly ArtifactLink[];
    /** Files that could not be taken along, with the reason: sockets, devices, links that leave the directory. */
    readonly skipped?: readonly { readonly name: string; readonly reason: string }[];
    readonly companions?: readonly CompanionEnd[];
    readonly summaries?: Summaries;
}

/** `<BUILD_TAG>/attempts/<n>/started.json`: the exporter of attempt n is about to let the build run. */
export interface AttemptStarted {
    readonly schemaVersion: 1;
    readonly buildTag: string;
    readonly step?: string;
    readonly attempt: number;
    readonly startedAt: string;
    readonly job: { readonly namespace: string; readonly name: string };
    readonly pod: { readonly name: string; readonly uid: string; readonly node: string };
    readonly image: string;
    readonly source: SourceIdentity;
    readonly command: readonly string[];
    /** The log's path below `<BUILD_TAG>/`. */
    readonly log: string;
    readonly companions?: readonly Companion[];
}

/** `<BUILD_TAG>/attempts/<n>/finished.json`: how attempt n ended, also when it failed. */
export interface AttemptFinished {
    readonly schemaVersion: 1;
    readonly buildTag: string;
    readonly step?: string;
    readonly attempt: number;
    readonly finishedAt: string;
    readonly outcome: Outcome;
    /** Of the build command; absent when it was killed before it could say. */
    readonly exitCode?: number;
    /** One line for a person. */
    readonly message?: string;
    /** Of an init container, where that is what failed. */
    readonly log?: LogRecord;
    readonly logFiles?: readonly LogFileRecord[];
    readonly deliveries?: readonly LogDelivery[];
    /** What became of the build's metrics, in a few words. */
    readonly metrics?: string;
    readonly artifacts: number;
    readonly durations: { readonly buildSeconds: number; readonly exportSeconds: number };
    readonly companions?: readonly CompanionEnd[];
    readonly summaries?: Summaries;
}

/**
 * `<BUILD_TAG>/attempts/<n>/podinfo.json`: how an attempt that failed looked from outside of its pod. The launcher writes
 * it; its outcome is the one that `up` said, and comes before that of `finished.json`.
 */
export interface PodInfo {
    readonly schemaVersion: 1;
    readonly buildTag: string;
    readonly step?: string;
    readonly attempt: number;
    readonly outcome: Outcome;
    /** One line for a person. */
    readonly message: string;
    /** Kubernetes' warnings, oldest first. */
    readonly events: readonly string[];
    /** The pod's name, and its `status` as the API server had it. */
    readonly pod?: string;
    readonly status?: unknown;
}

/**
 * The exporter's last words: its container's termination message, and the last line of its log. A hint that saves the
 * launcher a wait for Kubernetes; the truth is in the blobs.
 */
export interface ExporterResult {
    readonly outcome: Outcome;
    readonly attempt?: number;
    readonly exitCode?: number;
    readonly message?: string;
    /** The log's path below `<BUILD_TAG>/`. */
    readonly log?: string;
}
