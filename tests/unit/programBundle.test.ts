import * as assert from "node:assert/strict";
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";

import { buildSync } from "esbuild";

import { PreparedProgram } from "../../engine/preparedProgram";
import { ProgramBundle } from "../../engine/programBundle";
import { loadProject } from "../../engine/project";
import { projectDirectory } from "../helpers/ke1";
import { TemporaryDirectory } from "../helpers/temporary";

describe("the program's bundle", () => {
    const directory = new TemporaryDirectory();
    after(() => directory.remove());
    const main = "export function fails(): never {\n    throw new Error('no');\n}\nfails();\n";
    let root: string;
    let bundle: ProgramBundle;

    function file(name: string, content: string): string {
        const place = path.join(root, name);
        fs.mkdirSync(path.dirname(place), { recursive: true });
        fs.writeFileSync(place, content);
        return place;
    }

    function manifest(files: Readonly<Record<string, string>>): void {
        const inputs = Object.entries(files).map(([name, content]) => [name, sha256(content)]);
        file("dist/program.json", JSON.stringify({ id: "an id", inputs: Object.fromEntries(inputs) }));
    }

    let made = 0;
    beforeEach(() => {
        root = path.join(directory.path, `project-${made++}`);
        file("Pulumi.yaml", "name: test\nruntime: nodejs\n");
        file("main.ts", main);
        manifest({ "main.ts": main });
        bundle = new ProgramBundle(path.join(root, "dist", "program.js"));
    });

    it("serves while the files that went into it are as they were", () => {
        assert.equal(bundle.serves(loadProject(root), {}), "an id");
        file("main.ts", `${main}// later\n`);
        assert.equal(bundle.serves(loadProject(root), {}), undefined);
        file("main.ts", main);
        assert.equal(bundle.serves(loadProject(root), {}), "an id");
        fs.rmSync(path.join(root, "main.ts"));
        assert.equal(bundle.serves(loadProject(root), {}), undefined);
    });

    it("does not serve where it is not whole", () => {
        file("dist/program.json", '{"id": "an i');
        assert.equal(bundle.serves(loadProject(root), {}), undefined);
        fs.rmSync(path.join(root, "dist/program.json"));
        assert.equal(bundle.serves(loadProject(root), {}), undefined);
    });

    it("does not serve another project, also not one inside of its own", () => {
        file("inner/Pulumi.yaml", "name: inner\nruntime: nodejs\n");
        assert.equal(bundle.serves(loadProject(path.join(root, "inner")), {}), undefined);
        assert.equal(bundle.serves(loadProject(projectDirectory), {}), undefined);
    });

    it("does not serve where the sources are to be run in some other way", () => {
        for (const options of ["typescript: false", "tsconfig: other.json", "nodeargs: --inspect"]) {
            file("Pulumi.yaml", `name: test\nruntime: { name: nodejs, options: { ${options} } }\n`);
            assert.equal(bundle.serves(loadProject(root), {}), undefined, options);
        }
        file("Pulumi.yaml", "name: test\nruntime: nodejs\nmain: main.ts\n");
        assert.equal(bundle.serves(loadProject(root), {}), undefined);
        file("Pulumi.yaml", "name: test\nruntime: nodejs\n");
        assert.equal(bundle.serves(loadProject(root), { TRACEPARENT: "00-1-2-01" }), undefined);
        assert.equal(bundle.serves(loadProject(root), { PULUMI_DEBUG_PROMISE_LEAKS: "1" }), undefined);
    });

    it("has places in the sources shown for its own", () => {
        const outfile = path.join(root, "dist", "program.js");
        buildSync({ entryPoints: [path.join(root, "main.ts")], outfile, bundle: true, sourcemap: true });
        const lines = fs.readFileSync(outfile, "utf8").split("\n");
        const line = lines.findIndex((text) => text.includes("throw new"));
        const column = lines[line]!.indexOf("throw") + 1;
        const text = `Error: no\n  at fails (${outfile}:${line + 1}:${column})\n  of ${outfile}, and ${outfile}:1x`;
        assert.equal(
            bundle.readable(text),
            `Error: no\n  at fails (${root}/main.ts:2:5)\n  of ${outfile}, and ${outfile}:1x`,
        );
        // As `util.inspect` of Node.js colours the directory of the process.
        assert.equal(
            bundle.readable(`(\x1b[90m${root}/\x1b[39mdist/program.js:${line + 1}:${column})`),
            `(\x1b[90m${root}/\x1b[39mmain.ts:2:5)`,
        );
    });

    describe("a process that is started before it has anything to do", function () {
        this.timeout(60_000);
        const program = path.join(projectDirectory, "dist", "program.js");

        it("ends with whoever started it", async () => {
            const child = fork(program, { silent: true });
            child.disconnect();
            assert.deepEqual(await once(child, "exit"), [0, null]);
        });

        it("runs nothing of a bundle that was made anew", async () => {
            const child = new PreparedProgram(program, process.env).take({
                bundle: "another",
                arguments: [],
                environment: {},
            });
            assert.ok(child);
            let said = "";
            child.stderr?.on("data", (data: Buffer) => (said += data.toString()));
            assert.deepEqual(await once(child, "close"), [1, null]);
            assert.equal(said, "error: the program was made anew while this began; try again\n");
        });

        it("is not there any more once it has ended", async () => {
            const prepared = new PreparedProgram(path.join(root, "dist", "none.js"), process.env);
            const order = { bundle: "an id", arguments: [], environment: {} };
            const child = prepared.take(order);
            assert.ok(child);
            await once(child, "close");
            assert.equal(prepared.take(order), undefined);
        });
    });
});

function sha256(content: string): string {
    return createHash("sha256").update(content).digest("hex");
}
