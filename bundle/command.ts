import * as fs from "node:fs";
import * as path from "node:path";

import type { OutputFile } from "esbuild";
import { build, transform } from "esbuild";

import { parsedYaml } from "../engine/parsedYaml";

/*
 * Makes dist/ke1.js and the files that it loads: what several of its parts need, or what is loaded when it is needed, is in
 * chunks of its own, so that no command reads the clients of clusters and stores that it does not use. esbuild divides ECMAScript
 * modules only; they are made into CommonJS afterwards, which starts faster, and whose modules know their directory.
 */

const root = path.resolve(__dirname, "..");
const dist = path.join(root, "dist");
/** The chunks of the newest build: others are of processes that are still running. */
const manifest = path.join(dist, "chunks.json");

/** Each is loaded by its name. */
const entries = ["ke1", "main", "await", "awaitLauncher", "queueService"];
/** What few need stays in node_modules: Azure's logins, Kafka's client (which reads a file beside its code), OpenTelemetry. */
const external = ["@azure/identity", "@platformatic/kafka", "@opentelemetry/*"];

/** Milliseconds after which nothing that still runs is taken to need a chunk of an earlier build: a week. */
const chunkLifetime = 7 * 86_400_000;

const node = { platform: "node", target: "node22" } as const;

async function main(): Promise<void> {
    const { outputFiles } = await build({
        absWorkingDir: root,
        entryPoints: entries.map((entry) => `cli/${entry}.ts`),
        outdir: dist,
        chunkNames: "chunk-[hash]",
        ...node,
        ...{ bundle: true, splitting: true, format: "esm", sourcemap: "inline", sourcesContent: false, write: false },
        external: [...external, ...entries.map((entry) => `./${entry}.js`)],
        logLevel: "warning",
    });
    fs.mkdirSync(dist, { recursive: true });
    // The chunks first: a command that begins meanwhile finds what the entries name.
    const chunks = outputFiles.filter(({ path: file }) => path.basename(file).startsWith("chunk-"));
    await Promise.all(chunks.map(write));
    await Promise.all(outputFiles.filter((file) => !chunks.includes(file)).map(write));
    const names = chunks.map(({ path: file }) => path.basename(file)).sort();
    writeWhole(manifest, `${JSON.stringify(names, undefined, 1)}\n`);
    removeOld(new Set(names));
    const project = parsedYaml(fs.readFileSync(path.join(root, "Pulumi.yaml"), "utf8"));
    writeWhole(path.join(dist, "Pulumi.json"), JSON.stringify(project));
}

async function write({ path: file, text }: OutputFile): Promise<void> {
    const name = path.basename(file);
    // Its names would be those of `default`, and nobody who imports it expects that.
    if (/^export default require_/m.test(text)) {
        throw new Error("a package that is CommonJS is imported with import(): import it where it is used first");
    }
    const { code, map } = await transform(text, {
        ...node,
        ...{ format: "cjs", sourcefile: name, sourcemap: "external", sourcesContent: false, logLevel: "warning" },
        // As the modules were that it is made of.
        banner: '"use strict";',
    });
    // Another file of ours is CommonJS too, and need not go through Node.js's other loader.
    const required = code.replace(/\bimport\(("\.\/chunk-[^"]+")\)/g, "Promise.resolve().then(() => require($1))");
    writeWhole(`${file}.map`, map);
    writeWhole(file, `${required}//# sourceMappingURL=${name}.map\n`);
}

/** Whoever reads it meanwhile has the one before. */
function writeWhole(file: string, content: string): void {
    fs.writeFileSync(`${file}.part`, content);
    fs.renameSync(`${file}.part`, file);
}

function removeOld(current: ReadonlySet<string>): void {
    for (const name of fs.readdirSync(dist).filter((each) => each.startsWith("chunk-"))) {
        const file = path.join(dist, name);
        if (!current.has(name.replace(/\.map$/, "")) && Date.now() - fs.statSync(file).mtimeMs > chunkLifetime) {
            fs.rmSync(file);
        }
    }
}

main().catch((error: unknown) => {
    process.stderr.write(`dist/ke1.js: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
