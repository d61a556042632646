import * as pulumi from "@pulumi/pulumi";

import type { PipelinePlan, PipelineResult, PlannedStep } from "../contract/pipeline";
import type { PipelineDefinition, StepDefinition } from "../pipeline/definition";
import type { StepPlan } from "../pipeline/plan";
import type { AwaitArgs } from "./awaitCommand";
import { awaitCommand } from "./awaitCommand";
import { declareJob } from "./buildJob";
import type { StepsArgs } from "./pipelineStep";
import { stepArgs } from "./pipelineStep";

/** What all steps have in common, and how they are awaited. */
export interface PipelineArgs extends StepsArgs, AwaitArgs {
    readonly definition: PipelineDefinition;
    /** The steps that may run, by name. */
    readonly steps: ReadonlyMap<string, StepPlan>;
}

/**
 * A pipeline for one BUILD_TAG: for each step a Job, as a build has it, all made at once and suspended, and one command that
 * lets them go stage by stage. Its result is that of all.
 */
export class Pipeline extends pulumi.ComponentResource {
    public readonly result: pulumi.Output<PipelineResult>;

    public constructor(name: string, args: PipelineArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:Pipeline", name, {}, opts);

        const uids: pulumi.Output<string>[] = [];
        const plan: pulumi.Unwrap<pulumi.Input<PipelinePlan>> | object = {
            stages: args.definition.stages.map(({ steps, name: stage, timeoutSeconds, cancelSiblings }) => ({
                name: stage,
                timeoutSeconds,
                cancelSiblings,
                steps: steps.map((step) => this.declareStep(name, args, step, uids)),
            })),
        };
        const stdout = awaitCommand(
            `${name}-await`,
            "bin/ke1 await-pipeline",
            args,
            {
                KE1_NAMESPACE: args.namespace,
                KE1_PIPELINE: pulumi.jsonStringify(plan),
                // Not read: Jobs that were made anew are awaited anew.
                KE1_JOB_UIDS: pulumi.all(uids).apply((all) => all.join(" ")),
            },
            this,
        );
        this.result = stdout.apply((text) => JSON.parse(text) as PipelineResult);

        this.registerOutputs({ result: this.result });
    }

    private declareStep(name: string, args: PipelineArgs, step: StepDefinition, uids: pulumi.Output<string>[]) {
        const plan = args.steps.get(step.name);
        const jobs = (plan?.memorySteps ?? []).map((memoryLimit, index) => {
            const jobName = `${name}-${step.name}-job`;
            const jobArgs = plan && stepArgs(args, plan);
            if (!jobArgs) {
                throw new Error(`${step.name} has no plan`);
            }
            return declareJob(index === 0 ? jobName : `${jobName}-${memoryLimit}`, jobArgs, memoryLimit, true, this);
        });
        uids.push(...jobs.map((job) => job.metadata.uid));
        return {
            name: step.name,
            jobs: jobs.map((job) => job.metadata.name),
            memory: plan?.memorySteps ?? [],
            command: step.command,
            recipe: plan?.recipe ?? "",
            inputs: step.inputs,
            needs: step.needs,
            when: step.when,
            excluded: step.excluded,
            continueOnFailure: step.continueOnFailure,
            timeoutSeconds: step.timeoutSeconds,
        } satisfies { readonly [Key in keyof PlannedStep]: unknown };
    }
}
