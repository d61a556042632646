import { Command } from "commander";

/** `ke1 triggers`: what `ke1 serve --triggers` is given. */
export function triggersCommand(): Command {
    return new Command("triggers").description("registry triggers, which `ke1 serve --triggers` runs").addCommand(
        new Command("check")
            .description("check a file of triggers, and say what each of them watches")
            .argument("<file>", "the file (docs/triggers.md)")
            .option("--look", "ask the registries what would be found now", false)
            .action(async (file: string, options: { readonly look: boolean }) =>
                (await import("./triggersAction")).checkTriggers(file, options),
            ),
    );
}
