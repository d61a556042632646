import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { DaemonSpec } from "./daemon";
import { readIfThere, writePrivateFile } from "./files";
import { get } from "./probes";
import type { Settings } from "./settings";

const account = "ke1dev";

export function blobEndpoint(settings: Settings): string {
    return `http://${settings.pods.address}:${settings.ports.blob}/${account}`;
}

export function blobCredentialFile(settings: Settings): string {
    return join(settings.home, "credentials", "blob.json");
}

/** Microsoft's emulator of Azure Blob, with an account key of this platform's own. */
export function azuriteSpec(settings: Settings): DaemonSpec {
    const main = createRequire(__filename).resolve("azurite/dist/src/blob/main.js");
    const { version } = JSON.parse(readFileSync(azuritePackage(main), "utf8")) as { readonly version: string };
    const directory = join(settings.home, "azurite");
    const args = [
        ...["--blobHost", settings.pods.address],
        ...["--blobPort", String(settings.ports.blob)],
        ...["--location", directory],
        ...["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--disableProductStyleUrl"],
    ];
    return {
        name: "azurite",
        address: blobEndpoint(settings),
        version: () => Promise.resolve(version),
        command: [process.execPath, main, ...args],
        // Another clone's copy of the same version is as good.
        identity: ["azurite", version, ...args],
        env: {
            AZURITE_ACCOUNTS: `${account}:${ensureKey(settings)}`,
            NODE_COMPILE_CACHE: join(settings.cacheDir, "node"),
        },
        directories: [directory],
        listeners: [{ host: settings.pods.address, port: settings.ports.blob, variable: "KE1_BLOB_PORT" }],
        probe: async () => {
            const server = (await get(blobEndpoint(settings))).headers["server"];
            if (typeof server !== "string" || !server.startsWith("Azurite-Blob")) {
                throw new Error("something else answers there");
            }
        },
        patienceMs: 10_000,
    };
}

function ensureKey(settings: Settings): string {
    const path = blobCredentialFile(settings);
    const found = readIfThere(path);
    if (found !== undefined) {
        return (JSON.parse(found) as { readonly key: string }).key;
    }
    const key = randomBytes(64).toString("base64");
    writePrivateFile(path, JSON.stringify({ account, key }) + "\n");
    return key;
}

function azuritePackage(main: string): string {
    return join(dirname(main), "..", "..", "..", "package.json");
}
