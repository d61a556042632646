import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { DaemonSpec } from "./daemon";
import { gatewayDirectory, servicesDirectory } from "./home";
import { connectTo } from "./probes";
import type { Settings } from "./settings";

/** The gateway runs while there is a service. */
export function hasServices(home: string): boolean {
    const directory = servicesDirectory(home);
    return existsSync(directory) && readdirSync(directory).length > 0;
}

/**
 * The way of a service's pod to API server and registry, which listen on loopback only: a socket for each, in a directory
 * that is a volume. Builds' pods have no such volume, and so still reach neither.
 */
export function gatewaySpec(settings: Settings): DaemonSpec {
    const directory = gatewayDirectory(settings.home);
    // Beside the bundle that this is in; from platform/, the same.
    const program = resolve(__dirname, "..", "dist", "relay.js");
    const { api, registry } = settings.ports;
    const sockets = { kubernetes: join(directory, "kubernetes.sock"), registry: join(directory, "registry.sock") };
    const routes = [
        `unix:${sockets.kubernetes}=tcp:127.0.0.1:${api}`,
        `unix:${sockets.registry}=tcp:127.0.0.1:${registry}`,
    ];
    const content = existsSync(program) ? readFileSync(program) : "";
    return {
        name: "gateway",
        address: directory,
        version: () => Promise.resolve("-"),
        command: [process.execPath, program, ...routes],
        // Another clone's copy is as good.
        identity: ["gateway", createHash("sha256").update(content).digest("hex"), ...routes],
        listeners: [],
        probe: async () => {
            await Promise.all(Object.values(sockets).map(connectTo));
        },
        patienceMs: 1000,
    };
}
