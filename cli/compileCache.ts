import { enableCompileCache } from "node:module";
import * as os from "node:os";
import * as path from "node:path";

/**
 * Compiled once, read from the cache afterwards: half of the start of every command. What is loaded after this call is
 * cached.
 */
export function keepCompiled(): void {
    const { KE1_CACHE, XDG_CACHE_HOME } = process.env;
    const cache = KE1_CACHE || path.join(XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "ke1");
    enableCompileCache(path.join(cache, "node"));
}
