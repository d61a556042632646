import * as fs from "node:fs";
import * as path from "node:path";

import type { Command } from "commander";

/**
 * The project that a command is about when `--cwd` does not say: the one that the working directory is in, else the one
 * that `ke1` itself belongs to, so that `ke1 up` works in any repository (bin/ke1 sets KE1_PROJECT).
 */
export function defaultProjectDirectory(): string {
    for (let directory = process.cwd(); ; directory = path.dirname(directory)) {
        if (fs.existsSync(path.join(directory, "Pulumi.yaml"))) {
            return directory;
        }
        if (directory === path.dirname(directory)) {
            return process.env["KE1_PROJECT"] ?? process.cwd();
        }
    }
}

/** The options that every command about a stack has. */
export function withStackOptions(command: Command): Command {
    return command
        .option("-s, --stack <name>", "the stack", process.env["PULUMI_STACK"] || "dev")
        .option("-C, --cwd <directory>", "the directory of the project", defaultProjectDirectory());
}
