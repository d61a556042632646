import * as fs from "node:fs";
import * as path from "node:path";

import type { Plugin } from "esbuild";

/** Gives each module its own `__dirname` and `__filename`, as they were before it went into the bundle. */
export function places(root: string): Plugin {
    return {
        name: "places",
        setup(build) {
            build.onLoad({ filter: /\.[jt]s$/, namespace: "file" }, async (args) => {
                const text = await fs.promises.readFile(args.path, "utf8");
                const used = ["__dirname", "__filename"].filter((name) => new RegExp(`\\b${name}\\b`).test(text));
                // The entry is to know where the bundle is.
                if (used.length === 0 || args.path === path.join(root, "bundle", "entry.ts")) {
                    return undefined;
                }
                const place = path.relative(root, args.path);
                const declared = used.map((name) => {
                    const value = name === "__dirname" ? path.dirname(place) : place;
                    return `const ${name} = require("node:path").join(globalThis.ke1ProjectRoot, ${JSON.stringify(value)});`;
                });
                // In the first line, so that the source map's lines stay right.
                return { contents: insert(text, declared.join(" ")), loader: args.path.endsWith(".ts") ? "ts" : "js" };
            });
        },
    };
}

/** Behind `"use strict"`, which must stay first. */
function insert(text: string, declarations: string): string {
    const directive = /^(?:#!.*\n)?\s*(["'])use strict\1;?/.exec(text)?.[0] ?? "";
    return `${directive}${declarations}${text.slice(directive.length)}`;
}
