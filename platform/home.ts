import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** The directory of the embedded platform and of the stacks' state: `$KE1_HOME`, by default `~/.local/share/ke1`. */
export function ke1Home(): string {
    const configured = process.env["KE1_HOME"];
    return configured ? resolve(configured) : join(homedir(), ".local", "share", "ke1");
}
