import type { Outcome } from "../../contract/outcome";
import { isSuccess } from "../../contract/outcome";
import type { Exit } from "./protocol";

/** How a build ended, as far as an exit status depends on it. */
export interface Ended {
    readonly outcome?: Outcome;
    /** Of the build's command. */
    readonly exitCode?: number;
    /** Whether the build server asked for the end. */
    readonly cancelled: boolean;
}

/** The job was not run: its settings, or the agent's, do not allow it. */
export const refused: Exit = { status: -1, reason: "agent_refused" };
/** The build was not launched: its source or its settings are wrong. */
export const notStarted: Exit = { status: -1, reason: "process_run_error" };
/** The job was lost on the way to the cluster, or in it: nothing that the build did. */
export const stackError: Exit = { status: -1, reason: "stack_error" };
/** The server asked for the end. The agent reports the same for a command that SIGTERM has ended. */
export const cancelled: Exit = { status: -1, signal: "SIGTERM", reason: "cancel" };

/**
 * What a job's exit status is, by its build's outcome (docs/spawn.md has the table). A pipeline's `retry` rules choose by it:
 * what the build itself did has a status of its own, and what the cluster did is -1 with `stack_error`, the reason that
 * Buildkite has for it (agent/run_job.go).
 */
export function exitOf({ outcome, exitCode, cancelled: asked }: Ended): Exit {
    if (outcome !== undefined && isSuccess(outcome)) {
        return { status: 0 };
    }
    if (asked) {
        return cancelled;
    }
    switch (outcome) {
        case "BuildFailed":
            // A build that left no artifacts, or whose sidecar failed, has ended with 0.
            return { status: exitCode !== undefined && exitCode !== 0 ? exitCode : 1 };
        case "OutOfMemory":
            return { status: 137, signal: "SIGKILL" };
        case "DeadlineExceeded":
            // As timeout(1) has it.
            return { status: 124, signal: "SIGTERM" };
        case "Cancelled":
            // Not by the server: somebody ended the build here.
            return { status: -1, signal: "SIGTERM", reason: "agent_stop" };
        default:
            return stackError;
    }
}
