import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

import { type Outcome, TestProject } from "../engine/harness";
import { Gate } from "../helpers/gate";
import { platform, projectDirectory } from "../helpers/ke1";
import { account, PrivateRegistry } from "../helpers/registry";
import { TemporaryDirectory } from "../helpers/temporary";

/** Builds what is in `context`; its registry's credential is given where it is in the configuration. */
const program = `
"use strict";
const docker = require("@pulumi/docker");
const pulumi = require("@pulumi/pulumi");
const { resource } = require("./resources");
const config = new pulumi.Config();
const server = process.env.TEST_REGISTRY;
const password = config.getSecret("password");
const registry = { server, ...(password ? { username: "alice", password } : {}) };
const build = { context: "context", args: { FROM: config.get("from") ?? "scratch" } };
const image = new docker.Image("image", { imageName: server + "/" + config.require("name"), build, registry });
exports.digest = image.repoDigest;
if (config.getBoolean("slow")) {
    resource("slow", { create: 'echo started >> "$CASE_LOG"; while test -e "$CASE_LOG"; do sleep 0.2; done' }, { dependsOn: [image] });
}
`;

describe("engine: images of a registry that wants a password", function () {
    this.timeout(120_000);
    let registry: PrivateRegistry;
    let home: TemporaryDirectory;
    let project: TestProject;

    before(async () => (registry = await PrivateRegistry.start()));
    after(() => registry.stop());
    beforeEach(async () => {
        home = new TemporaryDirectory();
        project = new TestProject(program, {
            environment: {
                DOCKER_HOST: platform().dockerHost,
                DOCKER_CONFIG: home.path,
                TEST_REGISTRY: registry.address,
                PATH: `${home.path}/bin:${process.env.PATH ?? ""}`,
            },
        });
        project.file("context/Dockerfile", "ARG FROM\nFROM ${FROM}\nCOPY file /file\n");
        project.file("context/file", `${Math.random()}`);
        const { createSecrets } = await import("../../engine/secrets");
        const { state, crypter } = await createSecrets(project.environment.PULUMI_CONFIG_PASSPHRASE ?? "");
        project.encryptionSalt = state;
        giveSecret = (password) => project.configure({ password: { secure: crypter.encrypt(password) } });
    });
    afterEach(() => {
        project.remove();
        home.remove();
    });
    let giveSecret: (password: string) => void;

    const dockerConfig = (content: object): string => home.file("config.json", JSON.stringify(content));
    const pair = (password: string): string => Buffer.from(`${account.username}:${password}`).toString("base64");
    const base64 = Buffer.from(account.password).toString("base64");
    const assertUnseen = (...texts: readonly string[]): void => {
        for (const plain of [
            account.password,
            base64,
            pair(account.password),
            "wrong-password",
            pair("wrong-password"),
        ]) {
            assert.ok(!texts.some((text) => text.includes(plain)), `the password can be read: ${plain}`);
        }
    };
    const everything = ({ errors, logs }: Outcome): readonly string[] => {
        const files = fs.readdirSync(path.join(project.directory, "state"), { recursive: true, encoding: "utf8" });
        const contents = files
            .map((file) => path.join(project.directory, "state", file))
            .filter((file) => fs.statSync(file).isFile())
            .map((file) => fs.readFileSync(file, "utf8"));
        return [...errors, ...logs, ...contents];
    };
    const assertNothingToDo = async (): Promise<void> => {
        const { outcome, errors, steps } = await project.run("up");
        assert.deepEqual([outcome, errors, steps], ["succeeded", [], []]);
    };
    const pushed = async (name: string, outcome: Outcome): Promise<void> => {
        assert.equal(outcome.outcome, "succeeded", outcome.errors.join("\n"));
        const { digest } = outcome.outputs;
        assert.ok(typeof digest === "string");
        assert.match(digest, new RegExp(`^${registry.address}/${name}@sha256:[0-9a-f]{64}$`));
        assert.ok(await registry.has(name, digest.split("@")[1] ?? ""), "the digest is not that of the registry");
        assert.ok(await registry.has(name, "1"));
        assertUnseen(...everything(outcome));
        await assertNothingToDo();
    };
    const refused = (outcome: Outcome, message: RegExp): void => {
        assert.equal(outcome.outcome, "failed");
        assert.equal(outcome.errors.length, 1);
        assert.match(outcome.errors[0] ?? "", message);
        assertUnseen(...everything(outcome));
        assert.deepEqual(project.names(), []);
    };
    const unauthorized = /^The image localhost:\d+\/\S+ could not be pushed: [^\n]*(unauthorized|no basic auth)[^\n]*$/;

    it("are pushed with the credential that the program gives; another password is no reason to build again", async () => {
        giveSecret(account.password);
        project.configure({ name: "given:1" });
        await pushed("given", await project.run("up"));
        giveSecret("wrong-password");
        await assertNothingToDo();
        project.file("context/file", "changed");
        const failed = await project.run("up");
        assert.match(failed.errors.join("\n"), unauthorized);
        assertUnseen(...everything(failed));
        giveSecret(account.password);
        assert.deepEqual((await project.run("up")).steps, ["update image"]);
    });

    it("are pushed with what the registry's credential helper says, which is asked for this registry", async () => {
        const asked = path.join(home.path, "asked");
        const answer = JSON.stringify({
            ServerURL: registry.address,
            Username: account.username,
            Secret: account.password,
        });
        home.file(
            "bin/docker-credential-test",
            `#!/bin/sh\nread -r server\necho "$1 $server" >> '${asked}'\ncat <<'END'\n${answer}\nEND\n`,
            0o755,
        );
        dockerConfig({ credHelpers: { [registry.address]: "test" }, credsStore: "absent" });
        project.configure({ name: "helped:1" });
        await pushed("helped", await project.run("up"));
        assert.match(fs.readFileSync(asked, "utf8"), new RegExp(`^(get ${registry.address}\n)+$`));
        dockerConfig({ credsStore: "test" });
        project.configure({ name: "stored:1" });
        await pushed("stored", await project.run("up"));
    });

    it("are pushed with what is in Docker's own configuration", async () => {
        dockerConfig({ auths: { [registry.address]: { auth: pair(account.password) } } });
        project.configure({ name: "configured:1" });
        await pushed("configured", await project.run("up"));
    });

    it("are refused in one line, which does not say the password, where it is wrong, or there is none", async () => {
        project.configure({ name: "refused:1" });
        refused(await project.run("up"), unauthorized);
        dockerConfig({ auths: { [registry.address]: { auth: pair("wrong-password") } } });
        refused(await project.run("up"), unauthorized);
        giveSecret("wrong-password");
        refused(await project.run("up"), unauthorized);
        home.file(
            "bin/docker-credential-broken",
            "#!/bin/sh\necho wrong-password >&2\necho the store is locked\nexit 1\n",
            0o755,
        );
        dockerConfig({ credsStore: "broken" });
        project.configure({ password: undefined });
        refused(
            await project.run("up"),
            /^The credential helper docker-credential-broken failed for localhost:\d+: the store is locked$/,
        );
    });

    describe("where the registry fails", () => {
        let failures = 0;
        let refusals = 0;
        let gate: Gate;

        before(async () => {
            gate = await Gate.before(`http://${registry.address.replace("localhost", "127.0.0.1")}`, "127.0.0.1");
            gate.rule = ({ method, url }) => {
                if (method !== "PUT" || !/\/manifests\//.test(url ?? "") || failures === 0) {
                    return undefined;
                }
                failures--;
                refusals++;
                return { status: 500, code: "InternalError" };
            };
        });
        after(() => gate.close());
        beforeEach(() => {
            refusals = 0;
            project.environment.TEST_REGISTRY = `localhost:${gate.port}`;
            giveSecret(account.password);
        });
        afterEach(() => registry.forget(`${project.environment.TEST_REGISTRY}/flaky:1`));

        it("are pushed again", async () => {
            failures = 2;
            project.configure({ name: "flaky:1" });
            const outcome = await project.run("up");
            assert.equal(outcome.outcome, "succeeded", outcome.errors.join("\n"));
            assert.equal(refusals, 2);
            const { digest } = outcome.outputs;
            assert.ok(typeof digest === "string");
            assert.ok(await registry.has("flaky", digest.split("@")[1] ?? ""));
            await assertNothingToDo();
        });

        it("are given up after five tries, in one line", async () => {
            failures = Infinity;
            project.configure({ name: "flaky:1" });
            refused(
                await project.run("up"),
                /^The image localhost:\d+\/flaky:1 could not be pushed: received unexpected HTTP status: 500[^\n]*$/,
            );
            assert.equal(refusals, 5);
        });
    });

    it("are built on an image of such a registry", async () => {
        giveSecret(account.password);
        project.configure({ name: "base:1" });
        await pushed("base", await project.run("up"));
        const base = `${registry.address}/base:1`;
        await registry.forget(base);
        project.configure({ name: "derived:1", from: base });
        await pushed("derived", await project.run("up"));
        await registry.forget(base);
        // With what Docker has, too: the program need not know of the base image's registry.
        dockerConfig({ auths: { [registry.address]: { auth: pair(account.password) } } });
        project.configure({ name: "again:1", password: undefined });
        await pushed("again", await project.run("up"));
    });

    it("leave no password in the journal of an operation that is killed", async () => {
        giveSecret(account.password);
        project.configure({ name: "killed:1", slow: true });
        const ke1 = path.join(projectDirectory, "bin", "ke1");
        const child = spawn(ke1, ["up", "--cwd", project.directory], { env: project.environment, stdio: "ignore" });
        const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
        const log = path.join(project.directory, "log");
        while (child.exitCode === null && !(fs.existsSync(log) && fs.readFileSync(log, "utf8").includes("started"))) {
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        child.kill("SIGKILL");
        await ended;
        const journal = fs.readFileSync(project.checkpointPath.replace(/json$/, "journal"), "utf8");
        assert.match(journal, /docker:index\/image:Image/);
        assertUnseen(journal);
        project.configure({ slow: false });
        const outcome = await project.run("up");
        assert.equal(outcome.outcome, "succeeded", outcome.errors.join("\n"));
        assertUnseen(...everything(outcome));
        assert.deepEqual(project.names(), ["image"]);
    });
});
