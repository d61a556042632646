import { judge } from "../admission/judge";
import type { Settings } from "../config";
import { UserError } from "../contract/errors";
import type { BuildPlan } from "../source/plan";
import { podSpecOf } from "./buildPod";
import { jobOf } from "./jobSpec";

/** In place of what is known only when it is there. */
const somebodysDigest = `placeholder@sha256:${"0".repeat(64)}`;

/**
 * Judges the Jobs of a stack by the rules that the cluster's policy has (components/admission.ts), before anything is
 * declared: images that are yet to be built count as what they will be, by digest.
 *
 * @returns one line for each rule that only the cluster can judge
 * @throws UserError for the first build that would be turned away, with all that is wrong with it
 */
export function judgeBuilds(settings: Settings, plans: readonly BuildPlan[]): readonly string[] {
    const notes = plans.flatMap((plan) => {
        const { problems, notes } = judge(sketchOf(settings, plan), settings.admission, settings.admission.rules);
        if (problems.length > 0) {
            throw new UserError(`${plan.buildTag} would be turned away: ${problems.join("; ")}`);
        }
        return notes;
    });
    return [...new Set(notes)];
}

/** The Job that the stack will declare. */
export function sketchOf(settings: Settings, plan: BuildPlan): object {
    const args = {
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
        name: "ke-1-build",
        waits: false,
    };
    return jobOf(args, podSpecOf(args, settings.memoryLimit));
}
