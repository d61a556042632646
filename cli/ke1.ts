import { enableCompileCache } from "node:module";
import * as path from "node:path";

import { ke1Home } from "../platform/home";

// Compiled once, read from the cache afterwards: half of the start of every command. Kept apart from main.ts, because only
// what is loaded after this call is cached.
enableCompileCache(path.join(ke1Home(), "cache", "node"));
// eslint-disable-next-line @typescript-eslint/no-require-imports
require("./main.js");
