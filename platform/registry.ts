import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import type { DaemonSpec } from "./daemon";
import { readIfThere, writePrivateFile } from "./files";
import { requireProgram } from "./packages";
import { expectStatus, get } from "./probes";
import { run } from "./run";
import type { Settings } from "./settings";

export function registryName(settings: Settings): string {
    return `localhost:${settings.ports.registry}`;
}

export function registryDirectory(settings: Settings): string {
    return join(settings.home, "registry");
}

export function registrySpec(settings: Settings): DaemonSpec {
    const program = requireProgram("docker-registry");
    const directory = registryDirectory(settings);
    const config = join(directory, "config.yaml");
    const port = settings.ports.registry;
    const content = stringify({
        version: "0.1",
        log: { level: "warn", accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: join(directory, "data") }, delete: { enabled: true } },
        http: { addr: `127.0.0.1:${port}`, secret: secretOf(directory) },
    });
    return {
        name: "registry",
        address: registryName(settings),
        version: async () => (await run([program, "--version"])).trim().split(" ").pop() ?? "",
        command: [program, "serve", config],
        files: [{ path: config, content }],
        directories: [directory],
        listeners: [{ host: "127.0.0.1", port, variable: "KE1_REGISTRY_PORT" }],
        probe: async () => expectStatus(await get(`http://127.0.0.1:${port}/v2/`), 200),
        patienceMs: 3000,
    };
}

/** Signs the state of uploads under way. */
export function secretOf(directory: string): string {
    const path = join(directory, "secret");
    const found = readIfThere(path);
    if (found !== undefined) {
        return found;
    }
    const made = randomBytes(32).toString("hex");
    writePrivateFile(path, made);
    return made;
}
