import * as assert from "node:assert/strict";

import { runOperation } from "../../engine/operations";
import { loadProject } from "../../engine/project";
import { TestProject } from "../engine/harness";

const program = `
"use strict";
const packagerLoaded = () => Object.keys(require.cache).some((file) => file.includes("@npmcli/arborist/"));
exports.packagerLoadedBefore = packagerLoaded();
const pulumi = require("@pulumi/pulumi");
exports.packagerLoaded = packagerLoaded();
const { debuggablePromise } = require("@pulumi/pulumi/runtime/debuggable");
const made = Promise.resolve();
void debuggablePromise(made, "of the test");
exports.stackOfPromise = /\\n +at /.test(made._debugStackTrace);
exports.stackOfError = /\\n +at .*index\\.js:/.test(new Error("of the test").stack);
exports.positions = pulumi.Resource.callsites().length;
exports.packager = typeof require("@npmcli/arborist").Arborist;
void pulumi.log.debug("for debugging");
void pulumi.log.info("for everybody");
if (process.env.LEAK) {
    void debuggablePromise(new Promise(() => undefined), "that never ends");
}
`;

const expected = {
    packagerLoadedBefore: false,
    packagerLoaded: false,
    stackOfPromise: false,
    stackOfError: true,
    positions: 0,
    packager: "function",
};

describe("engine: what is loaded into the program's process", function () {
    this.timeout(60_000);
    let project: TestProject;
    afterEach(() => project.remove());

    it("spares the SDK what nobody reads; errors keep their stacks, and the user's messages come", async () => {
        project = new TestProject(program);
        const messages: string[] = [];
        const { outcome, outputs } = await runOperation({
            kind: "preview",
            project: loadProject(project.directory),
            stack: "dev",
            environment: project.environment,
            parallel: 16,
            emit: (event) => {
                if (event.kind === "log") {
                    messages.push(event.message);
                }
            },
        });
        assert.equal(outcome, "succeeded", messages.join("\n"));
        assert.deepEqual(outputs, expected);
        assert.deepEqual(messages, ["for everybody"]);
    });

    it("leaves the promises their stacks where leaks are to be found", async () => {
        project = new TestProject(program, { environment: { PULUMI_DEBUG_PROMISE_LEAKS: "1", LEAK: "1" } });
        const { outcome, outputs, logs } = await project.run("preview");
        assert.equal(outcome, "failed");
        assert.deepEqual(outputs, { ...expected, stackOfPromise: true });
        assert.match(logs.join("\n"), /CONTEXT\(\d+\): that never ends\nSTACK_TRACE:\n.*\n +at /);
    });

    it("does not hide a promise that never ends", async () => {
        project = new TestProject(program, { environment: { LEAK: "1" } });
        const { outcome, logs } = await project.run("preview");
        assert.equal(outcome, "failed");
        assert.match(logs.join("\n"), /detected that 1 promise was still active/);
    });
});
