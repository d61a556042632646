import * as path from "node:path";

import { amountOf, memorySteps } from "../config/memory";
import type { DependencySettings } from "../config/dependencies";
import { checkNeeds } from "../config/dependencies";
import type { Environments, ResolvedEnvironment } from "../config/environments";
import { UserError } from "../contract/errors";
import type { PipelineDefinition, StepDefinition } from "./definition";
import { PipelineError } from "./definition";
import type { FindEnvironment } from "./environment";
import { environmentsOf } from "./environment";
import { readPipelineFile } from "./read";
import { recipeOf } from "./recipe";

/** What a step has where it does not say otherwise: the stack's configuration. */
export interface StepDefaults {
    readonly deadlineSeconds: number;
    readonly cpuRequest: string;
    readonly memoryRequest: string;
    readonly memoryLimit: string;
    readonly memoryRetryLimit: string;
    readonly diskLimit: string;
    /** Absent where a definition is looked at without a stack. */
    readonly dependencies?: DependencySettings["dependencies"];
}

/** A step with all that its Jobs are made of. */
export interface StepPlan {
    readonly definition: StepDefinition;
    readonly env: Readonly<Record<string, string>>;
    /** By digest; absent for that of the build's source. */
    readonly image?: string;
    readonly recipe: string;
    readonly deadlineSeconds: number;
    readonly cpuRequest: string;
    readonly memoryRequest: string;
    /** Never empty. */
    readonly memorySteps: readonly string[];
    readonly diskLimit: string;
    /** Absent for that of the stack's builds. */
    readonly environment?: ResolvedEnvironment;
}

/**
 * The launcher is told of the steps by a variable of its environment, for which Linux has 128 KiB
 * (https://man7.org/linux/man-pages/man2/execve.2.html); the Jobs' names come in addition.
 */
const largestDefinition = 96 * 1024;

/** What of the stack's configuration a pipeline is made with. */
export interface PipelineSettings extends StepDefaults {
    /** Relative to the project. */
    readonly pipeline: string;
    readonly pipelineVariables: Readonly<Record<string, string>>;
    readonly environments: Environments;
}

/** What a pipeline is run for. */
export interface PipelineBuild {
    readonly buildTag: string;
    readonly source: { readonly commit?: string };
}

/**
 * Reads the pipeline of a stack.
 *
 * @throws UserError where it cannot be run.
 */
export function planPipeline(
    settings: PipelineSettings,
    builds: readonly PipelineBuild[],
    projectDirectory: string,
): { readonly definition: PipelineDefinition; readonly steps: ReadonlyMap<string, StepPlan> } {
    const [build, ...others] = builds;
    if (!build || others.length > 0) {
        throw new UserError("a pipeline is run for one BUILD_TAG; set buildTag instead of buildTags");
    }
    const file = path.resolve(projectDirectory, settings.pipeline);
    const definition = readPipelineFile(
        file,
        {
            builtIn: { BUILD_TAG: build.buildTag, SOURCE_COMMIT: build.source.commit ?? "" },
            given: settings.pipelineVariables,
        },
        path.relative(process.cwd(), file),
    );
    const size = Buffer.byteLength(JSON.stringify(definition.stages));
    if (size > largestDefinition) {
        throw new UserError(
            `${definition.file} has ${size} bytes of stages; at most ${largestDefinition} may be: put long scripts into the source`,
        );
    }
    return { definition, steps: planSteps(definition, settings, environmentsOf(settings.environments)) };
}

/**
 * The steps of a pipeline, by name, with what the stack's configuration adds. Those that are excluded are not there.
 *
 * @throws PipelineError with all that is wrong.
 */
export function planSteps(
    definition: PipelineDefinition,
    defaults: StepDefaults,
    environment: FindEnvironment,
): ReadonlyMap<string, StepPlan> {
    const problems: string[] = [];
    const plans = definition.stages
        .flatMap(({ steps }) => steps)
        .filter(({ excluded }) => excluded === undefined)
        .flatMap((step) => {
            try {
                return [[step.name, planStep(step, defaults, environment)] as const];
            } catch (error) {
                if (!(error instanceof UserError)) {
                    throw error;
                }
                problems.push(`${definition.file}: step ${step.name}: ${error.message}`);
                return [];
            }
        });
    if (problems.length > 0) {
        throw new PipelineError(definition.file, problems);
    }
    return new Map(plans);
}

function planStep(step: StepDefinition, defaults: StepDefaults, environment: FindEnvironment): StepPlan {
    if (defaults.dependencies) {
        checkNeeds("needs", step.needs, defaults.dependencies);
    }
    const found = step.environment === undefined ? {} : environment(step.environment);
    const own = Object.entries(step.resources).filter(([, value]) => value !== undefined);
    const resources: StepDefinition["resources"] = { ...found.resources, ...Object.fromEntries(own) };
    const memoryLimit = resources.memoryLimit ?? defaults.memoryLimit;
    const memoryRequest = resources.memory ?? leastOf(defaults.memoryRequest, memoryLimit);
    if (amountOf(memoryRequest) > amountOf(memoryLimit)) {
        throw new UserError(`memory (${memoryRequest}) must not be more than memoryLimit (${memoryLimit})`);
    }
    const isMore = defaults.memoryRetryLimit !== "" && amountOf(defaults.memoryRetryLimit) > amountOf(memoryLimit);
    const env = { ...found.env, ...step.env };
    const image = step.image ?? found.image;
    return {
        definition: step,
        env,
        image,
        recipe: recipeOf({ env, image, artifacts: step.artifacts }),
        deadlineSeconds: Math.min(step.timeoutSeconds ?? defaults.deadlineSeconds, defaults.deadlineSeconds),
        cpuRequest: resources.cpu ?? defaults.cpuRequest,
        memoryRequest,
        memorySteps: memorySteps(memoryLimit, isMore ? defaults.memoryRetryLimit : ""),
        diskLimit: resources.disk ?? defaults.diskLimit,
        environment: found.whole,
    };
}

function leastOf(a: string, b: string): string {
    return amountOf(a) <= amountOf(b) ? a : b;
}
