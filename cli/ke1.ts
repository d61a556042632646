import * as fs from "node:fs";
import { enableCompileCache, getCompileCacheDir } from "node:module";
import * as os from "node:os";
import * as path from "node:path";

import { PreparedProgram } from "../engine/preparedProgram";
import { prepared } from "./prepared";

// Compiled once, read from the cache afterwards: half of the start of every command. Kept apart from main.ts, because only
// what is loaded after this call is cached.
const cache =
    process.env["KE1_CACHE"] || path.join(process.env["XDG_CACHE_HOME"] || path.join(os.homedir(), ".cache"), "ke1");
enableCompileCache(path.join(cache, "node"));

// The program of this project is started right away, and loads its modules while this process loads its own.
const bundle = path.join(__dirname, "program.js");
const isOfThisProject = !process.argv.some((argument) => /^(-C|--cwd)/.test(argument));
if (["up", "preview"].includes(process.argv[2] ?? "") && isOfThisProject && fs.existsSync(bundle)) {
    prepared.program = new PreparedProgram(bundle, { ...process.env, NODE_COMPILE_CACHE: getCompileCacheDir() ?? "" });
}
// eslint-disable-next-line @typescript-eslint/no-require-imports
require("./main.js");
