import { Command, InvalidArgumentError } from "commander";

import { type QueueOptions, withQueueOptions } from "./serve";

export interface WatchOptions extends QueueOptions {
    /** Seconds. */
    readonly interval?: number;
    readonly once: boolean;
    readonly debug: boolean;
    readonly json: boolean;
    readonly listen?: { readonly host: string; readonly port: number };
    readonly webhookSecretFile?: string;
}

/** `ke1 watch`: a build for each new commit. */
export function watchCommand(): Command {
    return withQueueOptions(new Command("watch"), "watch")
        .description("launch a build for each new commit of repositories, near or far")
        .argument("<repo^branch...>", "a path or an address, `^` and a branch or a pattern; or a file of them")
        .option(
            "--interval <seconds>",
            "between two looks; by default 5 for a path and 60 for an address",
            parseInterval,
        )
        .option("--once", "look once, build what is new, and end with the builds", false)
        .option("--debug", "keep the last build of a branch that failed, with its pod, until the next commit", false)
        .option("--json", "print what happens as a line of JSON each", false)
        .option(
            "--listen <address>",
            "take GitHub's webhooks there: a port of this machine, or HOST:PORT",
            parseAddress,
        )
        .option("--webhook-secret-file <file>", "what they are signed with, where a file of repositories does not say")
        .action(async (targets: readonly string[], options: WatchOptions) =>
            (await import("./queueService.js")).watch(targets, options),
        );
}

function parseInterval(value: string): number {
    const seconds = Number(value);
    if (!(seconds >= 1 && seconds <= 86_400)) {
        throw new InvalidArgumentError("It must be a number of seconds from 1 to 86400.");
    }
    return seconds;
}

function parseAddress(value: string): { readonly host: string; readonly port: number } {
    const [, host = "127.0.0.1", port = ""] = /^(?:(.*):)?(\d{1,5})$/.exec(value) ?? [];
    if (port === "" || Number(port) > 65_535) {
        throw new InvalidArgumentError("It must be a port, or HOST:PORT.");
    }
    return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}
