import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** The directory of the embedded platform and of the stacks' state: `$KE1_HOME`, by default `~/.local/share/ke1`. */
export function ke1Home(): string {
    const configured = process.env["KE1_HOME"];
    return configured ? resolve(configured) : join(homedir(), ".local", "share", "ke1");
}

/** Where the data of the services in the cluster are, a directory for each namespace. */
export function servicesDirectory(home: string = ke1Home()): string {
    return join(home, "services");
}

/** The sockets through which their pods reach API server and registry. */
export function gatewayDirectory(home: string = ke1Home()): string {
    return join(home, "gateway");
}
