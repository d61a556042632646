import { enableCompileCache } from "node:module";
import * as os from "node:os";
import * as path from "node:path";

// Compiled once, read from the cache afterwards: half of the start of every command. Kept apart from main.ts, because only
// what is loaded after this call is cached.
const cache =
    process.env["KE1_CACHE"] || path.join(process.env["XDG_CACHE_HOME"] || path.join(os.homedir(), ".cache"), "ke1");
enableCompileCache(path.join(cache, "node"));
// eslint-disable-next-line @typescript-eslint/no-require-imports
require("./main.js");
