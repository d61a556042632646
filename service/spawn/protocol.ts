/**
 * What an agent and Buildkite's Agent API say to one another, as the agent's own source has it
 * (https://github.com/buildkite/agent, `api/*.go`). Only what is used here; times are RFC 3339.
 */

export interface RegisterRequest {
    readonly name: string;
    readonly hostname: string;
    readonly os: string;
    readonly arch: string;
    readonly version: string;
    readonly build: string;
    /** Tags, `key=value`: what steps choose an agent by. */
    readonly meta_data: readonly string[];
    readonly pid: number;
    readonly priority?: string;
    readonly script_eval_enabled: boolean;
    readonly ignore_in_dispatches: boolean;
    readonly features: readonly string[];
}

export interface Registration {
    readonly id: string;
    readonly name: string;
    /** Secret: what this agent signs in with from now on. */
    readonly access_token: string;
    /** Where to talk to from now on; absent or empty: where it registered. */
    readonly endpoint?: string;
    /** Headers to send with each request; only those that begin with `Buildkite-` are. */
    readonly request_headers?: Readonly<Record<string, string>> | null;
    /** Seconds. */
    readonly ping_interval: number;
    readonly job_status_interval: number;
    readonly heartbeat_interval: number;
    readonly meta_data?: readonly string[] | null;
}

export interface Ping {
    /** `idle`, `pause`, `disconnect`, or nothing. */
    readonly action?: string;
    readonly message?: string;
    /** Of an assigned job, nothing but its id is known before it is accepted. */
    readonly job?: { readonly id: string } | null;
    readonly endpoint?: string;
    readonly request_headers?: Readonly<Record<string, string>> | null;
}

/** A job, as accepting it gives it. */
export interface Job {
    readonly id: string;
    readonly state?: string;
    readonly env: Readonly<Record<string, string>>;
    readonly step?: { readonly signature?: unknown } | null;
    /** Secret: good for this job alone, and until it has finished. Absent: the agent's token is used. */
    readonly token?: string;
    readonly chunks_max_size_bytes: number;
    readonly chunks_interval_seconds?: number;
    readonly log_max_size_bytes?: number;
}

/** Why a job did not end by itself (agent/run_job.go); retry rules of pipelines choose by it. */
export type SignalReason =
    "agent_refused" | "agent_stop" | "cancel" | "process_run_error" | "signature_rejected" | "stack_error";

/** How a job ended. */
export interface Exit {
    /** -1 where the command did not run, or did not end by itself. */
    readonly status: number;
    readonly signal?: string;
    readonly reason?: SignalReason;
}

/** A piece of a job's log. */
export interface Chunk {
    /** From 1, without gaps. */
    readonly sequence: number;
    /** Where in the log it begins, in bytes. */
    readonly offset: number;
    readonly data: Buffer;
}

export interface Annotation {
    /** Markdown. */
    readonly body: string;
    /** One context has one annotation: the next replaces it. */
    readonly context: string;
    readonly style: "success" | "info" | "warning" | "error";
}

export interface Artifact {
    readonly path: string;
    readonly absolute_path: string;
    readonly glob_path: string;
    readonly file_size: number;
    readonly sha1sum: string;
    readonly sha256sum: string;
    readonly url: string;
    readonly content_type?: string;
}

export interface ArtifactBatch {
    readonly id: string;
    readonly artifacts: readonly Artifact[];
    readonly upload_destination: string;
}
