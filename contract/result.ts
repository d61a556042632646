import type { Artifact, Summaries } from "./manifest";
import type { Outcome } from "./outcome";
import type { BuildDurations } from "./timings";

/** An artifact and where to get it. */
export interface ArtifactLocation extends Artifact {
    readonly url: string;
}

/** What a build hands back: the stack's outputs for one BUILD_TAG. */
export interface BuildResult {
    readonly outcome: Outcome;
    readonly binUrl: string;
    readonly logsUrl: string;
    readonly manifestUrl: string;
    /** At most `maxListedArtifacts`; the manifest has them all. */
    readonly artifacts: readonly ArtifactLocation[];
    readonly artifactCount: number;
    /** The attempt that made it. */
    readonly attempt: number;
    readonly durations: BuildDurations;
    /** Empty where no sidecar said anything. */
    readonly summaries: Summaries;
}

/** The engine keeps the result in its state and reads it at each run: a build of ten thousand files must not swell it. */
export const maxListedArtifacts = 500;
