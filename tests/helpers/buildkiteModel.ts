import type { StoredChunk } from "./buildkiteChunks";

export type JobState =
    "scheduled" | "assigned" | "accepted" | "running" | "canceling" | "timing_out" | "finished" | "canceled";

export interface FakeJob {
    readonly id: string;
    readonly token: string;
    readonly env: Readonly<Record<string, string>>;
    /** What an agent's tags must have for it (`agents:` of a step). */
    readonly agents: Readonly<Record<string, string>>;
    readonly chunksMaxSizeBytes: number;
    readonly logMaxSizeBytes: number;
    state: JobState;
    agent?: FakeAgent;
    /** What the agent said when it finished it. */
    exit?: Record<string, any>;
    readonly chunks: Map<number, StoredChunk>;
    readonly annotations: Record<string, any>[];
    readonly artifacts: Record<string, any>[];
    readonly metaData: Map<string, string>;
}

export interface FakeAgent {
    readonly id: string;
    readonly name: string;
    readonly token: string;
    readonly tags: ReadonlyMap<string, string>;
    readonly registration: Record<string, any>;
    state: "registered" | "connected" | "disconnected" | "lost";
    heartbeats: number;
    pings: number;
    lastSeen: number;
    job?: FakeJob;
    /** What it is to do, beside jobs. */
    action?: "pause" | "disconnect";
}

export interface BuildkiteOptions {
    readonly registrationToken: string;
    /** An address of this machine, and what proves it to clients: paths of PEM files. Loopback, without TLS, by default. */
    readonly tls?: { readonly host: string; readonly certificate: string; readonly key: string };
    /** Seconds, as the server tells agents. */
    readonly pingInterval?: number;
    readonly heartbeatInterval?: number;
    /** Milliseconds without a word after which an agent is lost, and its job with it. */
    readonly lostAfter?: number;
}

/** A request that is answered with a status, and a message. */
export class Refused extends Error {
    public constructor(
        public readonly status: number,
        message: string,
    ) {
        super(message);
    }
}
