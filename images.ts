import * as pulumi from "@pulumi/pulumi";

import { PushedImage } from "./components/pushedImage";
import { orRunError } from "./components/runError";
import { readSettings } from "./config";
import { readCredentials } from "./config/credentials";
import { plannedBuilds } from "./source/handedPlans";
import { planImage } from "./source/image";

/** The program of a stack with `imageOnly`: the image of each commit, and nothing in any cluster. */
const { settings, push, plans } = orRunError(() => {
    const config = new pulumi.Config();
    const read = readSettings(config, { project: pulumi.getProject(), stack: pulumi.getStack() });
    return { settings: read, push: readCredentials(config).push, plans: plannedBuilds(read, __dirname) };
});

const credential = push && { server: settings.registry.split("/", 1)[0] ?? "", ...push };

const pushed = plans.map((plan) => {
    if (settings.image !== "") {
        return { buildTag: plan.buildTag, image: pulumi.output(settings.image), tags: [] };
    }
    const { reference } = new PushedImage(plan.buildTag, {
        ...planImage(settings, plan),
        tags: settings.imageTags.length > 0 ? settings.imageTags : [plan.buildTag],
        credential,
    });
    return { buildTag: plan.buildTag, image: reference, tags: settings.imageTags };
});

/** The stack's outputs: those of the one image; with several tags at once, `builds` has each tag's. */
export = pushed.length === 1
    ? { ...pushed[0] }
    : { builds: Object.fromEntries(pushed.map((build) => [build.buildTag, build])) };
