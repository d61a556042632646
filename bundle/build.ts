import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import { build } from "esbuild";
import type { Metafile } from "esbuild";

import type { BundleManifest } from "../engine/programBundle";
import { lazyModules } from "./lazyModules";
import { places } from "./places";
import { replacements } from "./replacements";

/*
 * Makes dist/program.js: the program, the SDK and its runner in one file, so that a process is not two seconds old when it
 * begins (docs/engine.md). dist/program.json says what went into it: the embedded engine takes it only as long as that is so.
 */

const root = path.resolve(__dirname, "..");
const bundle = path.join(root, "dist", "program.js");
const manifest = path.join(root, "dist", "program.json");
const sdk = path.join(root, "node_modules", "@pulumi", "pulumi");

/** Not imported, and yet part of what the bundle is: which packages there are, and which file the program is. */
const alsoRead = ["package.json", "package-lock.json"];

/** Stands in the bundle until its id is known. */
const unnamed = "0".repeat(64);

async function main(): Promise<void> {
    // Whatever happens from here on, nobody takes half a bundle for a whole one.
    fs.rmSync(manifest, { force: true });
    const { metafile, outputFiles } = await build({
        absWorkingDir: root,
        entryPoints: ["bundle/entry.ts"],
        outfile: bundle,
        ...{ bundle: true, platform: "node", target: "node22", format: "cjs" },
        ...{ metafile: true, sourcemap: true, sourcesContent: false, logLevel: "error" },
        plugins: [replacements(root), lazyModules(sdk), places(root)],
        // Loaded, if ever, from where they are: the compiler, and what no program of the embedded engine can use.
        external: ["typescript", "ts-node", "@npmcli/arborist", "@pulumi/azure-native"],
        define: { KE1_BUNDLE_ID: JSON.stringify(unnamed) },
        write: false,
    });
    const files = [...sourcesOf(metafile), ...alsoRead].sort();
    const inputs = Object.fromEntries(files.map((file) => [file, sha256(fs.readFileSync(path.join(root, file)))]));
    const id = sha256(Buffer.concat(outputFiles.map(({ contents }) => contents)));
    for (const { path: file, text } of outputFiles) {
        fs.writeFileSync(file, file === bundle ? text.replace(unnamed, id) : text);
    }
    const content: BundleManifest = { id, inputs };
    fs.writeFileSync(`${manifest}.part`, JSON.stringify(content, undefined, 1));
    fs.renameSync(`${manifest}.part`, manifest);
}

/** The project's own files; the lock file stands for those of the packages. */
function sourcesOf({ inputs }: Metafile): readonly string[] {
    return Object.keys(inputs).filter((file) => !file.includes(":") && !file.startsWith("node_modules/"));
}

function sha256(content: Uint8Array): string {
    return createHash("sha256").update(content).digest("hex");
}

main().catch((error: unknown) => {
    process.stderr.write(`dist/program.js: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
