import * as path from "node:path";

import type { Plugin } from "esbuild";

/**
 * Modules of the SDK that are loaded with it, and that hardly any program needs: they stay in the bundle, and are loaded when
 * one of their exports is used. The value says how their exports are reached.
 */
const rarelyUsed: Readonly<Record<string, "property" | "function">> = {
    "automation/index.js": "property",
    "provider/index.js": "property",
    // Its exports are copied when the SDK is loaded, and all of them are functions.
    "runtime/closure/serializeClosure.js": "function",
    "runtime/closure/codePaths.js": "function",
};

const access = {
    property: "real()[name]",
    function: "(...args) => real()[name](...args)",
} as const;

/** Puts the loading of the SDK's rarely used modules off until they are used. */
export function lazyModules(sdk: string): Plugin {
    const namespace = "lazy";
    return {
        name: namespace,
        setup(build) {
            build.onResolve({ filter: /^\.\.?\/.*(automation|provider|serializeClosure|codePaths)$/ }, async (args) => {
                if (args.pluginData === namespace || !args.importer.startsWith(sdk)) {
                    return undefined;
                }
                const { path: file } = await build.resolve(args.path, {
                    kind: args.kind,
                    importer: args.importer,
                    resolveDir: args.resolveDir,
                    pluginData: namespace,
                });
                const found = path.relative(sdk, file);
                // What belongs to one of them loads it for good.
                const within = path.dirname(path.relative(sdk, args.importer));
                return found in rarelyUsed && within !== path.dirname(found) ? { path: file, namespace } : undefined;
            });
            build.onLoad({ filter: /.*/, namespace }, (args) => {
                const how = rarelyUsed[path.relative(sdk, args.path)] ?? "property";
                return {
                    resolveDir: path.dirname(args.path),
                    contents: [
                        `const real = () => require(${JSON.stringify(args.path)});`,
                        `const get = (_, name) => name === "__esModule" ? true : ${access[how]};`,
                        "module.exports = new Proxy({}, { get });",
                    ].join("\n"),
                };
            });
        },
    };
}
