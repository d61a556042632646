import * as assert from "node:assert/strict";
import * as path from "node:path";

import { describeChanges } from "../../engine/display";
import { changeOf, type Step } from "../../engine/steps";
import { TestProject } from "../engine/harness";
import { ke1, projectDirectory, run } from "../helpers/ke1";
import { Screen } from "../helpers/screen";

const program = `
"use strict";
const { resource, step, Component } = require("./resources");
const pulumi = require("@pulumi/pulumi");
const password = new pulumi.Config().requireSecret("password");
console.log("the program speaks in \\u001b[31mred\\u001b[0m, and says open-sesame");
resource("slow", { create: "sleep 2.6" });
new Component("c", (parent) => {
    for (let i = 0; i < 14; i++) {
        resource(\`r\${i}\`, {}, { parent });
    }
    return resource("sealed", { environment: { PASSWORD: password }, create: 'echo it is $PASSWORD', logging: "stdout" }, { parent });
});
if (step === 2) {
    // The program goes on for a while after the failure, since \`slow\` is still under way.
    const late = Array.from({ length: 40 }, (_, i) => new pulumi.ComponentResource("test:index:Late", \`late\${i}\`));
    late.forEach((component, i) => setTimeout(() => component.registerOutputs({}), 10 * i));
    resource("failing", { create: "echo it was open-sesame; exit 3", logging: "stdoutAndStderr" });
}
exports.password = password;
`;

