import { UserError } from "../contract/errors";
import type { CompanionSettings, Environments, ResolvedEnvironment } from "./environments";
import {
    checkBuildEnvironment,
    credentialSecret,
    pullSecretName,
    readEnvironments,
    resolveCompanions,
    resolveEnvironment,
} from "./environments";
import type { ConfigSource } from "./reader";
import { Reader } from "./reader";

/** Each is one more rule of the Job's failure policy, which may have 20, and one more container to wait for. */
const mostCompanions = 10;

/** What a stack's builds run in, after, and beside. */
export interface EnvironmentSettings {
    /** The build's own; absent where none is configured. */
    readonly environment?: ResolvedEnvironment;
    readonly companions: CompanionSettings;
}

/** @throws UserError, one line, for the first thing that cannot be. */
export function readEnvironmentSettings(
    config: ConfigSource,
): EnvironmentSettings & { readonly environments: Environments } {
    const read = new Reader(config);
    const environments = readEnvironments(config);
    const name = read.text("environment");
    const environment = name === "" ? undefined : checkBuildEnvironment(resolveEnvironment(environments, name));
    const names = { initContainers: read.list("initContainers"), sidecars: read.list("sidecars") };
    for (const key of ["initContainers", "sidecars"] as const) {
        if (names[key].length > mostCompanions) {
            throw new UserError(`${key} has ${names[key].length} names; there can be ${mostCompanions}`);
        }
    }
    const limit = read.integer("sidecarLimitSeconds", 60, 1, 3600);
    const exporters = [
        ...[credentialSecret, pullSecretName, read.text("maskSecret"), read.text("signingKeySecret")],
        ...[read.text("sinkSecret"), read.text("mirrorSecret"), read.text("imagePullSecret")],
    ];
    for (const [name, { volumes = {} }] of Object.entries(environments)) {
        for (const [volume, given] of Object.entries(volumes)) {
            if (given?.secret !== undefined && exporters.includes(given.secret)) {
                throw new UserError(
                    `environments.${name}.volumes.${volume}.secret is ${given.secret}, which is not for what a build can see`,
                );
            }
        }
    }
    return { environments, environment, companions: resolveCompanions(environments, names, limit, environment) };
}

/**
 * The configuration with what the build's environment says in the place of the stack's own keys.
 *
 * @throws UserError where the stack says what to run, or in which image, and the environment says it too. What has a default
 *     in Pulumi.yaml is always set, so that of these the environment's counts.
 */
export function withEnvironment(config: ConfigSource): ConfigSource {
    const { environment } = readEnvironmentSettings(config);
    if (!environment) {
        return config;
    }
    const { image, command, resources, security, name } = environment;
    const given = new Map([
        ["image", image || undefined],
        ["command", command.length > 0 ? JSON.stringify(command) : undefined],
        ["cpuRequest", resources.cpuRequest],
        ["memoryRequest", resources.memoryRequest],
        ["memoryLimit", resources.memoryLimit],
        ["runAsUser", security.runAsUser?.toString()],
    ]);
    const read = new Reader(config);
    const stacksOwn = { image: read.text("image") !== "", command: read.list("command").length > 0 };
    for (const key of ["image", "command"] as const) {
        if (stacksOwn[key] && given.get(key) !== undefined) {
            throw new UserError(
                `${key} is set, and the build's environment has one too (environments.${name}.${key}): leave one of them out`,
            );
        }
    }
    return { get: (key) => given.get(key) ?? config.get(key) };
}
