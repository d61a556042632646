import type { StepPlan } from "../pipeline/plan";
import type { JobArgs } from "./jobSpec";

/** What the Jobs of all steps have in common. */
export type StepsArgs = Omit<JobArgs, "command" | "usesBuildWrapper" | "artifactDirectory" | "step">;

/** What a step's Jobs are made of. */
export function stepArgs<Args extends StepsArgs>(args: Args, plan: StepPlan): Args & JobArgs {
    const { name, command: words, artifacts, inputs } = plan.definition;
    return {
        ...args,
        image: plan.image ?? args.image,
        command: words,
        usesBuildWrapper: false,
        artifactDirectory: artifacts,
        step: { name, recipe: plan.recipe, env: plan.env, inputs },
        deadlineSeconds: plan.deadlineSeconds,
        cpuRequest: plan.cpuRequest,
        memoryRequest: plan.memoryRequest,
        diskLimit: plan.diskLimit,
        needs: plan.definition.needs,
        environment: plan.environment ?? args.environment,
        runAsUser: plan.environment?.security.runAsUser ?? args.runAsUser,
    };
}
