import * as fs from "node:fs";
import * as path from "node:path";

import type { Exit, Job, Registration } from "./protocol";

/** A part of a job's log that was given a number, and may have been sent. */
export interface Sent {
    readonly sequence: number;
    readonly offset: number;
    readonly size: number;
}

/** How far a job's log has gone to the server. */
export interface LogProgress {
    /** The last number given. */
    readonly sequence: number;
    /** Bytes that have a number. */
    readonly offset: number;
    /** Those not yet acknowledged: they are sent again, the very same, by whoever goes on. */
    readonly pending: readonly Sent[];
    readonly failed: number;
}

/** A job that was accepted and has not finished. */
export interface JobState {
    readonly id: string;
    /** Secret. */
    readonly token?: string;
    readonly url: string;
    /** What people call the step. */
    readonly label: string;
    readonly chunkBytes: number;
    readonly chunkSeconds: number;
    readonly logBytes: number;
    readonly started: boolean;
    /** The build that runs it. */
    readonly build?: string;
    /** Which of the build's logs is being sent, and where in the job's log it begins: what came before is the spawner's own. */
    readonly following?: { readonly name: string; readonly base: number };
    readonly cancelled: boolean;
    /** Once it is known how it ended; all that is left is to tell. The text is the log's last, and begins at this byte. */
    readonly ending?: { readonly exit: Exit; readonly text: string; readonly at: number };
    readonly log: LogProgress;
}

/** The state of a job that was just accepted. */
export function acceptedJob(job: Job): JobState {
    return {
        id: job.id,
        token: job.token,
        url: `${job.env["BUILDKITE_BUILD_URL"] ?? ""}#${job.id}`,
        label: job.env["BUILDKITE_LABEL"] ?? "",
        chunkBytes: job.chunks_max_size_bytes,
        chunkSeconds: Math.max(1, job.chunks_interval_seconds ?? 1),
        logBytes: job.log_max_size_bytes && job.log_max_size_bytes > 0 ? job.log_max_size_bytes : 1024 ** 3,
        started: false,
        cancelled: false,
        log: { sequence: 0, offset: 0, pending: [], failed: 0 },
    };
}

/** What one agent must know to go on after a kill. */
export interface AgentState {
    readonly registration: Registration;
    readonly job?: JobState;
}

/** An agent's state in a file that nobody else can read: it has its access token, and its job's. */
export class StateFile {
    private state: AgentState | undefined;

    public constructor(private readonly file: string) {
        try {
            this.state = JSON.parse(fs.readFileSync(file, "utf8")) as AgentState;
        } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
                throw error;
            }
        }
    }

    public get(): AgentState | undefined {
        return this.state;
    }

    public job(): JobState {
        if (!this.state?.job) {
            throw new Error("the agent has no job");
        }
        return this.state.job;
    }

    public registered(registration: Registration): void {
        this.write({ registration });
    }

    public setJob(job: JobState | undefined): void {
        if (!this.state) {
            throw new Error("the agent is not registered");
        }
        this.write({ registration: this.state.registration, ...(job ? { job } : {}) });
    }

    public changeJob(change: Partial<JobState>): void {
        this.setJob({ ...this.job(), ...change });
    }

    public remove(): void {
        this.state = undefined;
        fs.rmSync(this.file, { force: true });
    }

    /** Whole or not at all: whoever reads it after a kill finds what was there before, or what is there now. */
    private write(state: AgentState): void {
        this.state = state;
        fs.mkdirSync(path.dirname(this.file), { recursive: true, mode: 0o700 });
        const next = `${this.file}.new`;
        fs.writeFileSync(next, JSON.stringify(state), { mode: 0o600 });
        fs.renameSync(next, this.file);
    }
}
