import * as assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

import { projectDirectory, TemporaryStack } from "../helpers/ke1";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

/** The SDK is told which tsconfig.json to use, which is not for the bundle to know: the sources are run. */
const bySources = { PULUMI_NODEJS_TSCONFIG_PATH: "tsconfig.json" };

describe("the program, from its bundle and from its sources", function () {
    this.timeout(300_000);
    const repository = new TemporaryRepository();
    const copy = new TemporaryDirectory();
    const stack = new TemporaryStack("bundle", {
        source: repository.path,
        command: ["sh", "-c", "mkdir -p bin; echo built > bin/result"],
        cpuRequest: "10m",
    });

    before(() => {
        repository.file("Dockerfile", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nWORKDIR /src\nRUN chown 65532:65532 .\n");
        repository.commit("first");
        const left = ["node_modules", ".git", ".ke1", "tests", "bench", "docs"].map((name) =>
            path.join(projectDirectory, name),
        );
        fs.cpSync(projectDirectory, copy.path, { recursive: true, filter: (file) => !left.includes(file) });
        fs.symlinkSync(path.join(projectDirectory, "node_modules"), path.join(copy.path, "node_modules"));
        fs.appendFileSync(path.join(copy.path, "dist", "program.js"), '\nprocess.stderr.write("by the bundle\\n");\n');
    });
    after(async () => {
        await stack.remove();
        copy.remove();
        repository.remove();
    });

    /** In the copy, whose files can be changed. */
    function preview(...more: readonly string[]): { readonly status: number | null; readonly stderr: string } {
        const { status, stderr } = spawnSync(
            path.join(copy.path, "bin", "ke1"),
            ["preview", "--stack", stack.name, ...more],
            { cwd: copy.path, env: { ...process.env, ...stack.environment, KE1_PROJECT: "" }, encoding: "utf8" },
        );
        return { status, stderr };
    }

    it("is the same: what the one has brought up, the other finds unchanged", async () => {
        const up = await stack.ke1(["up"]);
        assert.equal(up.code, 0, up.stderr);
        const again = await stack.ke1(["up"], bySources);
        assert.match(again.stderr, /^Resources: \d+ unchanged/m);
        const preview = await stack.ke1(["preview"]);
        assert.match(preview.stderr, /^Preview: \d+ unchanged/m);
        assert.equal(again.stdout, up.stdout);
    });

    it("is run from the bundle, unless one of its sources was changed", () => {
        for (const more of [[], ["--cwd", copy.path]]) {
            const { status, stderr } = preview(...more);
            assert.equal(status, 0, stderr);
            assert.match(stderr, /by the bundle/);
        }
        const index = path.join(copy.path, "index.ts");
        const content = fs.readFileSync(index, "utf8");
        fs.appendFileSync(index, "\n// changed\n");
        try {
            const { status, stderr } = preview();
            assert.equal(status, 0, stderr);
            assert.match(stderr, /^Preview: /m);
            assert.doesNotMatch(stderr, /by the bundle/);
        } finally {
            fs.writeFileSync(index, content);
        }
    });

    it("shows an error once, with the lines of its sources", () => {
        const script = path.join(copy.path, "exporter", "wrapper", "wrap.sh");
        const content = fs.readFileSync(script, "utf8");
        fs.rmSync(script);
        try {
            const { status, stderr } = preview();
            assert.equal(status, 1);
            assert.match(stderr, /by the bundle/);
            assert.equal(stderr.match(/ENOENT: no such file or directory, open/g)?.length, 1, stderr);
            const lines = fs.readFileSync(path.join(copy.path, "index.ts"), "utf8").split("\n");
            const [, line] = /\(?\S*\/index\.ts:(\d+):\d+/.exec(stderr) ?? [];
            assert.match(lines[Number(line) - 1] ?? stderr, /"wrapper", "wrap\.sh"/);
            // What the bundle has of its own has no place in the sources.
            assert.doesNotMatch(stderr.replace(/at __\w+ .*/g, ""), /program\.js:/);
        } finally {
            fs.writeFileSync(script, content);
        }
    });
});
