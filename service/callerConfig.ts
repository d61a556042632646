import { UserError } from "../contract/errors";
import { relativePath } from "../contract/patterns";
import type { BuildKind } from "./build";

/**
 * The keys of Pulumi.yaml that whoever asks for a build may set. All others - the cluster, the registry, the store, the
 * namespace, Secrets, who is told, the rules - are the service's own.
 */
export const callerKeys: ReadonlySet<string> = new Set([
    ...[
        "command",
        "artifacts",
        "artifactDirectory",
        "image",
        "dockerfile",
        "pipeline",
        "pipelineVariables",
        "sourceMode",
    ],
    ...["toolchainDockerfile", "environment", "environments", "initContainers", "sidecars", "logFiles", "metricsFile"],
    ...["cpuRequest", "memoryRequest", "memoryLimit", "memoryRetryLimit", "diskLimit", "retries", "extendedResources"],
    ...["nodeRequirements", "nodePreferences", "buildArgs"],
]);

/** What may be set of an image that is all there is to be built. */
const imageKeys: ReadonlySet<string> = new Set([
    "dockerfile",
    "buildArgs",
    "registry",
    "imageName",
    "imageTags",
    "imageLabels",
]);

/** @throws UserError for a key that a caller may not set. */
export function checkCallerConfig(config: Readonly<Record<string, unknown>>, kind: BuildKind = "build"): void {
    const allowed = kind === "image" ? imageKeys : callerKeys;
    const refused = Object.keys(config).filter((key) => !allowed.has(key));
    if (refused.length > 0) {
        throw new UserError(
            `config may not have ${refused.join(", ")}; what may be set: ${[...allowed].sort().join(", ")}`,
        );
    }
    const { pipeline } = config;
    if (pipeline !== undefined && pipeline !== "" && !(typeof pipeline === "string" && relativePath.test(pipeline))) {
        throw new UserError("config: pipeline must be a path in the service's project, such as pipeline.yaml");
    }
    if (config["registry"] === undefined && (config["imageName"] ?? config["imageTags"]) !== undefined) {
        throw new UserError(
            "config may have imageName and imageTags only with registry: in its own, the service names images",
        );
    }
    if (config["registry"] !== undefined && typeof config["registry"] !== "string") {
        throw new UserError("config: registry must be where the image is pushed to, such as ghcr.io/kerbodyne");
    }
}
