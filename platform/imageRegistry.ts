import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import type { DaemonSpec } from "./daemon";
import { readIfThere, writePrivateFile } from "./files";
import { requireProgram } from "./packages";
import { expectStatus, get } from "./probes";
import { registryDirectory, secretOf } from "./registry";
import { run } from "./run";
import type { Settings } from "./settings";

/** Who builds images in the cluster is to the registry. */
export interface ImageRegistryCredential {
    readonly username: string;
    readonly password: string;
}

const username = "ke1-image-builder";

/** The registry as pods reach it, on the bridge's address. */
export function imageRegistryName(settings: Settings): string {
    return `${settings.pods.address}:${settings.ports.imageRegistry}`;
}

/** A JSON file `{ "username": ..., "password": ... }`, 0600. */
export function imageRegistryCredentialFile(settings: Settings): string {
    return join(settings.home, "credentials", "image-registry.json");
}

/**
 * The second door of the registry, for pods that build images: the same images, and a password, which the registry on the
 * loopback needs not. All pods can reach the bridge's address, and none but those are to change an image.
 */
export async function imageRegistrySpec(settings: Settings): Promise<DaemonSpec> {
    const program = requireProgram("docker-registry");
    const directory = join(settings.home, "image-registry");
    const config = join(directory, "config.yaml");
    const passwords = join(directory, "htpasswd");
    const [host, port] = [settings.pods.address, settings.ports.imageRegistry];
    const content = stringify({
        version: "0.1",
        log: { level: "warn", accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: join(registryDirectory(settings), "data") } },
        auth: { htpasswd: { realm: "ke1", path: passwords } },
        http: { addr: `${host}:${port}`, secret: secretOf(registryDirectory(settings)) },
    });
    const files = [
        { path: config, content },
        { path: passwords, content: await passwordFile(passwords, ensureCredential(settings)) },
    ];
    return {
        name: "image-registry",
        address: imageRegistryName(settings),
        version: async () => (await run([program, "--version"])).trim().split(" ").pop() ?? "",
        command: [program, "serve", config],
        files,
        directories: [directory],
        listeners: [{ host, port, variable: "KE1_IMAGE_REGISTRY_PORT" }],
        probe: async () => expectStatus(await get(`http://${host}:${port}/v2/`), 401),
        patienceMs: 3000,
    };
}

function ensureCredential(settings: Settings): ImageRegistryCredential {
    const path = imageRegistryCredentialFile(settings);
    const found = readIfThere(path);
    if (found !== undefined) {
        return JSON.parse(found) as ImageRegistryCredential;
    }
    const made = { username, password: randomBytes(32).toString("base64url") };
    writePrivateFile(path, JSON.stringify(made));
    return made;
}

/**
 * A line of htpasswd(1), with bcrypt, the only hash that the registry takes. The C library has it, and Perl, which every
 * Debian has, passes it on. The least cost is enough: the password is 256 random bits.
 */
async function passwordFile(path: string, credential: ImageRegistryCredential): Promise<string> {
    const known = readIfThere(path) ?? "";
    // The salt that is there makes the same line again, and so no restart.
    const salt = /:(\$2b\$04\$.{22})/.exec(known)?.[1] ?? `$2b$04$${randomBytes(22).toString("hex").slice(0, 21)}u`;
    const program = "print crypt($ENV{KE1_PASSWORD}, $ENV{KE1_SALT})";
    const hash = await run(["perl", "-e", program], {
        env: { PATH: process.env["PATH"], KE1_PASSWORD: credential.password, KE1_SALT: salt },
    });
    if (!hash.startsWith(salt)) {
        throw new Error("this machine's C library has no bcrypt (libxcrypt): images cannot be built in the cluster");
    }
    return `${credential.username}:${hash}\n`;
}
