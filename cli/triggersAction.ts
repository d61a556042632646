import type { Trigger } from "../service/triggers/definition";
import { durationOf } from "../pipeline/duration";
import { dockerCredentials } from "../service/registry/repositories";
import { readTriggerFile } from "../service/triggers/read";
import { look } from "../service/triggers/watch";
import { defaultRetries } from "../service/registry/retry";
import { shownReference } from "../service/registry/reference";

/** Seconds between two looks at a repository, where neither the file nor `--interval` says. */
export const defaultInterval = 60;

/** Says what a file of triggers does; with `look`, what it would find now. */
export async function checkTriggers(file: string, options: { readonly look: boolean }): Promise<void> {
    const { triggers, credentials } = readTriggerFile(file, defaultInterval);
    for (const trigger of triggers) {
        process.stdout.write(`${trigger.name}: ${described(trigger)}\n`);
        if (options.look) {
            const found = await look(trigger, "", new Map(), {
                credentials: dockerCredentials(credentials),
                retries: { ...defaultRetries, tries: 2 },
                signal: new AbortController().signal,
            });
            const lines = found.map(({ tag, digest }) => `  ${tag}  ${digest}\n`);
            process.stdout.write(lines.length === 0 ? "  nothing that it would watch\n" : lines.join(""));
        }
    }
}

function described({ image, policyText, intervalSeconds, config, source, release }: Trigger): string {
    const pipeline = typeof config["pipeline"] === "string" ? `the pipeline ${config["pipeline"]}` : "a build";
    return [
        `${shownReference(image)}, ${policyText}`,
        intervalSeconds === 0 ? "when told" : `every ${durationOf(intervalSeconds)}`,
        `${pipeline} of ${source ?? "what is in the image"}`,
        ...(release ? [`a release at ${release.repository}`] : []),
    ].join("; ");
}
