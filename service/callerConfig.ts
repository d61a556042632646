import { UserError } from "../contract/errors";

/**
 * The keys of Pulumi.yaml that whoever asks for a build may set. All others - the cluster, the registry, the store, the
 * namespace, Secrets, who is told, the rules - are the service's own.
 */
export const callerKeys: ReadonlySet<string> = new Set([
    ...["command", "artifacts", "artifactDirectory", "image", "dockerfile", "pipeline", "pipelineVariables", "sourceMode"],
    ...["toolchainDockerfile", "environment", "environments", "initContainers", "sidecars", "logFiles", "metricsFile"],
    ...["cpuRequest", "memoryRequest", "memoryLimit", "memoryRetryLimit", "diskLimit", "retries", "extendedResources"],
    ...["nodeRequirements", "nodePreferences"],
]);

/** @throws UserError for a key that a caller may not set. */
export function checkCallerConfig(config: Readonly<Record<string, unknown>>): void {
    const refused = Object.keys(config).filter((key) => !callerKeys.has(key));
    if (refused.length > 0) {
        throw new UserError(
            `config may not have ${refused.join(", ")}; what may be set: ${[...callerKeys].sort().join(", ")}`,
        );
    }
}
