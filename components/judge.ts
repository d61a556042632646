import { judge } from "../admission/judge";
import type { Settings } from "../config";
import { UserError } from "../contract/errors";
import type { StepPlan } from "../pipeline/plan";
import type { BuildPlan } from "../source/plan";
import { podSpecOf } from "./buildPod";
import { jobOf } from "./jobSpec";
import { stepArgs } from "./pipelineStep";

/** In place of what is known only when it is there. */
const somebodysDigest = `placeholder@sha256:${"0".repeat(64)}`;

/**
 * Judges the Jobs of a stack by the rules that the cluster's policy has (components/admission.ts), before anything is
 * declared: images that are yet to be built count as what they will be, by digest.
 *
 * @param steps those of the pipeline, where the stack has one
 * @returns one line for each rule that only the cluster can judge
 * @throws UserError for the first build that would be turned away, with all that is wrong with it
 */
export function judgeBuilds(
    settings: Settings,
    plans: readonly BuildPlan[],
    steps?: ReadonlyMap<string, StepPlan>,
): readonly string[] {
    const notes = plans.flatMap((plan) =>
        sketchesOf(settings, plan, steps).flatMap(({ name, job }) => {
            const { problems, notes } = judge(job, settings.admission, settings.admission.rules);
            if (problems.length > 0) {
                throw new UserError(`${name} would be turned away: ${problems.join("; ")}`);
            }
            return notes;
        }),
    );
    return [...new Set(notes)];
}

function sketchesOf(settings: Settings, plan: BuildPlan, steps?: ReadonlyMap<string, StepPlan>) {
    return steps === undefined
        ? [{ name: plan.buildTag, job: sketchOf(settings, plan) }]
        : [...steps].map(([name, step]) => ({
              name: `${plan.buildTag}/${name}`,
              job: sketchOf(settings, plan, step),
          }));
}

/** The Job that the stack will declare. */
export function sketchOf(settings: Settings, plan: BuildPlan, step?: StepPlan): object {
    const common = {
        ...settings,
        ...plan,
        image: settings.image || somebodysDigest,
        exporterImage: settings.exporterImage || somebodysDigest,
        serviceAccount: "ke1-build",
        credentialSecret: settings.azure ? undefined : "ke1-blob-credential",
        imagePullSecrets: settings.imagePullSecret === "" ? [] : [settings.imagePullSecret],
        wrapperConfigMap: "ke1-wrapper",
        containerUrl: `${settings.blobEndpoint}/${settings.blobContainer}`,
        resolvesNames: true,
        checkout: plan.checkout && {
            ...plan.checkout,
            ...{ image: somebodysDigest, secret: settings.mirrorSecret, secretOrigin: "" },
            ...{ claim: "ke1-mirror", programs: "ke1-mirror" },
        },
        name: "ke-1-build",
        waits: false,
    };
    const args = step ? stepArgs(common, step) : common;
    return jobOf(args, podSpecOf(args, step?.memorySteps.at(-1) ?? settings.memoryLimit));
}
