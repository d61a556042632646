import * as fs from "node:fs";
import { getCompileCacheDir } from "node:module";
import * as path from "node:path";

import { PreparedProgram } from "../engine/preparedProgram";
import type { serveAwaits } from "./awaitLauncher";
import { keepCompiled } from "./compileCache";
import { prepared } from "./prepared";

/* eslint-disable @typescript-eslint/no-require-imports */

/** The program of this project is started right away, and loads its modules while this process loads its own. */
function prepareProgram(): void {
    const bundle = path.join(__dirname, "program.js");
    const isOfThisProject = !process.argv.some((argument) => /^(-C|--cwd)/.test(argument));
    if (["up", "preview"].includes(process.argv[2] ?? "") && isOfThisProject && fs.existsSync(bundle)) {
        const environment = { ...process.env, NODE_COMPILE_CACHE: getCompileCacheDir() ?? "" };
        prepared.program = new PreparedProgram(bundle, environment);
    }
}

if (process.argv.length === 3 && process.argv[2] === "await") {
    // So small that there is nothing to be kept.
    require("./await.js");
} else {
    keepCompiled();
    if (process.argv.length === 3 && process.argv[2] === "await-launcher") {
        (require("./awaitLauncher.js") as { readonly serveAwaits: typeof serveAwaits }).serveAwaits();
    } else {
        prepareProgram();
        require("./main.js");
    }
}
