import * as assert from "node:assert/strict";
import * as fs from "node:fs";

import { hashOf } from "../../engine/backend";
import { TestProject } from "../engine/harness";

const program = `
"use strict";
const { resource, step } = require("./resources");
const first = resource("first");
resource("slow", step > 1 ? {} : { create: 'trap "echo ended >> $CASE_LOG; exit 1" TERM; echo started >> "$CASE_LOG"; sleep 60 & wait' }, { dependsOn: [first] });
resource("after", {}, { dependsOn: [first] });
`;

describe("engine: an operation that does not come to its end", function () {
    this.timeout(30_000);
    let project: TestProject;
    beforeEach(() => (project = new TestProject(program)));
    afterEach(() => project.remove());

    it("is ended gracefully by an interrupt: commands are told, what was done is kept, what was not is on record", async () => {
        const interrupted = project.run("up", {
            interruptible: (interrupt) => {
                const wait = setInterval(() => {
                    if (
                        fs.existsSync(`${project.directory}/log`) &&
                        fs.readFileSync(`${project.directory}/log`, "utf8").includes("started")
                    ) {
                        clearInterval(wait);
                        interrupt();
                    }
                }, 20);
            },
        });
        const { outcome, errors } = await interrupted;
        assert.equal(outcome, "interrupted");
        assert.match(errors.join("\n"), /interrupted: running/);
        assert.ok(project.takeLog().includes("ended"), "the command was not told");
        assert.ok(project.names().includes("first"));
        assert.match(project.checkpointText(), /"pending_operations":\[\{"type":"creating"/);
        project.configure({ step: 2 });
        const next = await project.run("up");
        assert.equal(next.outcome, "succeeded", next.errors.join("\n"));
        assert.match(next.logs.join("\n"), /was interrupted while it created this resource/);
        assert.deepEqual([...project.names()].sort(), ["after", "first", "slow"]);
        assert.ok(!project.checkpointText().includes("pending_operations"));
    });

    it("leaves a journal when it is killed, which the next one takes over, but for a last line cut off", async () => {
        project.configure({ step: 2 });
        assert.equal((await project.run("up")).outcome, "succeeded");
        const content = fs.readFileSync(project.checkpointPath);
        const { checkpoint } = JSON.parse(content.toString("utf8")) as {
            checkpoint: { latest: { resources: { urn: string }[] } };
        };
        const { resources } = checkpoint.latest;
        const slot = resources.findIndex(({ urn }) => urn.endsWith("::after"));
        const journal = project.checkpointPath.replace(/json$/, "journal");
        const lines = [
            { journal: 1, checkpoint: hashOf(content) },
            { begin: 1, type: "deleting", resource: resources[slot] },
            { end: 1, drop: [slot] },
        ].map((line) => JSON.stringify(line));
        fs.writeFileSync(journal, `${lines.join("\n")}\n{"begin":2,"type":"del`);
        project.takeLog();
        const next = await project.run("up");
        assert.equal(next.outcome, "succeeded", next.errors.join("\n"));
        assert.match(next.logs.join("\n"), /journal has been taken over/);
        assert.deepEqual(next.steps, ["create after"]);
        assert.ok(!fs.existsSync(journal));
    });

    it("has its journal put aside, not applied, where another engine has changed the state since", async () => {
        project.configure({ step: 2 });
        assert.equal((await project.run("up")).outcome, "succeeded");
        const journal = project.checkpointPath.replace(/json$/, "journal");
        fs.writeFileSync(journal, `${JSON.stringify({ journal: 1, checkpoint: hashOf("another") })}\n{"drop":[0]}\n`);
        await assert.rejects(project.run("up"), /changed by another engine/);
        const aside = fs
            .readdirSync(`${project.directory}/state/.pulumi/stacks/test`)
            .filter((name) => name.endsWith(".unused"));
        assert.equal(aside.length, 1);
        assert.deepEqual((await project.run("up")).steps, []);
    });
});
