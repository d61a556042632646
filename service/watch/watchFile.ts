import * as fs from "node:fs";
import * as path from "node:path";

import { Ajv } from "ajv";
import { parse } from "yaml";

import { messageOf, UserError } from "../../contract/errors";
import { relativePath } from "../../contract/patterns";
import { defaultBranch, parsePattern } from "./patterns";
import { isRemote, locateRepository, splitWatched, type WatchedRepository, type WatchSettings } from "./repository";

/** One entry of a file of watched repositories. */
interface Entry {
    readonly repository: string;
    readonly branches?: readonly string[];
    readonly tags?: readonly string[];
    readonly directory?: string;
    readonly config?: Readonly<Record<string, unknown>>;
    readonly debug?: boolean;
    readonly webhookSecretFile?: string;
}

const names = { type: "array", items: { type: "string", minLength: 1 }, uniqueItems: true };
const text = { type: "string", minLength: 1 };
const schema = {
    type: "object",
    required: ["repositories"],
    additionalProperties: false,
    properties: {
        repositories: {
            type: "array",
            minItems: 1,
            items: {
                type: "object",
                required: ["repository"],
                additionalProperties: false,
                properties: {
                    repository: text,
                    branches: names,
                    tags: names,
                    directory: text,
                    config: { type: "object" },
                    debug: { type: "boolean" },
                    webhookSecretFile: text,
                },
            },
        },
    },
};

/** What holds for all that does not say otherwise. */
export interface WatchDefaults extends Pick<WatchSettings, "debug"> {
    /** The file with the secret of webhooks. */
    readonly webhookSecretFile?: string;
}

/**
 * What is to be watched: `REPO^BRANCH` each, or files that say more (docs/watch.md). One repository that is named more than
 * once is watched once, for all of its branches.
 *
 * @throws UserError, one line, for what is wrong with any of it
 */
export async function readWatched(
    targets: readonly string[],
    from: string,
    defaults: WatchDefaults = {},
): Promise<readonly WatchedRepository[]> {
    const repositories = new Map<string, WatchedRepository>();
    for (const target of targets) {
        const file = path.resolve(from, target);
        const isFile = !isRemote(target) && fs.existsSync(file) && fs.statSync(file).isFile();
        for (const repository of isFile ? await readFile(file, defaults) : [await readTarget(target, from, defaults)]) {
            const other = repositories.get(repository.address);
            if (other && other.directory !== repository.directory) {
                throw new UserError(
                    `${repository.address} is named twice, with the directories \`${other.directory}\` and ` +
                        `\`${repository.directory}\`; watch each with a \`--data\` directory of its own`,
                );
            }
            repositories.set(repository.address, other ? merged(other, repository) : repository);
        }
    }
    return [...repositories.values()];
}

async function readTarget(target: string, from: string, defaults: WatchDefaults): Promise<WatchedRepository> {
    const { repository, pattern } = splitWatched(target);
    const located = await locateRepository(repository, from);
    return { ...located, patterns: [pattern], ...settingsOf(defaults, from, defaults) };
}

async function readFile(file: string, defaults: WatchDefaults): Promise<readonly WatchedRepository[]> {
    const directory = path.dirname(file);
    const repositories: WatchedRepository[] = [];
    for (const [index, entry] of parseFile(file).entries()) {
        try {
            const located = await locateRepository(entry.repository, directory);
            if (entry.directory !== undefined && !relativePath.test(entry.directory)) {
                throw new UserError(`directory must be a path in the repository; it is \`${entry.directory}\``);
            }
            const branches = (entry.branches ?? []).map(parsePattern);
            const tags = (entry.tags ?? []).map((tag) => parsePattern(`refs/tags/${tag}`));
            repositories.push({
                ...located,
                ...(entry.directory === undefined
                    ? {}
                    : { directory: path.posix.normalize(entry.directory).replace(/\/$/, "") }),
                // Tags alone are enough to watch.
                patterns: branches.length + tags.length === 0 ? [defaultBranch] : [...branches, ...tags],
                ...settingsOf(entry, directory, defaults),
            });
        } catch (error) {
            throw error instanceof UserError
                ? new UserError(`${file}: repositories[${index}]: ${error.message}`)
                : error;
        }
    }
    return repositories;
}

function parseFile(file: string): readonly Entry[] {
    let document: unknown;
    try {
        document = parse(fs.readFileSync(file, "utf8"));
    } catch (error) {
        throw new UserError(`${file} cannot be read: ${messageOf(error).split("\n", 1)[0] ?? ""}`);
    }
    const validate = new Ajv({ allErrors: false }).compile<{ readonly repositories: readonly Entry[] }>(schema);
    if (!validate(document)) {
        const [problem] = validate.errors ?? [];
        const place = problem?.instancePath.slice(1).replaceAll("/", ".") ?? "";
        const extra = problem?.params["additionalProperty"] as string | undefined;
        throw new UserError(
            `${file}: ${place === "" ? "it" : place} ${problem?.message ?? "is wrong"}` +
                `${extra === undefined ? "" : `: ${extra}`}; docs/watch.md says what a file of repositories has`,
        );
    }
    return document.repositories;
}

function settingsOf(
    { debug, config, webhookSecretFile }: Pick<Entry, "debug" | "config" | "webhookSecretFile">,
    directory: string,
    defaults: WatchDefaults,
): WatchSettings {
    const file = webhookSecretFile ?? defaults.webhookSecretFile;
    return {
        debug: debug ?? defaults.debug ?? false,
        ...(config === undefined ? {} : { config }),
        ...(file === undefined ? {} : { webhookSecrets: readSecrets(path.resolve(directory, file)) }),
    };
}

/** GitHub's own advice is a random one; eight characters can be guessed from one signed request. */
const shortestSecret = 16;

/** A secret a line: two while one takes the other's place. */
function readSecrets(file: string): readonly string[] {
    if (!fs.existsSync(file)) {
        throw new UserError(
            `there is no file ${file} with the webhook's secret; make one: (umask 077; openssl rand -hex 32 > ${file})`,
        );
    }
    if ((fs.statSync(file).mode & 0o077) !== 0) {
        throw new UserError(`${file} can be read by others; run: chmod 600 ${file}`);
    }
    const secrets = fs
        .readFileSync(file, "utf8")
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "");
    if (secrets.length === 0 || secrets.some((secret) => secret.length < shortestSecret)) {
        throw new UserError(
            `${file} must have a secret of at least ${shortestSecret} characters; \`openssl rand -hex 32\` makes one`,
        );
    }
    return secrets;
}

function merged(one: WatchedRepository, other: WatchedRepository): WatchedRepository {
    const patterns = [...one.patterns, ...other.patterns];
    const seen = new Set<string>();
    return {
        ...one,
        ...other,
        patterns: patterns.filter(({ kind, text: written }) => {
            const key = `${kind} ${written}`;
            return seen.has(key) ? false : seen.add(key);
        }),
    };
}
