import { createHash } from "node:crypto";

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
    if (hasCiphertext(config)) {
        throw new UserError("config may not have values that are encrypted: their key is the service's own stack's");
    }
    checkEnvironments(config["environments"]);
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

/** A container of the caller's that mounts a Secret of the namespace could print it: the pull credential, for one. */
function checkEnvironments(given: unknown): void {
    const environments: unknown = typeof given === "string" ? parsed(given) : given;
    for (const [name, environment] of entriesOf(environments)) {
        for (const [volume, source] of entriesOf((environment as Given | undefined)?.["volumes"])) {
            const names = ["secret", "configMap"].filter((kind) => entriesOf(source).some(([key]) => key === kind));
            if (names.length > 0) {
                throw new UserError(
                    `config: environments.${name}.volumes.${volume} may have no ${names.join(" and no ")}: ` +
                        "that is for the service's own stack",
                );
            }
        }
    }
}

/** As Pulumi writes a value of a stack's file that only its passphrase opens: `{"secure": "v1:..."}`. */
function hasCiphertext(value: unknown): boolean {
    return entriesOf(value).some(([key, inner]) => key === "secure" || hasCiphertext(inner));
}

/** What decides a build's result besides its tree and its command, which is all that a manifest is compared by. */
const decidesResult = [
    ...["image", "dockerfile", "toolchainDockerfile", "sourceMode", "buildArgs", "artifacts", "artifactDirectory"],
    ...["environment", "environments", "initContainers", "sidecars"],
];

/**
 * A build that somebody asks for in another way than the service's stack would be another build, under a BUILD_TAG of its
 * own: what is made in an image of the caller's must not stand for what was made in the one that others expect.
 *
 * @returns what is added to the BUILD_TAG; empty where nothing of the kind is set
 */
export function ownTagSuffix(config: Readonly<Record<string, unknown>>, caller: string): string {
    const own = decidesResult.filter((key) => config[key] !== undefined).map((key) => [key, config[key]]);
    return own.length === 0
        ? ""
        : `-${createHash("sha256")
              .update(JSON.stringify([caller, own]))
              .digest("hex")
              .slice(0, 8)}`;
}

type Given = Readonly<Record<string, unknown>>;

function entriesOf(value: unknown): readonly (readonly [string, unknown])[] {
    return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

function parsed(text: string): unknown {
    try {
        return JSON.parse(text);
    } catch {
        throw new UserError("config: environments must be a map of environments");
    }
}
