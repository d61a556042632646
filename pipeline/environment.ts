import type { Environments, ResolvedEnvironment } from "../config/environments";
import { checkBuildEnvironment, resolveEnvironment } from "../config/environments";

/** What a build environment of the stack's configuration gives to a step; the step's own comes before it. */
export interface StepEnvironment {
    readonly image?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly resources?: {
        readonly cpu?: string;
        readonly memory?: string;
        readonly memoryLimit?: string;
        readonly disk?: string;
    };
    /** All of it: volumes, security and working directory are as for a build. */
    readonly whole?: ResolvedEnvironment;
}

/** Finds an environment by its name; throws UserError, one line, where there is none. */
export type FindEnvironment = (name: string) => StepEnvironment;

/** Those of a stack. What an environment runs is not a step's: that has commands of its own. */
export function environmentsOf(environments: Environments): FindEnvironment {
    return (name) => {
        const whole = checkBuildEnvironment(resolveEnvironment(environments, name));
        const { cpuRequest: cpu, memoryRequest: memory, memoryLimit } = whole.resources;
        return {
            whole,
            image: whole.image === "" ? undefined : whole.image,
            env: whole.env,
            resources: {
                ...(cpu === undefined ? {} : { cpu }),
                ...(memory === undefined ? {} : { memory }),
                ...(memoryLimit === undefined ? {} : { memoryLimit }),
            },
        };
    };
}
