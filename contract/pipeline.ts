import type { Outcome } from "./outcome";
import type { BuildDurations } from "./timings";

/** When a step runs: whatever came before, only if no step has failed, or only if one has. */
export const whens = ["on-success", "on-failure", "always"] as const;

export type When = (typeof whens)[number];

/** What the program tells the launcher of a pipeline whose Jobs it has declared. */
export interface PipelinePlan {
    /** One after the other. */
    readonly stages: readonly PlannedStage[];
}

export interface PlannedStage {
    readonly name: string;
    readonly timeoutSeconds?: number;
    readonly cancelSiblings: boolean;
    /** In parallel. */
    readonly steps: readonly PlannedStep[];
}

export interface PlannedStep {
    readonly name: string;
    /** The step's Jobs, as a build has them: see AwaitRequest. Empty for a step that is excluded. */
    readonly jobs: readonly string[];
    readonly memory: readonly string[];
    readonly command: readonly string[];
    /** The digest of what else decides the result (pipeline/recipe.ts). */
    readonly recipe: string;
    readonly inputs: readonly string[];
    /** Dependencies that it has while it runs. */
    readonly needs: readonly string[];
    readonly when: When;
    /** Why the step does not run at all. */
    readonly excluded?: string;
    readonly continueOnFailure: boolean;
    readonly timeoutSeconds?: number;
}

/**
 * How a step ended: as a build does, or `Skipped` where it was not its turn, or `Error` where the launcher could not find
 * out.
 */
export type StepOutcome = Outcome | "Skipped" | "Error";

export interface StepResult {
    readonly name: string;
    readonly outcome: StepOutcome;
    /** False for a failure; true for a step that was skipped. */
    readonly success: boolean;
    /** From when it was let go to when its outcome was known; 0 for a step that was skipped. */
    readonly seconds: number;
    /** One line for a person. */
    readonly message?: string;
    readonly exitCode?: number;
    /** Whether the pipeline went on in spite of its failure. */
    readonly tolerated?: boolean;
    readonly attempt?: number;
    readonly artifacts?: number;
    readonly logUrl?: string;
    readonly manifestUrl?: string;
    readonly binUrl?: string;
    /** Of a step that succeeded. */
    readonly durations?: BuildDurations;
}

export interface StageResult {
    readonly name: string;
    /** Whether no step has failed, but those that may. */
    readonly success: boolean;
    readonly seconds: number;
    readonly steps: readonly StepResult[];
}

/** `<BUILD_TAG>/pipeline.json`, and the stack's output `pipeline`. */
export interface PipelineResult {
    readonly schemaVersion: 1;
    readonly buildTag: string;
    readonly success: boolean;
    readonly startedAt: string;
    readonly finishedAt: string;
    readonly seconds: number;
    readonly stages: readonly StageResult[];
    /** One line for each step that failed, in the pipeline's order. */
    readonly errors: readonly string[];
}

/** Whether an outcome is no failure. */
export function isPassed(outcome: StepOutcome): boolean {
    return outcome === "Succeeded" || outcome === "AlreadyBuilt" || outcome === "Skipped";
}
