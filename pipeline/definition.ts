import { UserError } from "../contract/errors";
import type { When } from "../contract/pipeline";

/** A pipeline, checked, with its variables put in. */
export interface PipelineDefinition {
    /** As the person named it. */
    readonly file: string;
    /** All that there are, the built-in ones too. */
    readonly variables: Readonly<Record<string, string>>;
    /** One after the other. */
    readonly stages: readonly StageDefinition[];
}

export interface StageDefinition {
    readonly name: string;
    readonly timeoutSeconds?: number;
    /** Whether the failure of one step ends the others of the stage. */
    readonly cancelSiblings: boolean;
    /** In parallel. */
    readonly steps: readonly StepDefinition[];
}

export interface StepDefinition {
    /** There is no other of this name in the pipeline. */
    readonly name: string;
    /** Never empty. */
    readonly command: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    /** By digest; absent for that of the build's source. */
    readonly image?: string;
    /** The name of a build environment of the stack's configuration. */
    readonly environment?: string;
    /** Kubernetes quantities; what is absent is as the stack's configuration has it. */
    readonly resources: StepResources;
    /** Inside the working directory; empty for a step without artifacts. */
    readonly artifacts: string;
    /** Steps of earlier stages, which have artifacts. */
    readonly inputs: readonly string[];
    /** Dependencies of the stack's configuration: its own, and its stage's. */
    readonly needs: readonly string[];
    readonly when: When;
    /** Why the step is not to run at all, by its `onlyIf`. */
    readonly excluded?: string;
    readonly continueOnFailure: boolean;
    readonly timeoutSeconds?: number;
}

export interface StepResources {
    readonly cpu?: string;
    readonly memory?: string;
    readonly memoryLimit?: string;
    readonly disk?: string;
}

/** All that is wrong with a definition, one line each: `file:line:column: what is wrong, what to do`. */
export class PipelineError extends UserError {
    public constructor(
        file: string,
        public readonly problems: readonly string[],
    ) {
        const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
        super(problems.length === 1 ? (problems[0] ?? "") : [`${file} has ${count}`, ...problems].join("\n"));
    }
}
