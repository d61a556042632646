import { randomUUID } from "node:crypto";

import type { Settings } from "../config";
import { cacheArgument } from "./dockerfile";
import type { BuildPlan } from "./plan";

/** For a run that nobody has named. */
const ownRunId = randomUUID();

/**
 * The same for all images of one run: of two names of one image, the second is there already. A service names its builds'
 * runs: one that is taken up again, in another process, has the image that it had.
 */
function runId(): string {
    return process.env["KE1_RUN_ID"] || ownRunId;
}

/** What the image of one build is made of. */
export interface ImagePlan {
    /** `<registry>/<repository>:<BUILD_TAG>`. */
    readonly imageName: string;
    /** Relative to the project. */
    readonly context: string;
    /** Relative to the context. */
    readonly dockerfile: string;
    readonly buildArgs: Readonly<Record<string, string>>;
}

/**
 * The image that builds run in where it has no source: the one given, else what `toolchainDockerfile` makes, else the base
 * image, which is a toolchain of its own.
 */
export function planToolchain(settings: Settings, plan: BuildPlan): ImagePlan | string {
    if (plan.context === "") {
        return settings.image || settings.baseImage;
    }
    return {
        // The context is named by its content.
        imageName: `${settings.registry}/${settings.imageName}-toolchain:${plan.context.replace(/^.*-/, "")}`,
        context: plan.context,
        dockerfile: "Dockerfile",
        buildArgs: givenArguments(settings),
    };
}

export function planImage(settings: Settings, plan: BuildPlan): ImagePlan {
    return {
        imageName: `${settings.registry}/${settings.imageName}:${plan.buildTag}`,
        context: plan.context,
        dockerfile: settings.dockerfile,
        buildArgs: {
            BUILD_TAG: plan.buildTag,
            SOURCE_DATE_EPOCH: String(plan.sourceDateEpoch),
            ...givenArguments(settings),
        },
    };
}

/** What the configuration says, of a commit's image and of a toolchain's. */
function givenArguments({ baseImage, buildArgs, noCache }: Settings): Readonly<Record<string, string>> {
    return {
        ...(baseImage === "" ? {} : { BASE_IMAGE: baseImage }),
        ...buildArgs,
        ...(noCache ? { [cacheArgument]: runId() } : {}),
    };
}