describe("engine: what an operation shows", function () {
    this.timeout(60_000);
    let project: TestProject;
    beforeEach(async () => {
        project = new TestProject(program);
        const { createSecrets } = await import("../../engine/secrets");
        const { state, crypter } = await createSecrets(project.environment.PULUMI_CONFIG_PASSPHRASE ?? "");
        project.encryptionSalt = state;
        project.configure({ password: { secure: crypter.encrypt("open-sesame") } });
    });
    afterEach(() => project.remove());

    /** Runs `ke1` on a terminal of that size; what came out of it. */
    async function onTerminal(command: string, columns: number, rows: number, color = true): Promise<string> {
        const ke1Path = path.join(projectDirectory, "bin", "ke1");
        const line = `stty cols ${columns} rows ${rows}; exec ${ke1Path} ${command} --cwd ${project.directory}`;
        const environment = { ...project.environment, TERM: "xterm", NO_COLOR: color ? "" : "1" };
        const { stdout } = await run("script", ["-qec", line, "/dev/null"], environment);
        return stdout;
    }

    it("is, on a terminal, a tree that is drawn over itself, with lines above it that stay, and the summary", async () => {
        const output = await onTerminal("up", 80, 30);
        const { lines, redrawn } = new Screen(output, 80, 30);
        const shown = lines.join("\n");
        assert.ok(redrawn > 2, `drawn over itself ${redrawn} times`);
        assert.match(output, /slow .*creating.*\(1\.\d s\)/, "a step's time goes on while it lasts");
        for (const name of ["slow", "c", "r0", "r13", "sealed"]) {
            const rows = lines.filter((line) => new RegExp(`^\\+ +${name} `).test(line));
            assert.equal(rows.length, 1, `${name} in:\n${shown}`);
            assert.match(rows[0] ?? "", /created \(\d+\.\d s\)$/);
        }
        assert.match(shown, /^the program speaks in red, and says \[secret\]$/m);
        assert.match(output, /\x1b\[31mred\x1b\[0m/, "colors stay on a terminal");
        assert.match(shown, /\n\nResources: \+ 18 created, \d+\.\d s\n\npassword: "\[secret\]"\n$/);
        assert.ok(!output.includes("open-sesame"), "a secret is shown");
    });

    it("fits, on a small terminal, in its lines and columns; without colors where they are not wanted", async () => {
        const output = await onTerminal("up", 40, 10, false);
        const { lines } = new Screen(output, 40, 10);
        assert.match(output, /and \d+ more/);
        assert.ok(!/\x1b\[[0-9;]*m/.test(output), "there are colors");
        assert.match(lines.join("\n"), /\n\nResources: \+ 18 created, /);
        assert.ok(
            lines.some((line) => /^\+ {4}r13 .*…$/.test(line)),
            lines.join("\n"),
        );
        const again = new Screen(await onTerminal("preview", 40, 10, false), 40, 10);
        assert.match(again.lines.join("\n"), /^Preview: 18 unchanged, \d+\.\d s$/m);
    });

    it("tells on a terminal of a failure, below the tree, once", async () => {
        project.configure({ step: 2 });
        const output = await onTerminal("up", 100, 40);
        const shown = new Screen(output, 100, 40).lines.join("\n");
        assert.match(shown, /^\+ {2}failing command:local:Command failed \(/m);
        assert.equal(shown.split("exit status 3").length, 2, shown);
        assert.match(shown, /Errors:\n {2}error: command:local:Command failing: /);
        assert.match(shown, /\n\nResources: failed: \+ \d+ created, /);
        assert.ok(!/UNAVAILABLE|failed to deliver/.test(shown), "what the SDK says of the end of its connection");
        assert.ok(!output.includes("open-sesame"), "a secret is shown");
    });

    it("is, in a pipe, a line for each change, without any escape sequence", async () => {
        const { code, stdout, stderr } = await ke1(["up", "--cwd", project.directory], project.environment);
        assert.equal(code, 0, stderr);
        const lines = stderr.split("\n");
        assert.equal(lines.filter((line) => /^\+ {2}\S+ \S+ created \(\d+\.\d s\)$/.test(line)).length, 16, stderr);
        assert.equal(
            lines
                .filter((line) => / slow /.test(line))
                .join("\n")
                .replace(/\d\.\d/g, "2.6"),
            slowLines,
        );
        assert.ok(lines.includes("the program speaks in red, and says [secret]"), stderr);
        assert.match(stderr, /\n\nResources: \+ 18 created, \d+\.\d s\n$/);
        assert.equal(stdout, '\npassword: "[secret]"\n');
        project.configure({ step: 2 });
        const failed = await ke1(["up", "--cwd", project.directory], project.environment);
        assert.match(failed.stderr, /Errors:\n {2}error: command:local:Command failing: /);
        for (const text of [stdout, stderr, failed.stderr]) {
            assert.ok(!text.includes("\x1b"), "an escape sequence in a pipe");
            assert.ok(!text.includes("open-sesame"), "a secret is shown");
        }
    });
});

const slowLines = `+  command:local:Command slow creating\n+  command:local:Command slow created (2.6 s)`;

describe("engine: what a summary counts", () => {
    const step = (op: Step["op"], more: Partial<Step> = {}): Step => ({
        op,
        urn: "urn:pulumi:dev::p::a:b:C::c",
        type: "a:b:C",
        ...more,
    });

    it("is what the Pulumi CLI counts: a replacement once, what is read where it has changed, no default provider", () => {
        const provider = "urn:pulumi:dev::p::pulumi:providers:a";
        assert.equal(changeOf(step("create", { urn: `${provider}::default_1_2_3` })), undefined);
        assert.equal(changeOf(step("create", { urn: `${provider}::mine` })), "create");
        assert.equal(changeOf(step("create-replacement")), "replace");
        assert.equal(changeOf(step("delete-replaced")), undefined);
        assert.equal(changeOf(step("remove-pending-replace")), undefined);
        assert.deepEqual(
            (["same", "update", "delete"] as const).map((found) => changeOf(step("refresh"), found)),
            ["same", "update", "delete"],
        );
        assert.equal(changeOf(step("read"), "same"), undefined);
        assert.equal(changeOf(step("read"), "update"), "read");
        assert.equal(changeOf(step("read", { pendingDelete: true }), "update"), "replace");
    });

    it("is said in the order in which it matters; reading is no change", () => {
        const changes = { same: 7, delete: 1, create: 3, replace: 2, update: 1, read: 4, discard: 1 };
        const expected = "+ 3 created, ~ 1 updated, +- 2 replaced, - 1 deleted, 7 unchanged";
        assert.equal(describeChanges(changes, false), expected);
        assert.equal(describeChanges({ create: 1 }, true), "+ 1 to create");
        assert.equal(describeChanges({ read: 1 }, false), "0 unchanged");
    });
});
