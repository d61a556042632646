// Runs the corpus on the Pulumi CLI, with the same expectations, and both engines in turn on one stack. Needs `pulumi` and
// the plugin `command` 1.2.1 on this machine; without them, nothing is run.
import * as assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

import { parse } from "yaml";

import { declareCorpus, type Driver } from "./corpus";
import { TestProject } from "./harness";

const cli: Driver = {
    isEmbedded: false,
    async prepare(project, secrets) {
        await must(project, "stack", "init", "dev");
        for (const [key, value] of Object.entries(secrets)) {
            await must(project, "config", "set", "--stack", "dev", "--secret", key, value);
        }
        adoptStackFile(project);
    },
    async perform(project, kind) {
        const flags =
            kind === "preview" ? [] : kind === "up" ? ["--yes", "--skip-preview"] : ["--yes", "--skip-preview"];
        const { code, output } = await project.pulumi(kind, "--stack", "dev", ...flags);
        return { succeeded: code === 0, errors: output };
    },
};

/** What the CLI has put into the stack's file stays there when the test changes it. */
function adoptStackFile(project: TestProject): void {
    const file = path.join(project.directory, "Pulumi.dev.yaml");
    const content = parse(fs.readFileSync(file, "utf8")) as {
        readonly encryptionsalt?: string;
        readonly config?: Readonly<Record<string, unknown>>;
    };
    project.encryptionSalt = content.encryptionsalt;
    const values = Object.entries(content.config ?? {}).map(([key, value]) => [key.split(":").at(-1), value]);
    project.configure(Object.fromEntries(values) as Record<string, unknown>);
}

async function must(project: TestProject, ...args: readonly string[]): Promise<string> {
    const { code, output } = await project.pulumi(...args);
    assert.equal(code, 0, `pulumi ${args.join(" ")}: ${output}`);
    return output;
}

const program = `
"use strict";
const { resource, step, Component } = require("./resources");
const pulumi = require("@pulumi/pulumi");
const command = require("@pulumi/command");
const a = resource("a", { value: \`a\${step}\`, key: 1 });
const provider = new command.Provider("mine");
new Component("c", (parent) => {
    resource("b", { value: a.stdout }, { parent, protect: false });
    return resource("d", { environment: { SECRET: pulumi.secret("open-sesame") } }, { parent, provider });
});
resource("e", { value: "e" }, { dependsOn: [a], additionalSecretOutputs: ["stdout"], ignoreChanges: ["stdin"], customTimeouts: { create: "5m" } });
exports.a = a.stdout;
exports.secret = pulumi.secret({ nested: ["open-sesame"] });
`;

const isThere = spawnSync("pulumi", ["version"]).status === 0;
(isThere ? describe : describe.skip)("the Pulumi CLI", function () {
    this.timeout(180_000);

    describe("carries out the corpus as the embedded engine does", () => declareCorpus(cli));

    describe("and the embedded engine", () => {
        let project: TestProject;
        beforeEach(() => (project = new TestProject(program)));
        afterEach(() => project.remove());

        it("finds a stack of the engine's as its own: no changes, its outputs and secrets, refresh, update, destroy", async () => {
            assert.equal((await project.run("up")).outcome, "succeeded");
            project.takeLog();
            await must(project, "preview", "--stack", "dev", "--expect-no-changes");
            const shown = await must(project, "stack", "output", "--stack", "dev", "--json", "--show-secrets");
            assert.deepEqual(JSON.parse(shown), { a: "a1", secret: { nested: ["open-sesame"] } });
            await must(project, "refresh", "--stack", "dev", "--yes", "--skip-preview", "--expect-no-changes");
            await must(project, "up", "--stack", "dev", "--yes", "--skip-preview", "--expect-no-changes");
            assert.deepEqual(project.takeLog(), []);
            adoptStackFile(project);
            project.configure({ step: 2 });
            await must(project, "up", "--stack", "dev", "--yes", "--skip-preview");
            assert.deepEqual(project.takeLog(), ["update a", "update b"]);
            assert.deepEqual((await project.run("preview")).steps, []);
            await must(project, "destroy", "--stack", "dev", "--yes", "--skip-preview");
            assert.deepEqual([...project.takeLog()].sort(), ["delete a", "delete b", "delete d", "delete e"]);
            assert.deepEqual(project.resources(), []);
        });

        it("leaves a stack that the engine finds as its own", async () => {
            await must(project, "stack", "init", "dev");
            adoptStackFile(project);
            await must(project, "up", "--stack", "dev", "--yes", "--skip-preview");
            project.takeLog();
            assert.deepEqual((await project.run("preview")).steps, []);
            const before = project.resources();
            const { outcome, steps } = await project.run("up");
            assert.deepEqual([outcome, steps], ["succeeded", []]);
            const ids = (resources: typeof before): readonly string[] => resources.map(({ id }) => id ?? "").sort();
            assert.deepEqual(ids(project.resources()), ids(before));
            assert.equal((await project.run("refresh")).outcome, "succeeded");
            await must(project, "preview", "--stack", "dev", "--expect-no-changes");
            project.configure({ step: 2 });
            assert.deepEqual((await project.run("up")).steps, ["update a", "update b"]);
            await must(project, "preview", "--stack", "dev", "--expect-no-changes");
            assert.equal((await project.run("destroy")).outcome, "succeeded");
            assert.deepEqual(project.names(), []);
        });

        it("exports what the engine imports, and imports what the engine exports", async () => {
            const { exportStack, importStack } = await import("../../engine/stackFiles");
            const { loadProject } = await import("../../engine/project");
            assert.equal((await project.run("up")).outcome, "succeeded");
            const load = loadProject(project.directory);
            for (const showSecrets of [false, true]) {
                const flags = showSecrets ? ["--show-secrets"] : [];
                const exported = await must(project, "stack", "export", "--stack", "dev", ...flags);
                await importStack(load, "dev", project.environment, exported);
                const own = project.file(
                    "own.json",
                    JSON.stringify(await exportStack(load, "dev", project.environment, showSecrets)),
                );
                await must(project, "stack", "import", "--stack", "dev", "--file", own);
                assert.ok(!project.checkpointText().includes("open-sesame"), "a secret is in the state");
                assert.deepEqual((await project.run("preview")).steps, []);
                await must(project, "preview", "--stack", "dev", "--expect-no-changes");
            }
        });

        it("honours the engine's lock, and the engine the CLI's", async () => {
            assert.equal((await project.run("up")).outcome, "succeeded");
            const { FileBackend } = await import("../../engine/backend");
            const backend = new FileBackend(path.join(project.directory, "state"));
            const unlock = backend.lock({ project: "test", stack: "dev" }, () => undefined);
            const refused = await project.pulumi("up", "--stack", "dev", "--yes", "--skip-preview");
            unlock();
            assert.notEqual(refused.code, 0);
            assert.ok(refused.output.includes("currently locked"), refused.output);
            project.file("index.js", `${program}\nresource("slow", { create: "sleep 4" });`);
            const slow = project.pulumi("up", "--stack", "dev", "--yes", "--skip-preview");
            const locks = path.join(project.directory, "state/.pulumi/locks/organization/test/dev");
            while (!fs.existsSync(locks) || fs.readdirSync(locks).length === 0) {
                await new Promise((resolve) => setTimeout(resolve, 50));
            }
            await assert.rejects(project.run("up"), /is locked by/);
            assert.equal((await slow).code, 0);
        });
    });
});
