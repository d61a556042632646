import { messageOf } from "../../contract/errors";
import { layout } from "../../contract/layout";
import type { StepInput } from "../../contract/manifest";
import type {
    PipelinePlan,
    PipelineResult,
    PlannedStage,
    PlannedStep,
    StageResult,
    StepResult,
} from "../../contract/pipeline";
import { isPassed } from "../../contract/pipeline";
import type { AwaitListener } from "../awaitedBuild";
import type { Cluster } from "../cluster";
import type { BuildStore } from "../store";
import type { StepRequest } from "./stepRun";
import { StepRun } from "./stepRun";

/** Milliseconds that a build has to end once it is told to: the pod's grace period, and a little. */
const endPatience = 40_000;
/** The same when a person waits: the engine gives its commands ten seconds. */
const interruptPatience = 7_000;

/** Where a pipeline's progress goes. */
export interface PipelineListener {
    readonly say: (text: string) => void;
    readonly step: (stage: string, step: string) => AwaitListener;
    readonly started: (step: PlannedStep) => void;
    readonly ended: (stage: string, result: StepResult) => void;
}

/**
 * Runs a pipeline whose Jobs are there, suspended: lets them go stage by stage, and awaits all of a stage before the next.
 * What runs is ended when the signal aborts. The result is stored as `pipeline.json`.
 */
export class PipelineRun {
    private readonly results: StageResult[] = [];
    /** What later steps may have as inputs. */
    private readonly built = new Map<string, StepInput>();
    private running: StepRun[] = [];
    private interrupted = false;

    public constructor(
        private readonly cluster: Cluster,
        private readonly store: BuildStore,
        private readonly request: StepRequest,
        private readonly plan: PipelinePlan,
        private readonly listener: PipelineListener,
    ) {}

    public async run(signal: AbortSignal): Promise<PipelineResult> {
        const started = new Date();
        const interrupt = () => {
            this.interrupted = true;
            void this.endAll(this.running, "Cancelled", "interrupted", interruptPatience);
        };
        signal.addEventListener("abort", interrupt, { once: true });
        this.interrupted = signal.aborted;
        try {
            for (const stage of this.plan.stages) {
                this.results.push(await this.runStage(stage));
            }
        } finally {
            signal.removeEventListener("abort", interrupt);
        }
        const result = this.resultSince(started);
        try {
            await this.store.putDocument(layout.pipeline(this.request.buildTag), result);
        } catch (error) {
            // A launcher that may only read the store tells the result all the same.
            this.listener.say(`pipeline.json was not written: ${messageOf(error)}`);
        }
        return result;
    }

    private async runStage(stage: PlannedStage): Promise<StageResult> {
        const started = Date.now();
        const failedBefore = this.failedSteps();
        const results = new Map<string, StepResult>();
        const runs: { readonly run: StepRun; readonly inputs: readonly StepInput[] }[] = [];
        for (const step of stage.steps) {
            const reason = this.whyNot(step, failedBefore);
            if (reason !== undefined) {
                results.set(step.name, {
                    name: step.name,
                    outcome: "Skipped",
                    success: true,
                    seconds: 0,
                    message: reason,
                });
                continue;
            }
            const { cluster, store, request } = this;
            const run = new StepRun(cluster, store, request, step, this.listener.step(stage.name, step.name));
            runs.push({ run, inputs: step.inputs.flatMap((input) => this.built.get(input) ?? []) });
        }
        if (runs.length === 0) {
            this.listener.say(`${stage.name}: skipped`);
        }
        this.running = runs.map(({ run }) => run);
        const timer = stage.timeoutSeconds === undefined ? undefined : this.endAfter(stage.timeoutSeconds);
        await Promise.all(
            runs.map(async ({ run, inputs }) => {
                this.listener.started(run.step);
                const result = tolerating(run.step, await run.run(inputs));
                results.set(run.step.name, result);
                this.running = this.running.filter((other) => other !== run);
                this.listener.ended(stage.name, result);
                if (run.built) {
                    this.built.set(run.step.name, run.built);
                }
                if (stage.cancelSiblings && !result.success && !result.tolerated) {
                    await this.endAll(this.running, "Cancelled", `cancelled, as ${run.step.name} failed`, endPatience);
                }
            }),
        );
        clearTimeout(timer);
        const steps = stage.steps.flatMap(({ name }) => results.get(name) ?? []);
        const success = steps.every((step) => step.success || step.tolerated === true);
        return { name: stage.name, success, seconds: runs.length === 0 ? 0 : (Date.now() - started) / 1000, steps };
    }

    /** The steps of the stages that are over which have failed, but those that may; in the pipeline's order. */
    private failedSteps(): readonly string[] {
        const steps = this.results.flatMap((stage) => stage.steps);
        return steps.filter(({ success, tolerated }) => !success && tolerated !== true).map(({ name }) => name);
    }

    /** Why a step does not run; undefined if it does. */
    private whyNot(step: PlannedStep, failedBefore: readonly string[]): string | undefined {
        if (step.excluded !== undefined) {
            return `onlyIf: ${step.excluded}`;
        }
        if (this.interrupted) {
            return "interrupted";
        }
        if (step.when === "on-success" && failedBefore.length > 0) {
            return `${failedBefore.join(", ")} failed`;
        }
        if (step.when === "on-failure" && failedBefore.length === 0) {
            return "nothing failed";
        }
        const missing = step.inputs.filter((input) => !this.built.has(input));
        return missing.length > 0 ? `its input ${missing.join(", ")} is not there` : undefined;
    }

    private endAfter(seconds: number): NodeJS.Timeout {
        const message = `the stage's timeout of ${seconds} s has passed`;
        return setTimeout(
            () => void this.endAll(this.running, "DeadlineExceeded", message, endPatience),
            seconds * 1000,
        );
    }

    private async endAll(
        runs: readonly StepRun[],
        outcome: "Cancelled" | "DeadlineExceeded",
        message: string,
        patience: number,
    ): Promise<void> {
        await Promise.all(runs.map(async (run) => run.end(outcome, message, patience)));
    }

    private resultSince(started: Date): PipelineResult {
        const finished = new Date();
        const steps = this.results.flatMap((stage) => stage.steps.map((step) => ({ stage: stage.name, step })));
        return {
            schemaVersion: 1,
            buildTag: this.request.buildTag,
            success: !this.interrupted && this.results.every((stage) => stage.success),
            startedAt: started.toISOString(),
            finishedAt: finished.toISOString(),
            seconds: (finished.getTime() - started.getTime()) / 1000,
            stages: this.results,
            errors: steps
                .filter(({ step }) => !isPassed(step.outcome))
                .map(({ stage, step }) => `${stage}/${step.name}: ${step.outcome}: ${step.message ?? ""}`),
        };
    }
}

function tolerating(step: PlannedStep, result: StepResult): StepResult {
    return !result.success && step.continueOnFailure ? { ...result, tolerated: true } : result;
}
