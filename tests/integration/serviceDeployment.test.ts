import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { slotRules } from "../../components/slotRole";
import { buildTagLabel } from "../../contract/labels";
import { servicesDirectory } from "../../platform/home";
import { addToken } from "../../service/tokens";
import { GitServer } from "../helpers/gitServer";
import { kubectl, platform, TemporaryStack } from "../helpers/ke1";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

/** A build, as the service's answers have it. */
interface Build {
    readonly id: string;
    readonly state: string;
    readonly namespace?: string;
    readonly outcome?: string;
    readonly message?: string;
    readonly buildTag?: string;
}

/** A service in the cluster: a stack of its own, its pod, and builds that are asked for over HTTP. */
describe("a service in the cluster", function () {
    this.timeout(300_000);
    const user = 65_532;
    const directory = new TemporaryDirectory();
    const repository = new TemporaryRepository();
    let server: GitServer;
    let stack: TemporaryStack;
    let token: string;

    before(async () => {
        server = await GitServer.start(new URL(platform().blobEndpoint).hostname);
        const tokens = path.join(directory.path, "tokens");
        token = addToken(tokens, "ci", "builds:read,builds:write");
        stack = new TemporaryStack("svc", {
            service: {
                command: "serve",
                parallel: 1,
                arguments: ["--local-sources"],
                tokens: [fs.readFileSync(tokens, "utf8").trim()],
                builds: { image: platform().baseImage, sourceMode: "mirror" },
            },
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
    });
    after(async () => {
        const destroyed = await stack.ke1(["destroy", "--yes"]);
        await stack.remove();
        // Where `destroy` could not.
        await kubectl("delete", "namespace", slot(), "--ignore-not-found", "--wait=false");
        const volumes = ["data", "gateway"].map((what) => `ke1-${what}-${stack.namespace}`);
        await kubectl("delete", "persistentvolume", ...volumes, "--ignore-not-found", "--wait=false");
        const rules = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        await kubectl("delete", rules, `ke1-${slot()}`, "--ignore-not-found");
        await server.stop();
        repository.remove();
        directory.remove();
        const left = fs.existsSync(data());
        fs.rmSync(data(), { recursive: true, force: true });
        assert.equal(destroyed.code, 0, destroyed.stderr);
        assert.equal(left, false, "its data are gone");
    });

    const slot = () => `${stack.namespace}-builds-0`;
    const data = () => path.join(servicesDirectory(), stack.namespace);
    const account = () => `system:serviceaccount:${stack.namespace}:ke1-service`;

    async function call(method: string, route: string, body?: unknown): Promise<Response> {
        const address = await kubectl(
            ...["get", "pods", "--namespace", stack.namespace, "--output", "jsonpath={.items[*].status.podIP}"],
        );
        return fetch(`http://${address.split(" ").at(-1)}:9000${route}`, {
            method,
            headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
    }

    /** A commit that is in the pod, and at the remote that its origin is: the build's pod fetches it from there. */
    async function commit(content: string): Promise<string> {
        repository.file("content", content);
        const tag = repository.commit();
        await server.push(repository, "source");
        const source = path.join(data(), "source");
        fs.rmSync(source, { recursive: true, force: true });
        execFileSync("git", ["clone", "--quiet", repository.path, source]);
        execFileSync("git", ["-C", source, "remote", "set-url", "origin", server.address("source")]);
        execFileSync("chown", ["-R", `${user}:${user}`, source]);
        return tag;
    }

    async function launch(script: string): Promise<Build> {
        const answer = await call("POST", "/v1/builds", {
            source: "/data/source",
            config: { command: ["sh", "-c", script] },
        });
        assert.equal(answer.status, 202, await answer.clone().text());
        return (await answer.json()) as Build;
    }

    /** The service may be away for a while. */
    async function until(id: string, is: (build: Build) => boolean): Promise<Build> {
        for (let attempt = 0; attempt < 240; attempt++) {
            const build = await call("GET", `/v1/builds/${id}`)
                .then(async (answer) => (await answer.json()) as Build)
                .catch(() => undefined);
            if (build && is(build)) {
                return build;
            }
            await sleep(500);
        }
        throw new Error(`the build ${id} got nowhere`);
    }
    const hasEnded = ({ state }: Build) => !["queued", "running"].includes(state);

    it("launches a build in one of its namespaces, and gives its artifacts", async () => {
        const tag = await commit("1\n");
        const { id } = await launch("mkdir -p bin && cp content bin/ && ls /var/run/secrets/kubernetes.io 2>&1; true");
        const build = await until(id, hasEnded);
        assert.equal(build.state, "succeeded", build.message);
        assert.equal(build.namespace, slot());
        assert.equal(build.buildTag, tag);
        assert.equal((await stack.blob(`${tag}/bin/content`)).toString(), "1\n");
        const log = await (await call("GET", `/v1/builds/${id}/log`)).text();
        assert.match(log, /ke1: source: cloning http/);
        assert.match(log, /cannot access '\/var\/run\/secrets\/kubernetes.io'/, "the build has no token");
        const artifacts = await (await call("GET", `/v1/builds/${id}/artifacts`)).text();
        assert.match(artifacts, /"content"/);
    });

    it("takes a build up again after its pod was killed", async () => {
        const tag = await commit("2\n");
        const { id } = await launch(
            "mkdir -p bin; i=0; while [ $i -lt 15 ]; do i=$((i+1)); echo tick $i; sleep 1; done; cp content bin/",
        );
        // The Job of the build before may still be there.
        const ofThisBuild = ["--namespace", slot(), "--selector", `${buildTagLabel}=${tag}`];
        const jobs = async () =>
            (await kubectl("get", "jobs", ...ofThisBuild, "--output", "jsonpath={.items[*].metadata.uid}")).trim();
        for (let attempt = 0; attempt < 120 && (await jobs()) === ""; attempt++) {
            await sleep(500);
        }
        const before = await jobs();
        assert.notEqual(before, "");
        const pods = ["--namespace", stack.namespace, "--selector", "app.kubernetes.io/component=service"];
        await kubectl("delete", "pod", ...pods, "--grace-period=0", "--force");
        await until(id, () => true);
        assert.equal(await jobs(), before, "the Job of before goes on");
        const build = await until(id, hasEnded);
        assert.equal(build.state, "succeeded", build.message);
        const log = await (await call("GET", `/v1/builds/${id}/log`)).text();
        assert.equal(log.match(/^tick 1$/gm)?.length, 1, "it ran once");
        assert.equal((await stack.blob(`${tag}/bin/content`)).toString(), "2\n");
    });

    it("may do in the cluster what its role says, and nothing else", async () => {
        const [inSlot, inOwn, elsewhere] = await Promise.all([slot(), stack.namespace, "default"].map(rights));
        const expected = slotRules.flatMap(({ resources, resourceNames = [], verbs, apiGroups }) =>
            resources.map((resource) => {
                const group = apiGroups[0] === "" ? "" : `.${apiGroups[0]}`;
                return `${resource}${group} [${resourceNames.join(" ")}] [${[...verbs].sort().join(" ")}]`;
            }),
        );
        // What the cluster gives to everybody who has an account is the same everywhere.
        assert.deepEqual(inSlot?.filter((each) => !elsewhere?.includes(each)).sort(), expected.sort());
        assert.deepEqual(inOwn, elsewhere);
        for (const what of [
            ["get", "secrets"],
            ["create", "secrets"],
            ["create", "pods/exec"],
            ["create", "pods"],
            ["create", "serviceaccounts/token"],
            ["patch", "networkpolicies"],
            ["patch", "resourcequotas"],
            ["create", "rolebindings"],
            ["patch", "configmaps"],
        ]) {
            const answer = await kubectl("auth", "can-i", ...what, "--namespace", slot(), "--as", account()).catch(
                (error: unknown) => (error as { readonly stdout: string }).stdout,
            );
            assert.equal(answer.trim(), "no", what.join(" "));
        }
    });

    it("has no credential in its state, and none in its pod's specification", async () => {
        const { key } = JSON.parse(fs.readFileSync(platform().blobCredentialFile, "utf8")) as { readonly key: string };
        const state = await stack.ke1(["stack", "export"]);
        const pods = await kubectl("get", "pods", "--namespace", stack.namespace, "--output", "yaml");
        const all = `${state.stdout}${pods}`;
        assert.ok(state.stdout.includes("ke1-store"));
        assert.equal(all.includes(key), false);
        assert.equal(all.includes(token), false);
        assert.doesNotMatch(all, /\bsig=/);
    });

    it("has nothing to change when nothing has changed", async () => {
        const preview = await stack.ke1(["preview", "--json"]);
        const { changes } = JSON.parse(preview.stdout) as { readonly changes: Readonly<Record<string, number>> };
        assert.deepEqual(Object.keys(changes), ["same"], preview.stderr);
    });

    /** What the account may do in a namespace, a line for each resource. */
    async function rights(namespace: string): Promise<readonly string[]> {
        const table = await kubectl(
            "auth",
            "can-i",
            "--list",
            "--no-headers",
            "--namespace",
            namespace,
            "--as",
            account(),
        );
        return table
            .split("\n")
            .filter((line) => line.trim() !== "")
            .map((line) => {
                const columns = /^(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]$/.exec(line.trimEnd())?.slice(1) ?? [line];
                const [resource = "", url = "", names = "", verbs = ""] = columns;
                return `${resource}${url} [${names}] [${verbs.split(" ").sort().join(" ")}]`;
            })
            .sort();
    }
});
