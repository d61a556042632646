// Runs the corpus on the Pulumi CLI, with the same expectations, and both engines in turn on one stack. Needs `pulumi`, its
// plugins (`command` 1.2.1, `kubernetes` 4.34.2, `docker` 5.2.0), and the embedded platform; without `pulumi`, nothing is run.
import * as assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

import { parse } from "yaml";

import { platform } from "../helpers/ke1";
import { account, PrivateRegistry } from "../helpers/registry";

import { declareCorpus, type Driver } from "./corpus";
import { TestProject } from "./harness";
import { KubernetesTest } from "./kubernetesProject";

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

/** What this project's programs are made of: objects of many kinds, with and without names, and an image. */
const clusterProgram = `
const docker = require("@pulumi/docker");
const image = new docker.Image("image", {
    imageName: process.env.TEST_REGISTRY + "/image:" + step,
    build: { context: "context", args: { STEP: String(step) } },
    registry: { server: process.env.TEST_REGISTRY, username: "alice", password: pulumi.secret(process.env.TEST_PASSWORD) },
});
const provider = new k8s.Provider("mine", { kubeconfig: process.env.KUBECONFIG, namespace });
const data = { step: String(step), image: image.repoDigest };
const auto = new k8s.core.v1.ConfigMap("auto", { metadata: { namespace }, data });
new k8s.core.v1.ConfigMap("named", { metadata: named("named", { labels: { step: String(step) } }), data: { name: auto.metadata.name } });
const secret = new k8s.core.v1.Secret("secret", { metadata: named("secret"), stringData: { key: "open-sesame" } });
const resources = { limits: { memory: "2048Mi", cpu: "1000m" }, requests: { memory: "1Mi", cpu: 0.001 } };
new k8s.apps.v1.Deployment("none", deploymentOf("none", "true", { replicas: 0, resources }));
const skip = { annotations: { "pulumi.com/skipAwait": "true" } };
new k8s.apps.v1.Deployment("some", deploymentOf("some", "exec sleep " + (1000 + step), { metadata: skip }));
new k8s.batch.v1.Job("job", { metadata: { namespace }, spec: { template: { spec: podOf("exit 0 # " + step) } } });
class Component extends pulumi.ComponentResource {
    constructor(name, options) {
        super("test:index:Component", name, {}, options);
        const account = new k8s.core.v1.ServiceAccount("account", { metadata: { labels: { step: String(step) } } }, { parent: this });
        const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "role" };
        const subjects = [{ kind: "ServiceAccount", name: account.metadata.name, namespace }];
        new k8s.rbac.v1.RoleBinding("binding", { roleRef, subjects }, { parent: this });
        this.registerOutputs({ account: account.metadata.name });
    }
}
new Component("component", { providers: [provider] });
exports.digest = image.repoDigest;
exports.name = auto.metadata.name;
exports.key = secret.data.apply((data) => data.key);
exports.sealed = pulumi.secret({ nested: ["open-sesame"] });
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

    describe("and the embedded engine, on a cluster and a registry", () => {
        const cluster = new KubernetesTest("cli");
        let registry: PrivateRegistry;
        let project: TestProject;

        before(async () => {
            await cluster.create();
            registry = await PrivateRegistry.start();
        });
        after(async () => {
            await registry.stop();
            await cluster.remove();
        });
        beforeEach(() => {
            project = cluster.project(clusterProgram, {
                TEST_REGISTRY: registry.address,
                TEST_PASSWORD: account.password,
                DOCKER_HOST: platform().dockerHost,
            });
            project.file("context/Dockerfile", "FROM scratch\nARG STEP\nCOPY file /file\n");
            project.file("context/file", "a file");
        });
        afterEach(() => cluster.removeProjects());

        const engine = async (kind: "up" | "preview" | "refresh" | "destroy"): Promise<readonly string[]> => {
            const { outcome, errors, steps } = await project.run(kind);
            assert.equal(outcome, "succeeded", `the engine's ${kind}: ${errors.join("\n")}`);
            return steps;
        };
        const cli = (command: string, ...flags: readonly string[]): Promise<string> =>
            must(
                project,
                command,
                "--stack",
                "dev",
                ...(command === "preview" ? [] : ["--yes", "--skip-preview"]),
                ...flags,
            );
        const assertSame = async (): Promise<void> => {
            assert.deepEqual(await engine("preview"), [], "the engine finds changes");
            await cli("preview", "--expect-no-changes");
            const { stackOutputs } = await import("../../engine/stackFiles");
            const { loadProject } = await import("../../engine/project");
            const own = await stackOutputs(loadProject(project.directory), "dev", project.environment, true);
            const shown = await must(project, "stack", "output", "--stack", "dev", "--json", "--show-secrets");
            assert.deepEqual(JSON.parse(shown), JSON.parse(JSON.stringify(own)), "the outputs differ");
            for (const plain of ["open-sesame", Buffer.from("open-sesame").toString("base64"), account.password]) {
                assert.ok(!project.checkpointText().includes(plain), `${plain} is in the state`);
            }
        };
        const assertGone = async (): Promise<void> => {
            assert.deepEqual(project.names(), []);
            const kinds = "deployments,jobs,secrets,rolebindings,serviceaccounts,configmaps";
            const left = (await cluster.kubectl("get", kinds, "-o", "name")).split("\n").filter(Boolean);
            assert.deepEqual(left.sort(), ["configmap/kube-root-ca.crt", "serviceaccount/default"]);
        };

        it("finds a stack of the engine's as its own, changes it, and the engine finds that as its own", async () => {
            await engine("up");
            await assertSame();
            await cli("refresh", "--expect-no-changes");
            adoptStackFile(project);
            project.configure({ step: 2 });
            await cli("up");
            await assertSame();
            await engine("refresh");
            await assertSame();
            await cli("refresh", "--expect-no-changes");
            const { importStack } = await import("../../engine/stackFiles");
            const { loadProject } = await import("../../engine/project");
            const exported = await must(project, "stack", "export", "--stack", "dev");
            await importStack(loadProject(project.directory), "dev", project.environment, exported);
            await assertSame();
            await engine("destroy");
            await assertGone();
        });

        it("leaves a stack that the engine finds as its own, changes, and the CLI finds that as its own", async () => {
            await must(project, "stack", "init", "dev");
            adoptStackFile(project);
            await cli("up");
            await assertSame();
            await engine("refresh");
            project.configure({ step: 2 });
            await engine("up");
            await assertSame();
            const { exportStack } = await import("../../engine/stackFiles");
            const { loadProject } = await import("../../engine/project");
            const own = await exportStack(loadProject(project.directory), "dev", project.environment, false);
            const file = project.file("own.json", JSON.stringify(own));
            await must(project, "stack", "import", "--stack", "dev", "--file", file);
            await assertSame();
            await cli("destroy");
            await assertGone();
        });
    });
});
