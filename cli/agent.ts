import { Command } from "commander";

import { interruption } from "./interruption";

/** The commands that the stack's program runs. They read their input from the environment, which the program declares. */
export function agentCommands(): Command[] {
    return [
        new Command("store")
            .description("(run by the program) the blob container")
            .addCommand(new Command("create").action(async () => (await actions()).createStore()))
            .addCommand(new Command("grant").action(async () => (await serviceActions()).grantStore()))
            .addCommand(new Command("revoke").action(async () => (await serviceActions()).revokeStore())),
        new Command("service-directory")
            .description("(run by the program) the embedded platform's directory for a service")
            .addCommand(new Command("make").action(async () => (await serviceActions()).makeServiceDirectory()))
            .addCommand(new Command("remove").action(async () => (await serviceActions()).removeServiceDirectory())),
        new Command("identity")
            .description("(run by the program) the exporter's credential")
            .addCommand(new Command("grant").action(async () => (await actions()).grantIdentity()))
            .addCommand(new Command("revoke").action(async () => (await actions()).revokeIdentity())),
        new Command("admission")
            .description("(run by the program) wait until the rules for Jobs are in force")
            .action(async () => (await actions()).awaitAdmission()),
        new Command("mirrors")
            .description("(run by the program) the embedded platform's directory for mirrors")
            .addCommand(new Command("make").action(async () => (await mirrorActions()).makeMirrorDirectory()))
            .addCommand(new Command("remove").action(async () => (await mirrorActions()).removeMirrorDirectory())),
        new Command("image-build")
            .description("(run by the program) build an image in the cluster")
            .action(async () => (await import("./imageAgent")).buildClusterImage()),
        new Command("resolve-source")
            .description("(run by a service) print the BUILD_TAG and the commit of a source")
            .requiredOption("--cwd <directory>", "the directory of the project")
            .action(async ({ cwd }: { readonly cwd: string }) => (await import("./resolveSource")).printSource(cwd)),
        new Command("await")
            .description("(run by the program) wait for a build's outcome")
            .action(async () => (await import("./awaitLauncher")).awaitAlone(interruption())),
        new Command("await-pipeline")
            .description("(run by the program) run a pipeline's steps and wait for their outcomes")
            .action(async () => (await actions()).awaitPipeline()),
    ];
}

/** Loaded when one of them runs: `ke1 up` itself needs neither the store's client nor the cluster's. */
async function actions() {
    return import("./agentActions");
}

async function mirrorActions() {
    return import("./mirrorDirectory");
}

async function serviceActions() {
    return import("./serviceAgent");
}
