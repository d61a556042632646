import type { SourceSettings } from "../config";
import type { SourceIdentity } from "../contract/manifest";
import { UserError } from "../contract/errors";
import { buildTagPattern } from "../contract/layout";
import { prepareBuildContext } from "./buildContext";
import type { Checkout } from "./checkout";
import { planCheckout } from "./checkout";
import type { KnownSources, ResolvedSource } from "./resolve";
import { resolveSource } from "./resolve";

/** What one build builds, and how it is started. */
export interface BuildPlan {
    readonly buildTag: string;
    readonly source: SourceIdentity;
    /** Seconds since 1970. */
    readonly sourceDateEpoch: number;
    /** The image's context, relative to the project. Empty where the image is given by digest. */
    readonly context: string;
    /** The working copy that is made in the pod; absent where the source is in the image. */
    readonly checkout?: Checkout;
    /** What is run. */
    readonly command: readonly string[];
    /** Whether the source's own target `build-wrapper`, the image's entrypoint, runs it. */
    readonly usesBuildWrapper: boolean;
    /** What a person should know about the source. */
    readonly notes: readonly string[];
}

/**
 * Finds the sources of all builds of a stack, and puts their trees where the image builds find them.
 *
 * @throws UserError, one line, for the first source that cannot be built.
 */
export function planBuilds(settings: SourceSettings, projectDirectory: string): readonly BuildPlan[] {
    const known: KnownSources = new Map();
    const plans = settings.buildTags.map((buildTag) => planBuild(settings, buildTag, projectDirectory, known));
    const labels = plans.map((plan) => plan.buildTag);
    const doubled = labels.find((label, index) => labels.indexOf(label) !== index);
    if (doubled !== undefined) {
        throw new UserError(`two of buildTags are the same commit, ${doubled}; name it once`);
    }
    return plans;
}

/** The addresses of the repositories whose working copies are made in pods. */
export function checkedOut(plans: readonly BuildPlan[]): readonly string[] {
    return [...new Set(plans.flatMap(({ checkout }) => (checkout ? [checkout.remote] : [])))];
}

/** The same source under another BUILD_TAG. */
function suffixed(resolved: ResolvedSource, suffix: string): ResolvedSource {
    const buildTag = resolved.buildTag + suffix;
    if (!buildTagPattern.test(buildTag)) {
        throw new UserError(`${buildTag} is too long for a BUILD_TAG (63); give a shorter buildTagSuffix`);
    }
    return { ...resolved, buildTag };
}

function planBuild(
    settings: SourceSettings,
    buildTag: string,
    projectDirectory: string,
    known: KnownSources,
): BuildPlan {
    const resolved = suffixed(
        resolveSource({ ...settings, buildTag, projectDirectory, known }),
        settings.buildTagSuffix ?? "",
    );
    const { tree, commit, sourceDateEpoch, notes } = resolved;
    const common = { buildTag: resolved.buildTag, source: { commit, tree }, sourceDateEpoch, notes };
    if (settings.sourceMode === "mirror") {
        const checkout = planCheckout(resolved, settings, projectDirectory);
        return {
            ...common,
            ...checkout,
            command: settings.command.length > 0 ? settings.command : ["make", "build"],
            usesBuildWrapper: false,
        };
    }
    if (settings.image !== "") {
        // The source is in the image already; the commit only labels it.
        return {
            ...common,
            context: "",
            command: settings.command.length > 0 ? settings.command : ["make", "build"],
            usesBuildWrapper: false,
        };
    }
    // A pipeline says itself what is run: its source needs no target of any name.
    const command = settings.pipeline === "" ? settings.command : [settings.pipeline];
    const context = prepareBuildContext(resolved, projectDirectory, settings.dockerfile, command, settings);
    return {
        ...common,
        context: context.path,
        command: settings.command.length > 0 ? settings.command : ["make", "build"],
        usesBuildWrapper: settings.command.length === 0 && context.hasBuildWrapper,
    };
}
