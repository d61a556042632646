import * as path from "node:path";

import { Command, CommanderError } from "commander";

import { version } from "../package.json";
import { isUserError, messageOf } from "../contract/errors";
import { agentCommands } from "./agent";
import { buildCommands } from "./builds";
import { imageCommand } from "./image";
import { beforeOperation } from "./launch";
import { pipelineCommand } from "./pipeline";
import { platformCommand } from "./platform";
import { releaseCommand } from "./release";
import { serviceCommands } from "./serve";
import { spawnCommand } from "./spawn";
import { stackCommands } from "./stack";
import { watchCommand } from "./watch";
import { triggersCommand } from "./triggers";

/** Wrong usage or configuration. */
const exitUsage = 2;

async function main(): Promise<void> {
    // Whoever reads what we print may stop reading (`ke1 logs | head`); what is under way is not to suffer.
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
        if (error.code !== "EPIPE") {
            throw error;
        }
        process.exitCode ??= 1;
    });
    process.stderr.on("error", () => undefined);
    // Relative to where the person is, not to the project. What looks like an address is told apart later.
    const source = process.env["SOURCE"] ?? "";
    if (source !== "" && !source.includes("://") && !/^[^/]+@[^/]+:/.test(source)) {
        process.env["SOURCE"] = path.resolve(source);
    }
    const program = new Command("ke1")
        .description("Builds a source tree in a Kubernetes cluster and hands back binaries and logs.")
        .version(version)
        .exitOverride()
        .showHelpAfterError("(ke1 --help says what there is)");
    for (const command of [
        ...stackCommands({ beforeOperation }),
        ...buildCommands(),
        imageCommand(),
        pipelineCommand({ beforeOperation }),
        platformCommand(),
        releaseCommand(),
        triggersCommand(),
        ...serviceCommands(),
        watchCommand(),
        spawnCommand(),
    ]) {
        program.addCommand(command);
    }
    for (const command of agentCommands()) {
        program.addCommand(command, { hidden: true });
    }
    program.commands.forEach(overrideExit);
    try {
        await program.parseAsync(process.argv);
    } catch (error) {
        process.exitCode = report(error);
    }
}

function overrideExit(command: Command): void {
    command.exitOverride();
    command.commands.forEach(overrideExit);
}

function report(error: unknown): number {
    if (error instanceof CommanderError) {
        // Commander has printed its message; help that was asked for is no error.
        return error.exitCode === 0 ? 0 : exitUsage;
    }
    if (isUserError(error)) {
        process.stderr.write(`error: ${error.message}\n`);
        return exitUsage;
    }
    const detail = process.env["KE1_DEBUG"] && error instanceof Error ? (error.stack ?? "") : messageOf(error);
    process.stderr.write(`error: ${detail}\n`);
    return 1;
}

void main();
