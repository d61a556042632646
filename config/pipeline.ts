import { UserError } from "../contract/errors";
import type { Reader } from "./reader";

/** Which pipeline is run, and with what. The environment's PIPELINE and PIPELINE_VARIABLES come before the stack's. */
export function readPipelineSettings(read: Reader, environment: NodeJS.ProcessEnv) {
    return {
        pipeline: environment["PIPELINE"] || read.text("pipeline"),
        pipelineVariables: {
            ...variables("pipelineVariables", read.text("pipelineVariables", "{}")),
            ...variables("PIPELINE_VARIABLES", environment["PIPELINE_VARIABLES"] || "{}"),
        },
    };
}

function variables(key: string, json: string): Readonly<Record<string, string>> {
    let parsed: unknown;
    try {
        parsed = JSON.parse(json);
    } catch {
        parsed = undefined;
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
        throw new UserError(`${key} must be an object of names and values; it is \`${json}\``);
    }
    return Object.fromEntries(
        Object.entries(parsed).map(([name, value]) => {
            if (!["string", "number", "boolean"].includes(typeof value)) {
                throw new UserError(`${key}: the value of ${name} must be a text`);
            }
            return [name, String(value)];
        }),
    );
}
