import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, matchesGlob, resolve } from "node:path";
import {
    asString,
    assetArchive,
    containsSecrets,
    diffPaths,
    fileAsset,
    isArray,
    isObject,
    mapValues,
    type PropertyDiff,
    type PropertyMap,
    secret,
    unwrap,
    type Value,
    withoutSecrets,
} from "../values";
import type { CallContext, CheckFailure, Provider, ProviderPackage } from "./provider";
import { unsupported } from "./provider";

const resourceType = "command:local:Command";
const runFunction = "command:local:run";

/** The inputs of the two, by the type that they must have (schema of pulumi-command 1.2.1). */
const inputTypes: Readonly<Record<string, "string" | "boolean" | "strings" | "map" | "any">> = {
    create: "string",
    update: "string",
    delete: "string",
    command: "string",
    stdin: "string",
    dir: "string",
    logging: "string",
    interpreter: "strings",
    assetPaths: "strings",
    archivePaths: "strings",
    environment: "map",
    addPreviousOutputInEnv: "boolean",
    triggers: "any",
};

/** Ends a process that does not heed SIGTERM, this long after it. */
const graceMilliseconds = 10_000;

/** Process groups of commands that run, to be ended with this process whatever happens. */
const running = new Set<number>();
process.once("exit", () => running.forEach((group) => signalGroup(group, "SIGKILL")));

/** The `local` half of the package `command` 1.2.1: programs run on this machine. */
export const commandPackage: ProviderPackage = {
    supports: (token) => token === resourceType || token === runFunction,
    // The framework that the CLI's provider is made with; without it, the CLI finds the provider changed.
    addedConfig: { "__pulumi-go-provider-version": "1.2.0" },
    checkConfig: (config) =>
        Object.keys(config)
            .filter((property) => property !== "version" && !property.startsWith("__"))
            .map((property) => ({ property, reason: "the package command has no configuration" })),
    open: () => commandProvider,
};

const commandProvider: Provider = {
    check: (context, _olds, news) => Promise.resolve({ inputs: news, failures: checkInputs(context.type, news) }),

    diff(_context, old, news) {
        const paths = new Map<string, PropertyDiff>();
        for (const [path, change] of diffPaths(old.inputs, news)) {
            paths.set(path, /^triggers(\b|$)/.test(path) ? { ...change, replace: true } : change);
        }
        return Promise.resolve({ paths });
    },

    async create(context, inputs) {
        if (context.preview) {
            return { outputs: inputs };
        }
        const id = context.name + randomBytes(4).toString("hex");
        return { id, outputs: await outputsOf(context, inputs, asString(inputs.create), {}) };
    },

    async update(context, old, news) {
        if (context.preview) {
            return { outputs: news };
        }
        return { outputs: await outputsOf(context, news, asString(news.update) ?? asString(news.create), old.outputs) };
    },

    async delete(context, old) {
        const command = asString(old.outputs.delete ?? old.inputs.delete);
        if (command !== undefined) {
            await runCommand(context, command, { ...old.inputs, ...old.outputs }, old.outputs);
        }
    },

    read: (_context, old) => Promise.resolve(old),

    async invoke(context, token, args) {
        if (token !== runFunction) {
            throw unsupported(`The function ${token}`);
        }
        const failures = checkInputs(token, args);
        if (failures.length > 0) {
            throw new Error(failures.map(({ property, reason }) => `${property ?? ""}: ${reason}`).join("; "));
        }
        return outputsOf(context, args, asString(args.command), {});
    },
};

function checkInputs(type: string, inputs: PropertyMap): readonly CheckFailure[] {
    return Object.entries(inputs).flatMap(([property, value]): CheckFailure[] => {
        const expected = inputTypes[property];
        const belongs =
            (property === "command") === (type === runFunction) ||
            !["command", "create", "update", "delete", "triggers"].includes(property);
        if (expected === undefined || !belongs) {
            return [{ property, reason: `${type} has no such property` }];
        }
        const plain = unwrap(value);
        if (plain === null || plain === undefined || hasType(plain, expected)) {
            return [];
        }
        return [
            {
                property,
                reason: `it must be ${expected === "strings" ? "an array of strings" : expected === "map" ? "a map of strings" : `a ${expected}`}`,
            },
        ];
    });
}

function hasType(value: Value, type: string): boolean {
    // Unknown values are strings here, and may become anything.
    const isText = (element: Value): boolean => typeof unwrap(element) === "string";
    switch (type) {
        case "strings":
            return isText(value) || (isArray(value) && value.every(isText));
        case "map":
            return isText(value) || (isObject(value) && Object.values(value).every(isText));
        case "boolean":
            return typeof value === "boolean" || isText(value);
        case "string":
            return isText(value);
        default:
            return true;
    }
}

/** Runs the command, if there is one; everything that comes of it is secret where an input is. */
async function outputsOf(
    context: CallContext,
    inputs: PropertyMap,
    command: string | undefined,
    previous: PropertyMap,
): Promise<PropertyMap> {
    const { stdout = "", stderr = "" } = previous;
    const results: PropertyMap =
        command === undefined ? { stdout, stderr } : await runCommand(context, command, inputs, previous);
    return { ...inputs, ...(containsSecrets(inputs) ? mapValues(results, (value) => secret(value)) : results) };
}

