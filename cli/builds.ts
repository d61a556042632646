import { Command } from "commander";

import type { ArtifactsOptions, BuildsOptions, LogsOptions, StackOptions, VerifyOptions } from "./buildActions";
import { withStackOptions } from "./projectDirectory";

/** The commands that look at builds. They need the store, and not the stack: they work after `ke1 destroy` too. */
export function buildCommands(): Command[] {
    return [
        withStackOptions(new Command("logs"))
            .description("show the log of a build's last attempt, byte for byte")
            .argument("[tag]", "BUILD_TAG, or BUILD_TAG/STEP; by default that of the stack's source")
            .option("-f, --follow", "go on until the build ends", false)
            .option("--offset <bytes>", "begin at this byte", "0")
            .option("--container <name>", "the log of an init container or a sidecar")
            .option("--list", "list the logs that there are, with their sizes", false)
            .option("--file <name>", "show this one of them")
            .action(async (tag: string | undefined, options: LogsOptions) => (await actions()).logs(tag, options)),
        withStackOptions(new Command("artifacts"))
            .description("list a build's artifacts, or download and verify them")
            .argument("[tag]", "BUILD_TAG, or BUILD_TAG/STEP; by default that of the stack's source")
            .option("--to <directory>", "download to this directory")
            .option("--json", "the manifest's list as JSON", false)
            .action(async (tag: string | undefined, options: ArtifactsOptions) =>
                (await actions()).artifacts(tag, options),
            ),
        withStackOptions(new Command("verify"))
            .description("check a build's artifacts, manifest and provenance against one another, and its signature")
            .argument(
                "[tag]",
                "BUILD_TAG, or BUILD_TAG/STEP; by default that of the stack's source, or of the directory",
            )
            .option("--key <file>", "public key (PEM) by which the provenance must be signed")
            .option("--from <directory>", "what `ke1 artifacts --to` has made, instead of the store; needs no network")
            .action(async (tag: string | undefined, options: VerifyOptions) => (await actions()).verify(tag, options)),
        withStackOptions(new Command("builds"))
            .description("list the builds that the store knows of")
            .option("--json", "as JSON", false)
            .action(async (options: BuildsOptions) => (await actions()).builds(options)),
        withStackOptions(new Command("cancel"))
            .description("end a running build, or the running steps of a pipeline; `ke1 up` starts them again")
            .argument("<tag>", "BUILD_TAG, or BUILD_TAG/STEP")
            .action(async (tag: string, options: StackOptions) => (await actions()).cancel(tag, options)),
    ];
}

/** Loaded when one of them runs: the store's client takes its time. */
async function actions() {
    return import("./buildActions");
}
