import * as path from "node:path";

import { Command, InvalidArgumentError, Option } from "commander";

import { ke1Home } from "../platform/home";
import { scopes } from "../service/scopes";
import { serviceDefaults } from "../service/settings";
import { withStackOptions } from "./projectDirectory";

/** What every command has that keeps a queue of builds. */
export interface QueueOptions {
    readonly stack: string;
    readonly cwd: string;
    readonly data: string;
    readonly parallel: number;
    /** Seconds. */
    readonly timeout: number;
    readonly namespace: readonly string[];
    /** Commander's way to say `--no-cache`. */
    readonly cache: boolean;
    readonly buildArg: Readonly<Record<string, string>>;
    readonly allowSource: readonly string[];
    readonly localSources: boolean;
    readonly keepDays: number;
    readonly showLogs: boolean;
}

export interface ServeOptions extends QueueOptions {
    readonly listen: string;
    readonly port: number;
    readonly tokens: string;
    readonly oidcIssuer?: string;
    readonly oidcAudience: string;
    readonly requestsPerMinute: number;
    /** Bytes. */
    readonly bodyLimit: number;
    /** Repositories to watch beside. */
    readonly watch: readonly string[];
    readonly webhookSecretFile?: string;
    readonly allowCallback: readonly string[];
    readonly openShuttle: boolean;
    readonly triggers?: string;
    /** Seconds between two looks of a trigger that does not say itself. */
    readonly interval?: number;
}

/** Where a command keeps its queue unless it is told otherwise. */
function defaultData(command = "service"): string {
    return path.join(ke1Home(), command);
}

/** `serve`, and `token`, which says who may use it. */
export function serviceCommands(): Command[] {
    return [
        withQueueOptions(new Command("serve"))
            .description("launch builds that are asked for over HTTP")
            .option("--listen <address>", "the address to listen on", "127.0.0.1")
            .addOption(
                new Option("--port <number>", "the port; 0 is one that is free")
                    .env("PORT")
                    .default(serviceDefaults.port)
                    .argParser(portNumber),
            )
            .option("--tokens <file>", "who may ask (`ke1 token add`); by default `tokens` in the data directory", "")
            .option("--oidc-issuer <url>", "take the JSON Web Tokens of this OpenID Connect provider too")
            .option("--oidc-audience <name>", "whom they must be meant for", "ke1")
            .option("--requests-per-minute <number>", "of one caller", wholeNumber, 600)
            .option(
                "--allow-callback <host>",
                "a host or CIDR block on a private network that callbacks and Kafka brokers of requests may be on",
                more,
                [],
            )
            .option("--body-limit <bytes>", "the largest request", wholeNumber, 16 * 1024 * 1024)
            .option(
                "--watch <repo^branch>",
                "watch a repository too, or a file of them (ke1 watch); several times",
                more,
                [],
            )
            .option("--webhook-secret-file <file>", "what GitHub signs webhooks with, where such a file does not say")
            .option(
                "--open-shuttle",
                "let in whoever is on this machine without a token, on the build shuttle's paths (docs/shuttle.md)",
                false,
            )
            .option("--triggers <file>", "launch builds for new images in registries (docs/triggers.md)")
            .option(
                "--interval <seconds>",
                "between two looks at a registry (60) or a repository (5 here, 60 elsewhere)",
                wholeNumber,
            )
            .action(async (options: ServeOptions) => (await service()).serve(options)),
        new Command("token").description("who may use the service").addCommand(
            new Command("add")
                .description("make a token for somebody, print it, and keep its hash")
                .argument("<name>", "whose it is")
                .requiredOption("--scope <scopes>", `what it allows, with commas between: ${scopes.join(", ")}`)
                .option("--tokens <file>", "where the hashes are", path.join(defaultData(), "tokens"))
                .action(async (name: string, options: { readonly scope: string; readonly tokens: string }) =>
                    (await service()).addToken(name, options.scope, options.tokens),
                ),
        ),
    ];
}

/** The options of every command that launches builds by itself. The variables are the build shuttle's. */
export function withQueueOptions(command: Command, room = "service"): Command {
    return withStackOptions(command)
        .option("--data <directory>", "where the queue, the sources and the stacks' state are", defaultData(room))
        .addOption(
            new Option("--parallel <number>", "builds at once")
                .env("MAXIMUM_PARALLEL_BUILDS")
                .default(serviceDefaults.parallel)
                .argParser(wholeNumber),
        )
        .addOption(
            new Option("--timeout <seconds>", "of one build; TIMEOUT_IN_MS in the environment sets it in milliseconds")
                .default(timeoutOf(process.env["TIMEOUT_IN_MS"]))
                .argParser(wholeNumber),
        )
        .option(
            "--namespace <name>",
            "a namespace that is there, for one build at a time; may be given several times",
            more,
            [],
        )
        .addOption(
            new Option("--no-cache", "build images without the builder's cache").default(
                process.env["NO_CACHE"] !== "true",
            ),
        )
        .option(
            "--build-arg <NAME=VALUE>",
            "given to every image's build; EXTRA_BUILD_ARGS in the environment is a JSON object of them",
            oneMore,
            extraBuildArgs(process.env["EXTRA_BUILD_ARGS"]),
        )
        .option(
            "--allow-source <host>",
            "a host or CIDR block on a private network that sources may come from",
            more,
            [],
        )
        .option("--keep-days <number>", "forget a build so many days after its end; its blobs stay", wholeNumber, 30)
        .option(
            "--local-sources",
            "take directories of this machine: whoever may launch builds can then read them",
            false,
        )
        .addOption(
            new Option("--show-logs", "print what the builds' launchers print").env("SHOW_BUILD_LOGS").default(false),
        );
}

function wholeNumber(value: string): number {
    const count = Number(value);
    if (!Number.isSafeInteger(count) || count < 1) {
        throw new InvalidArgumentError("It must be a whole number from 1 on.");
    }
    return count;
}

function portNumber(value: string): number {
    const port = Number(value);
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
        throw new InvalidArgumentError("It must be a whole number from 0 to 65535.");
    }
    return port;
}

function more(value: string, before: readonly string[]): readonly string[] {
    return [...before, value];
}

function oneMore(given: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    const separator = given.indexOf("=");
    if (separator < 1) {
        throw new InvalidArgumentError("It must be NAME=VALUE.");
    }
    return { ...before, [given.slice(0, separator)]: given.slice(separator + 1) };
}

function timeoutOf(milliseconds: string | undefined): number {
    const given = Number(milliseconds);
    return milliseconds !== undefined && given > 0 ? Math.ceil(given / 1000) : serviceDefaults.timeoutSeconds;
}

function extraBuildArgs(json: string | undefined): Readonly<Record<string, string>> {
    try {
        const given: unknown = JSON.parse(json ?? "{}");
        return Object.fromEntries(Object.entries(given as object).map(([name, value]) => [name, String(value)]));
    } catch {
        return {};
    }
}

/** Loaded when one of them runs: it is a bundle of its own. */
async function service() {
    return import("./queueService.js");
}