async function runCommand(
    context: CallContext,
    command: string,
    inputs: PropertyMap,
    previous: PropertyMap,
): Promise<PropertyMap> {
    const plain = withoutSecrets(inputs);
    const [shell = "/bin/sh", ...args] =
        isArray(plain.interpreter) && plain.interpreter.length > 0 ? plain.interpreter.map(String) : ["/bin/sh", "-c"];
    const directory = resolve(context.directory, asString(plain.dir) ?? ".");
    const before = { stdout: asString(previous.stdout), stderr: asString(previous.stderr) };
    const environment = {
        ...context.environment,
        ...(isObject(plain.environment) ? mapValues(plain.environment, (value) => asString(value) ?? "") : {}),
        ...(plain.addPreviousOutputInEnv !== false && before.stdout ? { PULUMI_COMMAND_STDOUT: before.stdout } : {}),
        ...(plain.addPreviousOutputInEnv !== false && before.stderr ? { PULUMI_COMMAND_STDERR: before.stderr } : {}),
    };
    const logging = asString(plain.logging) ?? "stdoutAndStderr";
    const shown = logging === "stdoutAndStderr" ? ["stdout", "stderr"] : [logging];
    const { stdout, stderr } = await execute(
        context,
        [shell, ...args, command],
        environment,
        directory,
        asString(plain.stdin),
        shown,
    );
    const [assets, archive] = [plain.assetPaths, plain.archivePaths].map((globs) =>
        isArray(globs) ? findAssets(directory, globs.map(String)) : undefined,
    );
    return {
        stdout: stdout.replace(/\n$/, ""),
        stderr: stderr.replace(/\n$/, ""),
        ...(assets ? { assets } : {}),
        ...(archive ? { archive: assetArchive(archive) } : {}),
    };
}

async function execute(
    context: CallContext,
    [file, ...args]: readonly [string, ...string[]],
    env: NodeJS.ProcessEnv,
    cwd: string,
    stdin: string | undefined,
    shown: readonly string[],
): Promise<{ readonly stdout: string; readonly stderr: string }> {
    if (context.signal.aborted) {
        throw new Error("Interrupted before the command was run.");
    }
    const child = spawn(file, args, { cwd, env, stdio: [stdin ? "pipe" : "ignore", "pipe", "pipe"], detached: true });
    const group = child.pid;
    const ending = { interrupted: false, late: false };
    const timers: NodeJS.Timeout[] = [];
    const end = (reason: "interrupted" | "late"): void => {
        ending[reason] = true;
        if (group !== undefined) {
            signalGroup(group, "SIGTERM");
            timers.push(setTimeout(() => signalGroup(group, "SIGKILL"), graceMilliseconds));
        }
    };
    const interrupt = (): void => end("interrupted");
    context.signal.addEventListener("abort", interrupt);
    if (context.timeout !== undefined) {
        timers.push(setTimeout(() => end("late"), context.timeout * 1000));
    }
    if (group !== undefined) {
        running.add(group);
    }
    const collected = { stdout: [] as Buffer[], stderr: [] as Buffer[], both: [] as Buffer[] };
    const follow = (name: "stdout" | "stderr"): void => {
        const log = lineLogger((line) => context.log("info", line));
        child[name]?.on("data", (chunk: Buffer) => {
            collected[name].push(chunk);
            collected.both.push(chunk);
            if (shown.includes(name)) {
                log(chunk);
            }
        });
        child[name]?.once("end", () => log(undefined));
    };
    follow("stdout");
    follow("stderr");
    // A command need not read what it is given.
    child.stdin?.on("error", () => undefined).end(stdin);
    try {
        const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
            child.once("error", reject);
            child.once("close", (exitCode, signalCode) => resolve([exitCode, signalCode]));
        });
        if (code === 0) {
            return {
                stdout: Buffer.concat(collected.stdout).toString("utf8"),
                stderr: Buffer.concat(collected.stderr).toString("utf8"),
            };
        }
        const why = ending.interrupted
            ? "interrupted"
            : ending.late
              ? `not done within ${context.timeout ?? 0} s (customTimeouts)`
              : signal === null
                ? `exit status ${code ?? 0}`
                : `signal: ${signal}`;
        throw new Error(
            `${why}: running ${JSON.stringify(args.at(-1))}:\n${Buffer.concat(collected.both).toString("utf8").trimEnd()}`,
        );
    } finally {
        context.signal.removeEventListener("abort", interrupt);
        timers.forEach((timer) => clearTimeout(timer));
        if (group !== undefined) {
            running.delete(group);
        }
    }
}

/** Logs whole lines as they come; undefined ends the last. */
function lineLogger(log: (line: string) => void): (chunk: Buffer | undefined) => void {
    const decoder = new TextDecoder();
    let rest = "";
    return (chunk) => {
        const lines = (rest + decoder.decode(chunk, { stream: chunk !== undefined })).split("\n");
        rest = lines.pop() ?? "";
        lines.forEach((line) => log(line.replace(/\r$/, "")));
        if (chunk === undefined && rest !== "") {
            log(rest);
            rest = "";
        }
    };
}

/** The files that the globs name, by path; a later glob with `!` takes some out again. */
function findAssets(directory: string, globs: readonly string[]): PropertyMap {
    const assets: Record<string, PropertyMap> = {};
    const files = readdirSync(directory, { recursive: true, withFileTypes: true })
        .filter((entry) => !entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
        .sort();
    for (const file of files) {
        for (const glob of globs) {
            const excludes = glob.startsWith("!");
            if (!matchesGlob(file, excludes ? glob.slice(1) : glob)) {
                continue;
            }
            if (excludes) {
                Reflect.deleteProperty(assets, file);
            } else {
                const path = join(directory, file);
                assets[file] = fileAsset(path, createHash("sha256").update(readFileSync(path)).digest("hex"));
            }
        }
    }
    return assets;
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
    try {
        process.kill(-group, signal);
    } catch {
        // It has ended.
    }
}
