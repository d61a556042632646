import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as path from "node:path";

import { TestProject } from "../engine/harness";
import { kubectl, platform, projectDirectory } from "../helpers/ke1";

const kills = Number(process.env.KE1_TEST_KILLS ?? 50);

/**
 * Objects that come, change, are replaced and go, with and without names of their own: what each step of the program wants
 * follows from the step.
 */
const program = `
"use strict";
const k8s = require("@pulumi/kubernetes");
const pulumi = require("@pulumi/pulumi");
const step = new pulumi.Config().requireNumber("step");
const namespace = process.env.TEST_NAMESPACE;
const labels = { test: "kill" };
const first = new k8s.core.v1.ConfigMap("first", { metadata: { namespace, labels }, data: { step: String(Math.floor(step / 3)) } });
for (let i = 0; i < 12; i++) {
    if ((i + step) % 4 !== 0) {
        // Its data cannot be changed: it is replaced, under another name.
        new k8s.core.v1.ConfigMap(\`auto-\${i}\`, { metadata: { namespace, labels }, data: { step: String(step % 2), first: first.metadata.name } });
    }
    if ((i + step) % 3 !== 0) {
        // Under the same name: it is deleted first.
        new k8s.core.v1.ConfigMap(\`named-\${i}\`, { metadata: { namespace, labels, name: \`named-\${i}\` }, data: { step: String(Math.floor(step / 2)) } });
    }
    if (i % 2 === 0) {
        new k8s.core.v1.ServiceAccount(\`account-\${i}\`, { metadata: { namespace, labels: { ...labels, step: String(step) } } });
    }
}
`;

describe("engine: killed at random moments", function () {
    this.timeout(600_000);
    const namespace = `tmp-engine-kill-${process.pid}`;
    let project: TestProject;

    before(async () => {
        await kubectl("create", "namespace", namespace);
        const { kubeconfig } = platform();
        project = new TestProject(program, { environment: { TEST_NAMESPACE: namespace, KUBECONFIG: kubeconfig } });
    });
    after(async () => {
        project.remove();
        await kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false");
    });

    /** Runs `ke1 up`, and kills it after so many milliseconds; whether it was still running then. */
    async function upKilledAfter(milliseconds: number): Promise<boolean> {
        const ke1 = path.join(projectDirectory, "bin", "ke1");
        const child = spawn(ke1, ["up", "--parallel", "4", "--cwd", project.directory], {
            env: project.environment,
            stdio: "ignore",
        });
        const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
        const timer = setTimeout(() => child.kill("SIGKILL"), milliseconds);
        await ended;
        clearTimeout(timer);
        return child.signalCode === "SIGKILL";
    }

    async function inCluster(): Promise<readonly string[]> {
        const output = await kubectl(
            "get",
            "configmaps,serviceaccounts",
            "-n",
            namespace,
            "-l",
            "test=kill",
            "-o",
            "json",
        );
        const { items } = JSON.parse(output) as {
            readonly items: readonly { readonly kind: string; readonly metadata: { readonly name: string } }[];
        };
        return items.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();
    }

    function inState(): readonly string[] {
        return project
            .resources()
            .filter(({ type }) => type.startsWith("kubernetes:"))
            .map(({ type, id }) => `${type.split(":").at(-1) ?? ""} ${(id ?? "").split("/").at(-1) ?? ""}`)
            .sort();
    }

    it(`goes on from where it was, ${kills} times: nothing twice, nothing forgotten`, async () => {
        let killed = 0;
        for (let attempt = 0; killed < kills; attempt++) {
            assert.ok(attempt < kills * 4, "the operations end before they can be killed");
            project.configure({ step: Math.floor(attempt / 2) });
            // The program registers its first resource about half a second after the start.
            killed += (await upKilledAfter(350 + Math.random() * 900)) ? 1 : 0;
            if (attempt % 10 === 9) {
                // In between, one comes through: then state and cluster have to agree.
                const { outcome, errors } = await project.run("up");
                assert.equal(outcome, "succeeded", errors.join("\n"));
                assert.deepEqual(await inCluster(), inState(), `after ${killed} kills`);
            }
        }
        const { outcome, errors } = await project.run("up");
        assert.equal(outcome, "succeeded", errors.join("\n"));
        assert.deepEqual(await inCluster(), inState());
        assert.deepEqual((await project.run("up")).steps, [], "there is nothing left to do");
        const destroyed = await project.run("destroy");
        assert.equal(destroyed.outcome, "succeeded", destroyed.errors.join("\n"));
        assert.deepEqual([await inCluster(), inState()], [[], []]);
    });
});
