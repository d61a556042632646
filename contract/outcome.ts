/**
 * The one outcome that every build ends with.
 *
 * - `Succeeded`: built, and all artifacts are stored.
 * - `AlreadyBuilt`: a valid manifest for the same source tree and command was there; nothing was run.
 * - `BuildFailed`: the build command ended with a non-zero exit code.
 * - `OutOfMemory`: the kernel's OOM killer ended the build or the exporter.
 * - `Disrupted`: evicted, preempted, or the node was lost.
 * - `ImagePullFailed`, `Unschedulable`: the build never started.
 * - `DeadlineExceeded`: the Job's `activeDeadlineSeconds` passed.
 * - `Cancelled`: somebody asked for it.
 * - `ExportFailed`: the build ran, but its artifacts or its log could not be stored.
 */
export const outcomes = [
    "Succeeded",
    "AlreadyBuilt",
    "BuildFailed",
    "OutOfMemory",
    "Disrupted",
    "ImagePullFailed",
    "Unschedulable",
    "DeadlineExceeded",
    "Cancelled",
    "ExportFailed",
] as const;

export type Outcome = (typeof outcomes)[number];

/** Whether the build's artifacts are there. */
export function isSuccess(outcome: Outcome): boolean {
    return outcome === "Succeeded" || outcome === "AlreadyBuilt";
}
