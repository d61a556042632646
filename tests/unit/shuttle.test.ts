import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import type { FastifyInstance } from "fastify";

import { withArguments } from "../../source/dockerfile";
import { checkCallerConfig } from "../../service/callerConfig";
import { Authenticator } from "../../service/http/auth";
import { createServer } from "../../service/http/server";
import { imageEnvironment, withImageConfig } from "../../service/imageRequest";
import { BuildQueue } from "../../service/queue";
import { Runner } from "../../service/runner";
import type { ServiceSettings } from "../../service/settings";
import { shuttleRequest } from "../../service/shuttle";
import { noSources } from "../../service/sourceProvider";
import { QueueStore } from "../../service/store";
import { addToken } from "../../service/tokens";
import { zipOf } from "../helpers/archives";
import { TemporaryDirectory } from "../helpers/temporary";

const uuid = "56bce159-87a7-437f-bed3-2da4e44d9cf3";
const archive = zipOf({ name: "somedir/Dockerfile", content: "FROM scratch" });
/** As the shuttle's own clients send it. */
const payload = {
    ...{
        sources: `data:base64,${archive.toString("base64")}`,
        app: "test",
        space: "default",
        app_uuid: uuid,
        build_uuid: uuid,
    },
    ...{ gm_registry_host: "registry.example", gm_registry_repo: "org", build_number: 3, sha: "abc", branch: "main" },
    gm_registry_auth: { username: "alice", password: "open-sesame" },
    ...{
        callback: "https://callback.example/x",
        callback_auth: "Bearer callback-secret",
        kafka_hosts: "a:9092, b:9092",
    },
    build_args: { "@#$JLK_x]\"'": "foo", SOME_ARG: "\n Fu\n ", 1: 2 },
    ...{ docker_login: "bob", docker_password: "pull-secret", repo: null },
};

