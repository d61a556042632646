import * as fs from "node:fs";
import * as path from "node:path";

import type { BuildRequest, BuildSecrets } from "./build";
import type { ServiceSettings } from "./settings";

/** Whose image it is: a caller that names a registry gives the credential for it, or none is used. */
export const ownRegistryKeys = ["registry", "imageName"] as const;
/** Of the base stack's: not for anybody's registry. */
const ownCredentialKeys = ["ke-1-build:registryUsername", "ke-1-build:registryPassword"];

interface Credential {
    readonly username: string;
    readonly password: string;
}

export function pushCredential(secrets: BuildSecrets): Credential | undefined {
    return credentialOf(secrets, "registry");
}

/** For a source that is an image. */
export function pullCredential(secrets: BuildSecrets): Credential | undefined {
    return credentialOf(secrets, "pull");
}

/** As `pushCredential` and `pullCredential` find them. */
export function credentialSecrets(kind: "registry" | "pull", credential: Credential | undefined): BuildSecrets {
    return credential ? { [`${kind}_username`]: credential.username, [`${kind}_password`]: credential.password } : {};
}

function credentialOf(secrets: BuildSecrets, kind: string): Credential | undefined {
    const [username, password] = [secrets[`${kind}_username`], secrets[`${kind}_password`]];
    return username && password ? { username, password } : undefined;
}

/** A build's configuration with what the service says of images: over the base stack's, below the request's. */
export function withImageConfig(
    base: Readonly<Record<string, unknown>>,
    { noCache, extraBuildArgs }: Pick<ServiceSettings, "noCache" | "extraBuildArgs">,
    request: BuildRequest,
): Readonly<Record<string, unknown>> {
    const args = [base["ke-1-build:buildArgs"], extraBuildArgs, request.config["buildArgs"]];
    const buildArgs = Object.assign({}, ...args) as Readonly<Record<string, unknown>>;
    const ownRegistry = request.config["registry"] === undefined;
    return {
        ...Object.fromEntries(Object.entries(base).filter(([key]) => ownRegistry || !ownCredentialKeys.includes(key))),
        ...(request.kind === "image" ? { "ke-1-build:imageOnly": true } : {}),
        ...(noCache ? { "ke-1-build:noCache": true } : {}),
        ...(Object.keys(buildArgs).length === 0 ? {} : { "ke-1-build:buildArgs": buildArgs }),
    };
}

/**
 * What the launcher of an image's build is given beside its configuration: the credential, which is in no file so, and a
 * Docker configuration without any of the service's own where it is to push to somebody's registry.
 */
export function imageEnvironment(
    request: BuildRequest,
    secrets: BuildSecrets,
    buildDirectory: string,
): NodeJS.ProcessEnv {
    const shows = request.kind === "image" ? { KE1_ALL_OUTPUT: "1" } : {};
    if (request.config["registry"] === undefined) {
        return shows;
    }
    const { username = "", password = "" } = pushCredential(secrets) ?? {};
    const directory = path.join(buildDirectory, "docker");
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    return { ...shows, REGISTRY_USERNAME: username, REGISTRY_PASSWORD: password, DOCKER_CONFIG: directory };
}
