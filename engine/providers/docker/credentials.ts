import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { messageOf, UserError } from "../../../contract/errors";

/** What a registry is told, as `X-Registry-Auth` has it. */
export interface RegistryCredential {
    readonly username?: string;
    readonly password?: string;
    readonly identitytoken?: string;
    readonly serveraddress: string;
}

interface DockerConfig {
    readonly auths?: Readonly<Record<string, { readonly auth?: string; readonly identitytoken?: string }>>;
    readonly credHelpers?: Readonly<Record<string, string>>;
    readonly credsStore?: string;
    readonly currentContext?: string;
}

const dockerHub = "https://index.docker.io/v1/";

/** The registry of an image's name; as Docker has it, an address for Docker Hub and a host name for all others. */
export function registryOf(imageName: string): string {
    const [first = "", ...rest] = imageName.split("/");
    const host = rest.length > 0 && (/[.:]/.test(first) || first === "localhost") ? first : "docker.io";
    return registryAddress(host);
}

export function registryAddress(server: string): string {
    const host = server.replace(/^https?:\/\//, "").split("/")[0] ?? server;
    return ["docker.io", "index.docker.io", "registry-1.docker.io"].includes(host) ? dockerHub : host;
}

export function readDockerConfig(environment: NodeJS.ProcessEnv): DockerConfig {
    const file = join(dockerConfigDirectory(environment), "config.json");
    return existsSync(file) ? readDockerConfigFile(file) : {};
}

/** @throws UserError where it cannot be read */
export function readDockerConfigFile(file: string): DockerConfig {
    try {
        return JSON.parse(readFileSync(file, "utf8")) as DockerConfig;
    } catch (error) {
        throw new UserError(`${file} cannot be read: ${messageOf(error)}`);
    }
}

export function dockerConfigDirectory(environment: NodeJS.ProcessEnv): string {
    return environment.DOCKER_CONFIG ?? join(environment.HOME ?? homedir(), ".docker");
}

/** The user's own credential for a registry: of its helper, of the store, or in the configuration; empty where there is none. */
export async function findCredential(address: string, environment: NodeJS.ProcessEnv): Promise<RegistryCredential> {
    return credentialIn(readDockerConfig(environment), address, environment);
}

/** The credential that a Docker configuration has for a registry. */
export async function credentialIn(
    config: DockerConfig,
    address: string,
    environment: NodeJS.ProcessEnv,
): Promise<RegistryCredential> {
    const { auths = {}, credHelpers = {}, credsStore } = config;
    const helper = credHelpers[address] ?? credsStore;
    if (helper !== undefined && helper !== "") {
        const found = await askHelper(helper, address, environment);
        if (found !== undefined) {
            return found;
        }
    }
    const entry = auths[address] ?? auths[`https://${address}`] ?? auths[`https://${address}/v1/`];
    const [username, ...password] = Buffer.from(entry?.auth ?? "", "base64")
        .toString("utf8")
        .split(":");
    return {
        serveraddress: address,
        ...(username ? { username, password: password.join(":") } : {}),
        ...(entry?.identitytoken ? { identitytoken: entry.identitytoken } : {}),
    };
}

/** The protocol of docker-credential-helpers: the server's address on standard input, JSON on standard output. */
async function askHelper(
    helper: string,
    address: string,
    environment: NodeJS.ProcessEnv,
): Promise<RegistryCredential | undefined> {
    const program = `docker-credential-${helper}`;
    const { error, stdout } = await new Promise<{ readonly error: Error | null; readonly stdout: string }>(
        (resolve) => {
            const child = execFile(program, ["get"], { env: environment, timeout: 30_000 }, (failure, output) =>
                resolve({ error: failure, stdout: output }),
            );
            child.stdin?.on("error", () => undefined).end(address);
        },
    );
    if (error !== null) {
        // Helpers say this where they have nothing for the server.
        if (/credentials not found/i.test(stdout + error.message)) {
            return undefined;
        }
        throw new UserError(
            `The credential helper ${program} failed for ${address}: ${(stdout || error.message).trim()}`,
        );
    }
    const { Username, Secret } = JSON.parse(stdout) as { readonly Username: string; readonly Secret: string };
    return Username === "<token>"
        ? { serveraddress: address, identitytoken: Secret }
        : { serveraddress: address, username: Username, password: Secret };
}