describe("the build shuttle's paths", () => {
    let directory: TemporaryDirectory;
    let store: QueueStore;
    let app: FastifyInstance;
    let open: FastifyInstance;
    let token: string;
    let other: string;

    beforeEach(async () => {
        directory = new TemporaryDirectory();
        const file = path.join(directory.path, "tokens");
        token = addToken(file, "writer", "builds:write");
        other = addToken(file, "other", "builds:write");
        const settings: ServiceSettings = {
            ...{ dataDirectory: path.join(directory.path, "data"), projectDirectory: directory.path, ke1: ["false"] },
            ...{ baseStack: "base", parallel: 1, timeoutSeconds: 60, namespaces: [], noCache: false },
            ...{ extraBuildArgs: {}, allowSources: [], localSources: false, showLogs: false },
        };
        store = QueueStore.open(settings.dataDirectory);
        // Never started: what is asked for stays queued.
        const queue = new BuildQueue(
            store,
            new Runner(settings, noSources, { PULUMI_CONFIG_PASSPHRASE: "x" }),
            settings,
            () => "",
        );
        const context = { queue, settings, openStore: () => assert.fail("no build has a log") };
        const limits = {
            authenticator: await Authenticator.open(file, undefined),
            requestsPerMinute: 1000,
            bodyLimit: 100_000,
        };
        app = await createServer(context, limits);
        open = await createServer(context, { ...limits, openShuttle: true });
    });

    afterEach(async () => {
        await app.close();
        await open.close();
        store.close();
        directory.remove();
    });

    async function ask(
        method: "GET" | "POST" | "DELETE" | "HEAD",
        url: string,
        body?: object,
        headers: Record<string, string> = { authorization: `Bearer ${token}` },
        on = app,
    ) {
        const response = await on.inject({ method, url, headers, ...(body ? { payload: body } : {}) });
        return { status: response.statusCode, text: response.body, bytes: response.rawPayload };
    }

    it("takes a build with the payload as it is", async () => {
        const { status, text } = await ask("POST", "/", payload);
        assert.equal(text, '{"status":"ok"}');
        assert.equal(status, 200);
        const [record] = store.list();
        assert.deepEqual(record?.request, {
            kind: "image",
            source: "data:",
            config: {
                registry: "registry.example/org",
                imageName: `test-${uuid}`,
                imageTags: ["1.3", "latest"],
                imageLabels: { app: "test", space: "default", build_uuid: uuid, app_uuid: uuid },
                buildArgs: { JLK_x: "foo", SOME_ARG: "\n Fu\n ", _1: "2" },
            },
            labels: {
                app: "test",
                space: "default",
                app_uuid: uuid,
                build_uuid: uuid,
                build_number: "3",
                sha: "abc",
                branch: "main",
            },
            callback: "https://callback.example/x",
            kafkaHosts: ["a:9092", "b:9092"],
        });
        assert.deepEqual(store.secrets(record.id), {
            source: payload.sources,
            ...{ registry_username: "alice", registry_password: "open-sesame" },
            ...{ pull_username: "bob", pull_password: "pull-secret", callback_auth: "Bearer callback-secret" },
        });
    });

    it("keeps no credential in the clear, and shows none", async () => {
        const sources = "https://carol:token-of-carol@git.example/x.zip?sig=signature-of-x";
        await ask("POST", "/", { ...payload, sources });
        const { text } = await ask("GET", "/v1/builds");
        store.close();
        const files = fs
            .readdirSync(path.join(directory.path, "data"), { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile());
        const all =
            text + files.map((entry) => fs.readFileSync(path.join(entry.parentPath, entry.name), "latin1")).join("");
        assert.match(all, /https:\/\/git\.example\/x\.zip/);
        for (const secret of ["open-sesame", "pull-secret", "callback-secret", "token-of-carol", "signature-of-x"]) {
            assert.ok(!all.includes(secret), secret);
        }
        store = QueueStore.open(path.join(directory.path, "data"));
    });

    it("refuses as the shuttle does, in its words", async () => {
        for (const field of ["sources", "app", "space", "app_uuid", "build_number", "build_uuid", "gm_registry_host"]) {
            const { status, text } = await ask("POST", "/", { ...payload, [field]: undefined });
            assert.deepEqual([status, text], [400, '{"status":"Bad Request - missing fields."}'], field);
        }
        assert.match(
            (await ask("POST", "/", { ...payload, build_uuid: "x" })).text,
            /"Bad Request - build uuid is invalid\."/,
        );
        for (const bad of [
            { sources: "ftp://x/y" },
            { app: "../../x" },
            { build_number: "1 2" },
            { gm_registry_host: "http://a b" },
            { callback: "file:///x" },
            { callback: "https://user:open-sesame@callback.example/x" },
            { kafka_hosts: "a:9092, nonsense" },
        ]) {
            const { status, text } = await ask("POST", "/", { ...payload, ...bad });
            assert.equal(status, 400, JSON.stringify(bad));
            assert.match(text, /^\{"status":"Bad Request - /);
            assert.doesNotMatch(text, /open-sesame/);
        }
        assert.equal((await ask("GET", "/not-a-uuid")).text, '{"status":"Bad Request - build uuid is invalid."}');
        assert.equal((await ask("GET", `/${uuid}`)).status, 404);
        assert.deepEqual(store.list(), []);
    });

    it("takes docker_registry where there is no gm_registry_host", () => {
        const { request, secrets } = shuttleRequest({
            ...payload,
            gm_registry_host: undefined,
            docker_registry: "https://r.example:5000/team/",
        });
        assert.equal(request.config["registry"], "r.example:5000/team");
        assert.deepEqual(
            [secrets["registry_username"], secrets["registry_password"], secrets["pull_password"]],
            ["bob", "pull-secret", undefined],
        );
    });

    it("takes the commit, or the branch, of a repository", () => {
        const sources = "https://git.example/org/repo.git";
        assert.equal(shuttleRequest({ ...payload, sources }).request.ref, "abc");
        assert.equal(shuttleRequest({ ...payload, sources, sha: "" }).request.ref, "main");
        assert.equal(shuttleRequest(payload).request.ref, undefined);
    });

    it("stops and forgets builds by app and number, and only one's own", async () => {
        const name = `test-${uuid}`;
        const states = () => store.list().map(({ state }) => state);
        await ask("POST", "/", payload);
        await ask("POST", "/", payload);
        assert.deepEqual(states(), ["queued", "cancelled"], "the number is one build: the newer");
        await ask("POST", "/", { ...payload, build_number: 4 });
        const others = { authorization: `Bearer ${other}` };
        assert.equal((await ask("DELETE", `/${name}/4`, undefined, others)).text, '{"status":"ok"}');
        assert.deepEqual(states(), ["queued", "queued", "cancelled"]);
        await ask("DELETE", `/${name}/4`);
        assert.deepEqual(states(), ["cancelled", "queued", "cancelled"]);
        await ask("DELETE", `/${name}/4`);
        assert.deepEqual(states(), ["queued", "cancelled"], "what has ended is forgotten");
        await ask("DELETE", `/other-${uuid}`);
        assert.deepEqual(states(), ["queued", "cancelled"]);
        await ask("DELETE", `/${name}`);
        assert.deepEqual(states(), ["cancelled", "cancelled"]);
        assert.equal((await ask("DELETE", `/nothing-${uuid}/9`)).text, '{"status":"ok"}');
    });

    it("gives the sources and the log back", async () => {
        await ask("POST", "/", payload);
        const [record] = store.list();
        const build = path.join(directory.path, "data", "builds", record?.id ?? "");
        assert.equal((await ask("GET", `/test-${uuid}/3/logs`)).text, '{"status":"Not Found"}');
        fs.mkdirSync(build, { recursive: true });
        fs.writeFileSync(path.join(build, "source.archive"), archive);
        fs.writeFileSync(path.join(build, "launch.log"), "one\r\ntwo\n");
        assert.deepEqual((await ask("GET", `/${uuid}`)).bytes, archive);
        assert.equal((await ask("HEAD", `/${uuid}`)).status, 200);
        assert.equal((await ask("GET", `/test-${uuid}/3/logs`)).text, "one\ntwo\n");
        assert.equal((await ask("GET", "/octhc", undefined, {})).text, "overall_status=good");
    });

    it("wants a token; without one, only who is on this machine, where it is so set", async () => {
        for (const [method, url] of [
            ["POST", "/"],
            ["GET", `/${uuid}`],
            ["DELETE", `/test-${uuid}`],
            ["DELETE", `/test-${uuid}/1`],
            ["GET", `/test-${uuid}/1/logs`],
            ["POST", "/v1/uploads"],
        ] as const) {
            assert.equal((await ask(method, url, undefined, {})).status, 401, `${method} ${url}`);
        }
        assert.equal((await ask("POST", "/", payload, { host: "localhost:9000" }, open)).status, 200);
        assert.equal((await ask("POST", "/", payload, { host: "127.0.0.1:9000" }, open)).status, 200);
        assert.equal(store.list()[0]?.caller, "shuttle");
        assert.equal(
            (await ask("POST", "/", payload, { host: "evil.example" }, open)).status,
            401,
            "a page that a browser here shows",
        );
        for (const name of ["forwarded", "via", "x-forwarded-for", "X-Forwarded-Host"]) {
            const headers = { host: "localhost", [name]: "203.0.113.9" };
            assert.equal((await ask("POST", "/", payload, headers, open)).status, 401, `${name}: from a proxy`);
        }
        const elsewhere = await open.inject({
            method: "POST",
            url: "/",
            payload,
            headers: { host: "localhost" },
            remoteAddress: "10.0.0.9",
        });
        assert.equal(elsewhere.statusCode, 401);
        assert.equal((await ask("POST", "/", payload, { authorization: "Bearer wrong" }, open)).status, 401);
        assert.equal(
            (await ask("GET", "/v1/builds", undefined, { host: "localhost" }, open)).status,
            401,
            "no other path",
        );
    });

    it("takes uploads as they come", async () => {
        const headers = { authorization: `Bearer ${token}`, "content-type": "application/octet-stream" };
        const response = await app.inject({
            method: "POST",
            url: "/v1/uploads",
            headers,
            payload: Buffer.alloc(300_000, "x"),
        });
        assert.equal(response.statusCode, 201, "no limit of other bodies");
        const { source, bytes } = response.json<{ source: string; bytes: number }>();
        assert.equal(bytes, 300_000);
        assert.equal((await ask("POST", "/v1/builds", { source })).status, 202);
        assert.equal((await ask("POST", "/v1/builds", { source: "ftp://x" })).status, 400);
    });

    it("lets a caller name images only in a registry of its own", () => {
        const request = { kind: "image", source: "x", labels: {}, config: { registry: "r.example" } } as const;
        const base = {
            "ke-1-build:registryPassword": { secure: "x" },
            "ke-1-build:registryUsername": "u",
            "ke-1-build:buildArgs": { A: "base" },
        };
        const settings = { noCache: true, extraBuildArgs: { A: "extra", B: "extra" } };
        assert.deepEqual(withImageConfig(base, settings, request), {
            "ke-1-build:imageOnly": true,
            "ke-1-build:noCache": true,
            "ke-1-build:buildArgs": { A: "extra", B: "extra" },
        });
        const environment = imageEnvironment(request, {}, directory.path);
        assert.deepEqual(
            [environment["REGISTRY_USERNAME"], environment["REGISTRY_PASSWORD"]],
            ["", ""],
            "not the service's own",
        );
        assert.equal(fs.existsSync(path.join(environment["DOCKER_CONFIG"] ?? "", "config.json")), false);
        assert.throws(() => checkCallerConfig({ imageName: "ke-1-exporter" }, "image"), /only with registry/);
        assert.throws(() => checkCallerConfig({ registry: "r.example" }), /may not have registry/);
        assert.throws(() => checkCallerConfig({ command: ["x"] }, "image"), /may not have command/);
        checkCallerConfig({ registry: "r.example", imageName: "x", imageTags: ["y"], buildArgs: {} }, "image");
    });

    it("declares build arguments in each stage", () => {
        const dockerfile =
            "ARG BASE\nFROM ${BASE} AS one\nRUN <<EOF\nFROM nothing\nEOF\n# FROM x\nfrom \\\n  two\nRUN true\n";
        assert.equal(
            withArguments(dockerfile, ["A", "B"]),
            "ARG BASE\nFROM ${BASE} AS one\nARG A\nARG B\nRUN <<EOF\nFROM nothing\nEOF\n# FROM x\nfrom \\\n  two\nARG A\nARG B\nRUN true\n",
        );
        assert.equal(withArguments(dockerfile, []), dockerfile);
    });
});
