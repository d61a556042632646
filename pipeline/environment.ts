import { UserError } from "../contract/errors";

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
}

/** Finds an environment by its name; throws UserError, one line, where there is none. */
export type FindEnvironment = (name: string) => StepEnvironment;

/** For a stack that configures none. */
export const noEnvironments: FindEnvironment = (name) => {
    throw new UserError(`there is no build environment ${name}: the stack's configuration has none`);
};
