import { Command, Option } from "commander";

import { UserError } from "../contract/errors";
import type { QueueOptions } from "./serve";
import { withQueueOptions } from "./serve";

export interface SpawnOptions extends QueueOptions {
    readonly endpoint: string;
    readonly tokenFile?: string;
    readonly queue: string;
    readonly tags: readonly string[];
    readonly name: string;
    readonly spawn: number;
    readonly priority?: string;
}

/** A tag as agents have it: a key, and a value without a line end. */
const tagPattern = /^[^=\s,]+=[^\r\n,]+$/;

/** `spawn`: jobs of a build server become builds. */
export function spawnCommand(): Command {
    // One queue has one process, and that of `ke1 serve` is another.
    const command = withQueueOptions(new Command("spawn"), "spawn")
        .description("take jobs from Buildkite as agents do, and run each as a build in the cluster")
        .addOption(
            new Option("--endpoint <url>", "the server's Agent API")
                .env("BUILDKITE_AGENT_ENDPOINT")
                .default("https://agent.buildkite.com/v3"),
        )
        .option(
            "--token-file <file>",
            "a file with the token that agents register by; without it, BUILDKITE_AGENT_TOKEN in the environment is used",
        )
        .option("--queue <name>", "the queue whose jobs are taken", "ke1")
        .option("--tags <key=value>", "a tag that steps may ask for; may be given several times", moreTags, [])
        .option("--name <name>", "what agents are called; %hostname and %spawn are replaced", "ke1-%hostname-%spawn")
        .option("--spawn <number>", "how many agents, and so how many builds at once", count, 1)
        .option("--priority <number>", "jobs go to agents of a higher priority first")
        .action(async (options: SpawnOptions) => {
            if (command.getOptionValueSource("parallel") === "cli") {
                throw new UserError(
                    "--spawn says how many builds run at once, as each agent has one; leave out --parallel",
                );
            }
            const { openQueue, spawnAgents } = await import("./queueService.js");
            await spawnAgents(options, openQueue);
        });
    const optionOf = (name: string) => command.options.find(({ long }) => long === name);
    optionOf("--parallel")?.hideHelp();
    return command;
}

function moreTags(value: string, before: readonly string[]): readonly string[] {
    const tags = value
        .split(",")
        .map((tag) => tag.trim())
        .filter((tag) => tag !== "");
    const wrong = tags.find((tag) => !tagPattern.test(tag));
    if (wrong !== undefined) {
        throw new UserError(`--tags takes key=value, such as cluster=prod; ${wrong} is none`);
    }
    if (tags.some((tag) => tag.startsWith("queue="))) {
        throw new UserError("the queue is given with --queue; an agent has one");
    }
    return [...before, ...tags];
}

function count(value: string): number {
    const number = Number(value);
    if (!Number.isSafeInteger(number) || number < 1 || number > 100) {
        throw new UserError(`--spawn takes a whole number from 1 to 100; it is ${value}`);
    }
    return number;
}
