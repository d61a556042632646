import { Command } from "commander";

import { UserError } from "../contract/errors";
import { dockerPackage } from "../engine/providers/docker";
import type { CallContext } from "../engine/providers/provider";
import { asString } from "../engine/values";
import { plannedBuilds } from "../source/handedPlans";
import { planImage } from "../source/image";
import { beforeOperation } from "./launch";
import { withStackOptions } from "./projectDirectory";
import { stackSettings } from "./settings";

/** `ke1 image`: what `up` does first, and no more. */
export function imageCommand(): Command {
    return withStackOptions(new Command("image"))
        .description("build and push the commit's image, and print it by digest")
        .action(buildImages);
}

async function buildImages(options: { readonly stack: string; readonly cwd: string }): Promise<void> {
    const stack = stackSettings(options.cwd, options.stack);
    const { shared, program } = await beforeOperation({
        kind: "up",
        stack: options.stack,
        projectDirectory: stack.projectDirectory,
    });
    const settings = stack.read();
    if (settings.image !== "") {
        throw new UserError("the stack's configuration gives the image by digest; there is nothing to build");
    }
    if (settings.imageBuilder) {
        throw new UserError("imageBuilder is cluster, where `ke1 up` builds the image; `ke1 image` builds with Docker");
    }
    const provider = dockerPackage.open({}, process.env);
    for (const plan of plannedBuilds(settings, stack.projectDirectory, program)) {
        const image = planImage(settings, plan);
        const context: CallContext = {
            urn: "",
            type: "docker:index/image:Image",
            name: plan.buildTag,
            preview: false,
            signal: new AbortController().signal,
            directory: stack.projectDirectory,
            environment: { ...process.env, ...shared },
            log: (severity, message) => severity !== "debug" && process.stderr.write(`${message}\n`),
        };
        const { inputs } = await provider.check(context, undefined, {
            imageName: image.imageName,
            build: {
                context: image.context,
                dockerfile: `${image.context}/${image.dockerfile}`,
                args: image.buildArgs,
                platform: "linux/amd64",
            },
        });
        const { outputs } = await provider.create(context, inputs);
        process.stdout.write(`${asString(outputs["repoDigest"]) ?? ""}\n`);
    }
}
