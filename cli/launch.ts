import { getCompileCacheDir } from "node:module";

import { judgeBuilds } from "../components/judge";
import { readSourceSettings } from "../config";
import { isService } from "../config/service";
import { UserError } from "../contract/errors";
import { buildsImagesOnPlatform } from "../config/imageBuilder";
import { planMirrors } from "../config/mirror";
import { Reader } from "../config/reader";
import { handOver, judged } from "../source/handedPlans";
import { checkedOut, planBuilds } from "../source/plan";
import { platformIsUp, platformUp } from "../platform";
import { ensureImageBuilder } from "../platform/imageBuilder";
import { readDescriptor } from "../platform/descriptor";
import { stackSettings } from "./settings";

/** Variables that an operation needs. */
export interface OperationEnvironment {
    /** For the program and its providers. */
    readonly shared: NodeJS.ProcessEnv;
    /** For the program alone. */
    readonly program: NodeJS.ProcessEnv;
}

/** What an operation of the engine is about to be done with. */
export interface Operation {
    readonly kind: "up" | "preview" | "refresh" | "destroy";
    readonly stack: string;
    readonly projectDirectory: string;
    readonly configFile?: string;
}

/**
 * Makes ready what the program needs: the embedded platform where the stack uses it, and the sources. What the user can
 * mend is found here, before the engine starts, so that it is one line and exit code 2.
 */
export async function beforeOperation(operation: Operation): Promise<OperationEnvironment> {
    const stack = stackSettings(operation.projectDirectory, operation.stack, operation.configFile);
    if (!stack.isBuildProject) {
        return { shared: {}, program: {} };
    }
    if (stack.config.get("target") === "azure") {
        throw new UserError(
            `the target azure needs the Pulumi CLI, as the embedded engine has no provider for it: ` +
                `\`pulumi ${operation.kind} --stack ${operation.stack}\` (docs/azure.md)`,
        );
    }
    const declares = operation.kind === "up" || operation.kind === "preview";
    const builds = declares && !isService(stack.config);
    // First, so that nobody waits minutes for a platform to be told that the tag does not exist.
    const sources = builds ? readSourceSettings(stack.config) : undefined;
    const plans = sources ? planBuilds(sources, stack.projectDirectory) : [];
    if (stack.needsPlatform && !(await platformIsUp())) {
        await platformUp();
    }
    if (declares && buildsImagesOnPlatform(new Reader(stack.config))) {
        await ensureImageBuilder();
    }
    let judgement: ReturnType<typeof judged> | undefined;
    if (builds) {
        const settings = stack.read();
        planMirrors(settings, checkedOut(plans));
        // Loaded only where there is one: the reader of definitions takes a moment.
        const pipeline = settings.pipeline === "" ? undefined : await import("../pipeline/plan");
        if (!settings.imageOnly) {
            const { steps } = pipeline?.planPipeline(settings, plans, stack.projectDirectory) ?? {};
            judgement = judged(settings, judgeBuilds(settings, plans, steps));
        }
    }
    plans.forEach((plan) => plan.notes.forEach((note) => process.stderr.write(`${plan.buildTag}: ${note}\n`)));
    const platform = stack.needsPlatform ? readDescriptor() : undefined;
    return {
        shared: {
            // The program's start is mostly the compilation of the SDK.
            NODE_COMPILE_CACHE: getCompileCacheDir() ?? "",
            ...(platform && !process.env["DOCKER_HOST"] ? { DOCKER_HOST: platform.dockerHost } : {}),
        },
        program: sources
            ? handOver({ settings: sources, projectDirectory: stack.projectDirectory, plans, judged: judgement })
            : {},
    };
}
