import { Command } from "commander";

import { withStackOptions } from "./projectDirectory";
import type { ReleaseOptions } from "./releaseAction";

/** `ke1 release`: what was built goes to GitHub, and its images to a registry. */
export function releaseCommand(): Command {
    return withStackOptions(new Command("release"))
        .description("release a build on GitHub: its artifacts, checksums and provenance; and push images")
        .argument("<tag>", "BUILD_TAG, or BUILD_TAG/STEP")
        .option(
            "--repository <owner/name>",
            "on GitHub; by default GITHUB_REPOSITORY",
            process.env["GITHUB_REPOSITORY"] ?? "",
        )
        .option("--release-tag <tag>", "the release's tag in the repository; by default the BUILD_TAG", "")
        .option("--config-file <file>", "the stack's configuration, instead of Pulumi.<stack>.yaml")
        .option("--key <file>", "public key (PEM) by which the provenance must be signed")
        .option("--replace", "put these files, and images, in the place of others of the same name", false)
        .option("--draft", "do not publish it", false)
        .option("--no-github", "push the images alone")
        .option(
            "--image <[source=]destination>",
            "push an image: the build's, or another; without a tag, it gets the release's; may be given several times",
            (value: string, before: readonly string[]) => [...before, value],
            [],
        )
        .option("--registry-config <file>", "a Docker configuration with the registries' credentials", "")
        .option("--json", "the result as JSON", false)
        .action(async (tag: string, options: ReleaseOptions) =>
            (await import("./releaseAction")).releaseBuild(tag, options),
        );
}
