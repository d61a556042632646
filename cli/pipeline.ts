import * as path from "node:path";

import { Command, InvalidArgumentError, Option } from "commander";

import { readPipelineSettings } from "../config/pipeline";
import { Reader } from "../config/reader";
import type { OperationOptions, StackHooks } from "./stack";
import { operate, withOperationOptions, withTimings } from "./stack";

interface VariableOptions {
    readonly var: Readonly<Record<string, string>>;
}

/** `validate`, `graph` and `up` of a pipeline. */
export function pipelineCommand(hooks: StackHooks): Command {
    const file = "<file>";
    const what = "the pipeline's definition";
    return new Command("pipeline")
        .description("several builds of one source: stages one after the other, their steps in parallel")
        .addCommand(
            withVariables(new Command("validate"))
                .description("check a definition, and say all that is wrong with it")
                .argument(file, what)
                .action(async (name: string, options: VariableOptions) =>
                    (await actions()).validate(name, options.var),
                ),
        )
        .addCommand(
            withVariables(new Command("graph"))
                .description("draw a definition")
                .argument(file, what)
                .addOption(
                    new Option("--format <format>", "what to draw").choices(["mermaid", "svg"]).default("mermaid"),
                )
                .action(async (name: string, options: VariableOptions & { readonly format: "mermaid" | "svg" }) =>
                    (await actions()).graph(name, options.var, options.format),
                ),
        )
        .addCommand(
            withVariables(withTimings(withOperationOptions(new Command("up"))))
                .description("run a pipeline: `ke1 up` of a stack, with this definition")
                .argument(file, what)
                .action(async (name: string, options: VariableOptions & OperationOptions) => {
                    // As SOURCE: the environment comes before the stack's configuration.
                    process.env["PIPELINE"] = path.resolve(name);
                    process.env["PIPELINE_VARIABLES"] = JSON.stringify({ ...givenVariables(), ...options.var });
                    process.exitCode = await operate("up", options, hooks);
                }),
        );
}

/** Those of the environment, which the command line's come before. */
function givenVariables(): Readonly<Record<string, string>> {
    return readPipelineSettings(new Reader({ get: () => undefined }), process.env).pipelineVariables;
}

function withVariables(command: Command): Command {
    return command.option("--var <NAME=VALUE>", "the value of a variable; may be given several times", oneMore, {});
}

function oneMore(given: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    const separator = given.indexOf("=");
    if (separator < 1) {
        throw new InvalidArgumentError("It must be NAME=VALUE.");
    }
    return { ...before, [given.slice(0, separator)]: given.slice(separator + 1) };
}

/** Loaded when one of them runs. */
async function actions() {
    return import("./pipelineActions");
}
