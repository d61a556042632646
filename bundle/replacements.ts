import * as fs from "node:fs";
import * as path from "node:path";

import type { Plugin } from "esbuild";

/** Text of the SDK that takes time with every promise: a stack that is printed where PULUMI_DEBUG_PROMISE_LEAKS is set, and not here. */
const stacks = { file: /[\\/]@pulumi[\\/]pulumi[\\/]runtime[\\/]debuggable\.js$/, text: "value: new Error().stack" };

/** Modules that the runner has for what a program of this engine never does, and what is in the bundle instead. */
export function replacements(root: string): Plugin {
    const runner = /[\\/]@pulumi[\\/]pulumi[\\/]cmd[\\/]run[\\/](index|run)\.js$/;
    const instead: Readonly<Record<string, string>> = {
        "./tracing": "sdkTracing.ts",
        // A debugger in each process, for programs whose functions are made into text.
        "../../runtime/closure/v8Hooks": "sdkHooks.ts",
        // The engine finds the lines of the sources where an error is shown, and not for each stack there is.
        "source-map-support/register": "nothing.ts",
    };
    return {
        name: "replacements",
        setup(build) {
            const missing = new Set(Object.keys(instead));
            build.onResolve({ filter: /tracing$|v8Hooks$|^source-map-support\/register$/ }, (args) => {
                const file = instead[args.path];
                if (file === undefined || !runner.test(args.importer)) {
                    return undefined;
                }
                missing.delete(args.path);
                return { path: path.join(root, "bundle", file) };
            });
            build.onLoad({ filter: stacks.file }, async (args) => {
                const text = await fs.promises.readFile(args.path, "utf8");
                return text.includes(stacks.text)
                    ? { contents: text.replace(stacks.text, "value: undefined") }
                    : { errors: [{ text: `there is no "${stacks.text}" any more` }] };
            });
            build.onEnd(() =>
                // Another version of the SDK may have other modules: better no bundle than a slow one that nobody notices.
                missing.size === 0
                    ? undefined
                    : { errors: [{ text: `the SDK's runner does not import ${[...missing].join(", ")} any more` }] },
            );
        },
    };
}
