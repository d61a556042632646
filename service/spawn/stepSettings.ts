import { UserError } from "../../contract/errors";

type Kind = "text" | "list" | "number" | "object";

/**
 * What a step may set of a build, and what each is. A step's author is not who runs the cluster: nothing here says where
 * builds run, who is told of them, what they may reach, or which Secrets they are given (`service/callerConfig.ts` is checked
 * as well).
 */
const stepKeys: Readonly<Record<string, Kind>> = {
    image: "text",
    dockerfile: "text",
    artifactDirectory: "text",
    environment: "text",
    initContainers: "list",
    sidecars: "list",
    cpuRequest: "text",
    memoryRequest: "text",
    memoryLimit: "text",
    memoryRetryLimit: "text",
    diskLimit: "text",
    retries: "number",
    extendedResources: "list",
    nodeRequirements: "list",
    nodePreferences: "list",
    pipeline: "text",
    pipelineVariables: "object",
    sourceMode: "text",
    toolchainDockerfile: "text",
    logFiles: "list",
    metricsFile: "text",
};

/** `memoryLimit` of a plugin's settings is `KE1_MEMORY_LIMIT` in a step's environment. */
const variables: ReadonlyMap<string, string> = new Map(
    Object.keys(stepKeys).map((key) => [`KE1_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`, key]),
);

/** Pipelines write a plugin as `owner/name#v1`, the server sends its address: the agent's rules, for this name only. */
const ownPlugin = /(^|\/)ke1(-buildkite-plugin)?(\.git)?(#[^/]*)?$/;

/**
 * The configuration that a step asks for: `KE1_…` variables of its environment, and the settings of the plugin `ke1`, which
 * come first.
 *
 * @throws UserError, one line, for what a step may not set, what is not of its kind, and other plugins.
 */
export function stepSettings(env: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> {
    const settings: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(env).filter(([name]) => name.startsWith("KE1_"))) {
        const key = variables.get(name);
        if (key === undefined) {
            throw new UserError(
                `${name} is nothing that a step may set; it may set ${[...variables.keys()].join(", ")}`,
            );
        }
        settings[key] = fromText(name, value, stepKeys[key] ?? "text");
    }
    return { ...settings, ...pluginSettings(env["BUILDKITE_PLUGINS"] ?? "") };
}

/** BUILDKITE_PLUGINS: a list of names, or of objects with the settings under the name. */
function pluginSettings(plugins: string): Readonly<Record<string, unknown>> {
    const settings: Record<string, unknown> = {};
    for (const plugin of plugins === "" ? [] : listOf(plugins)) {
        const [name = "", given] =
            typeof plugin === "object" && plugin !== null ? (Object.entries(plugin)[0] ?? []) : [String(plugin)];
        if (!ownPlugin.test(name)) {
            throw new UserError(
                `the plugin ${name} cannot run here: builds have no agent's hooks; only the plugin ke1 is understood`,
            );
        }
        for (const [key, value] of Object.entries((given ?? {}) as Readonly<Record<string, unknown>>)) {
            const kind = Object.hasOwn(stepKeys, key) ? stepKeys[key] : undefined;
            if (kind === undefined) {
                throw new UserError(
                    `the plugin's ${key} is nothing that a step may set; it may set ${Object.keys(stepKeys).join(", ")}`,
                );
            }
            settings[key] = typeof value === "string" ? fromText(key, value, kind) : ofKind(key, value, kind);
        }
    }
    return settings;
}

function listOf(plugins: string): readonly unknown[] {
    try {
        const parsed: unknown = JSON.parse(plugins);
        if (Array.isArray(parsed)) {
            return parsed;
        }
    } catch {
        // Said below.
    }
    throw new UserError("BUILDKITE_PLUGINS is no list of plugins");
}

/** An environment knows text only: a list is JSON, or one a line; an object is JSON. */
function fromText(name: string, value: string, kind: Kind): unknown {
    if (kind === "text") {
        return value;
    }
    const text = value.trim();
    if (kind === "list" && !text.startsWith("[")) {
        return text.split(/\s*\n\s*/).filter((line) => line !== "");
    }
    try {
        return ofKind(name, JSON.parse(text), kind);
    } catch (error) {
        throw error instanceof UserError ? error : new UserError(wrong(name, kind));
    }
}

function ofKind(name: string, value: unknown, kind: Kind): unknown {
    const fits = {
        text: typeof value === "number" || typeof value === "string",
        list: Array.isArray(value) && value.every((each) => typeof each === "string"),
        number: Number.isSafeInteger(value),
        object: typeof value === "object" && value !== null && !Array.isArray(value),
    }[kind];
    if (!fits) {
        throw new UserError(wrong(name, kind));
    }
    return kind === "text" ? String(value) : value;
}

function wrong(name: string, kind: Kind): string {
    const what = {
        text: "text",
        list: "a list: JSON, or one a line",
        number: "a whole number",
        object: "an object (JSON)",
    }[kind];
    return `${name} must be ${what}`;
}
