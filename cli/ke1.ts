import { keepCompiled } from "./compileCache";
import type { serveAwaits } from "./awaitLauncher";

/* eslint-disable @typescript-eslint/no-require-imports */
if (process.argv.length === 3 && process.argv[2] === "await") {
    // So small that there is nothing to be kept.
    require("./await.js");
} else {
    keepCompiled();
    if (process.argv.length === 3 && process.argv[2] === "await-launcher") {
        (require("./awaitLauncher.js") as { readonly serveAwaits: typeof serveAwaits }).serveAwaits();
    } else {
        require("./main.js");
    }
}
