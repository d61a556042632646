import { strict as assert } from "node:assert";
import { once } from "node:events";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";

import type { FastifyInstance } from "fastify";
import { exportJWK, generateKeyPair, SignJWT } from "jose";

import { Authenticator } from "../../service/http/auth";
import { createServer } from "../../service/http/server";
import { BuildQueue } from "../../service/queue";
import { Runner } from "../../service/runner";
import type { ServiceSettings } from "../../service/settings";
import { localSources } from "../../service/sourceProvider";
import { QueueStore } from "../../service/store";
import { addToken } from "../../service/tokens";
import { TemporaryDirectory } from "../helpers/temporary";

describe("the service over HTTP", () => {
    let directory: TemporaryDirectory;
    let app: FastifyInstance;
    let store: QueueStore;
    let issuer: http.Server;
    let sign: (claims: object, more?: { issuer?: string; audience?: string; expires?: string }) => Promise<string>;
    const tokens = { reader: "", writer: "", other: "", admin: "" };

    before(async () => {
        directory = new TemporaryDirectory();
        const file = path.join(directory.path, "tokens");
        tokens.reader = addToken(file, "reader", "builds:read");
        tokens.writer = addToken(file, "writer", "builds:write");
        tokens.other = addToken(file, "other", "builds:write,builds:read");
        tokens.admin = addToken(file, "admin", "admin");
        const { publicKey, privateKey } = await generateKeyPair("ES256");
        const jwk = { ...(await exportJWK(publicKey)), kid: "one", alg: "ES256" };
        issuer = http.createServer((request, response) => {
            const url = issuerUrl();
            response.setHeader("content-type", "application/json");
            response.end(
                JSON.stringify(request.url === "/keys" ? { keys: [jwk] } : { issuer: url, jwks_uri: `${url}/keys` }),
            );
        });
        issuer.listen(0, "127.0.0.1");
        await once(issuer, "listening");
        sign = async (claims, more = {}) =>
            new SignJWT({ ...claims })
                .setProtectedHeader({ alg: "ES256", kid: "one" })
                .setIssuer(more.issuer ?? issuerUrl())
                .setAudience(more.audience ?? "ke1")
                .setSubject("repo:shop")
                .setExpirationTime(more.expires ?? "5m")
                .sign(privateKey);
        const settings: ServiceSettings = {
            ...{ dataDirectory: path.join(directory.path, "data"), projectDirectory: directory.path, ke1: ["false"] },
            ...{ baseStack: "base", parallel: 1, timeoutSeconds: 60, namespaces: [], noCache: false },
            ...{ extraBuildArgs: {}, allowSources: [], localSources: true, showLogs: false },
        };
        store = QueueStore.open(settings.dataDirectory);
        const runner = new Runner(settings, localSources, { PULUMI_CONFIG_PASSPHRASE: "x" });
        // Never started: what is asked for stays queued.
        const queue = new BuildQueue(store, runner, settings, () => "http://store/builds");
        const openStore = () => assert.fail("no build has a log");
        const authenticator = await Authenticator.open(file, { issuer: issuerUrl(), audience: "ke1" });
        const limits = { requestsPerMinute: 100, bodyLimit: 10_000 };
        app = await createServer({ queue, settings, openStore }, { authenticator, ...limits });
    });
    after(async () => {
        await app.close();
        store.close();
        issuer.close();
        directory.remove();
    });

    function issuerUrl(): string {
        return `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
    }

    async function ask(method: "GET" | "POST" | "DELETE", url: string, token?: string, body?: object) {
        const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
        const response = await app.inject({ method, url, headers, ...(body ? { payload: body } : {}) });
        return {
            status: response.statusCode,
            headers: response.headers,
            text: response.body,
            json: () => response.json(),
        };
    }

    it("lets nobody in without a token, nor with one that is nobody's", async () => {
        for (const token of [undefined, "", "x", `${tokens.admin}x`, "a.b.c", "ü"]) {
            const { status, headers } = await ask("GET", "/v1/builds", token);
            assert.equal(status, 401, token);
            assert.match(String(headers["www-authenticate"]), /^Bearer/);
        }
        for (const [method, url] of [
            ["POST", "/v1/builds"],
            ["GET", "/v1/builds/0123456789ab"],
            ["DELETE", "/v1/builds/0123456789ab"],
            ["POST", "/v1/builds/0123456789ab/cancel"],
            ["GET", "/v1/builds/0123456789ab/log"],
            ["GET", "/v1/builds/0123456789ab/events"],
            ["GET", "/v1/builds/0123456789ab/artifacts"],
        ] as const) {
            assert.equal((await ask(method, url)).status, 401, url);
        }
    });

    it("lets readers read, writers end what is theirs, and administrators all of it", async () => {
        assert.equal((await ask("POST", "/v1/builds", tokens.reader, { source: "/x" })).status, 403);
        const made = await ask("POST", "/v1/builds", tokens.writer, { source: "/x" });
        assert.equal(made.status, 202);
        const { id, caller } = made.json();
        assert.equal(caller, "writer");
        assert.equal((await ask("GET", `/v1/builds/${id}`, tokens.reader)).status, 200);
        assert.equal((await ask("POST", `/v1/builds/${id}/cancel`, tokens.reader)).status, 403);
        assert.equal((await ask("POST", `/v1/builds/${id}/cancel`, tokens.other)).status, 403);
        assert.equal((await ask("DELETE", `/v1/builds/${id}`, tokens.writer)).status, 409, "it is queued");
        assert.equal((await ask("POST", `/v1/builds/${id}/cancel`, tokens.writer)).json().state, "cancelled");
        assert.equal((await ask("DELETE", `/v1/builds/${id}`, tokens.other)).status, 403);
        assert.equal((await ask("DELETE", `/v1/builds/${id}`, tokens.admin)).status, 204);
        assert.equal((await ask("GET", `/v1/builds/${id}`, tokens.reader)).status, 404);
    });

    it("releases with the service's own token for administrators alone", async () => {
        const release = { repository: "team/tool", images: ["ghcr.io/team/tool"] };
        assert.equal((await ask("POST", "/v1/builds", tokens.writer, { source: "/x", release })).status, 403);
        const made = await ask("POST", "/v1/builds", tokens.admin, { source: "/x", release });
        assert.equal(made.status, 202, made.text);
        await ask("POST", `/v1/builds/${made.json().id}/cancel`, tokens.admin);
        for (const bad of [
            { repository: "tool" },
            { ...release, tag: "--draft" },
            { ...release, images: ["--draft"] },
        ]) {
            assert.equal((await ask("POST", "/v1/builds", tokens.admin, { source: "/x", release: bad })).status, 400);
        }
    });

    it("takes the JSON Web Tokens of its issuer, for it, while they are good, with what they allow", async () => {
        const good = await sign({ scope: "openid builds:write" });
        const made = await ask("POST", "/v1/builds", good, { source: "/x" });
        assert.equal(made.status, 202);
        assert.equal(made.json().caller, `${issuerUrl()}#repo:shop`);
        assert.equal(
            (await ask("POST", "/v1/builds", await sign({ scope: "builds:read" }), { source: "/x" })).status,
            403,
        );
        assert.equal((await ask("GET", "/v1/builds", await sign({}))).status, 403);
        for (const [what, token] of Object.entries({
            audience: await sign({ scope: "admin" }, { audience: "another" }),
            issuer: await sign({ scope: "admin" }, { issuer: "https://elsewhere" }),
            old: await sign({ scope: "admin" }, { expires: "-1m" }),
            unsigned: `${Buffer.from('{"alg":"none"}').toString("base64url")}.${good.split(".")[1] ?? ""}.`,
            changed: good.replace(/\..*\./, `.${Buffer.from('{"scope":"admin"}').toString("base64url")}.`),
        })) {
            assert.equal((await ask("GET", "/v1/builds", token)).status, 401, what);
        }
    });

    it("says in one line what is wrong with a request, and takes nothing of it", async () => {
        const before = store.list().length;
        for (const [body, expected] of [
            [{}, /source/],
            [{ source: "" }, /source/],
            [{ source: "/x", kind: "party" }, /kind/],
            [
                { source: "/x", config: { registry: "mine", kubeconfig: "x" } },
                /config may not have registry, kubeconfig/,
            ],
            [{ source: "/x", config: { image: { secure: "v1:abc" } } }, /encrypted/],
            [
                {
                    source: "/x",
                    config: { environments: { e: { volumes: { v: { path: "/s", secret: "ke1-pull" } } } } },
                },
                /environments\.e\.volumes\.v may have no secret/,
            ],
            [{ source: "/x", labels: { a: 1 } }, undefined],
            [{ source: "/x", labels: { a: { b: 1 } } }, /labels/],
            [{ source: "/x", namespace: "kube-system" }, /additional properties/],
            [{ source: "/x", callback: "not an address" }, /callback/],
            [{ source: "/x", timeoutSeconds: 0 }, /timeoutSeconds/],
        ] as const) {
            const { status, json, text } = await ask("POST", "/v1/builds", tokens.admin, body);
            if (expected) {
                assert.equal(status, 400, text);
                assert.match(json().detail, expected);
            } else {
                assert.equal(status, 202, text);
            }
        }
        assert.equal(store.list().length, before + 1);
        const large = await ask("POST", "/v1/builds", tokens.admin, { source: "x".repeat(20_000) });
        assert.equal(large.status, 413);
    });

    it("never gives out what it was told in confidence", async () => {
        const made = await ask("POST", "/v1/builds", tokens.writer, {
            source: "/x",
            callback: "https://example.com/hook",
            callbackAuthorization: "Bearer open-sesame",
        });
        const { id } = made.json();
        for (const url of ["/v1/builds", `/v1/builds/${id}`, `/v1/builds?text=sesame`]) {
            assert.doesNotMatch((await ask("GET", url, tokens.admin)).text, /sesame/, url);
        }
        assert.deepEqual(store.secrets(id), { callback_auth: "Bearer open-sesame" });
    });

    it("gives what is built in another way than others build it a BUILD_TAG of its own", async () => {
        const suffixOf = async (token: string, config: object) =>
            (await ask("POST", "/v1/builds", token, { source: "/x", config })).json().request.config.buildTagSuffix;
        const image = `example.com/tool@sha256:${"a".repeat(64)}`;
        const mine = await suffixOf(tokens.writer, { image });
        assert.match(mine, /^-[0-9a-f]{8}$/);
        assert.equal(await suffixOf(tokens.writer, { image }), mine);
        assert.notEqual(await suffixOf(tokens.admin, { image }), mine);
        assert.notEqual(await suffixOf(tokens.writer, { image, artifactDirectory: "out" }), mine);
        assert.equal(await suffixOf(tokens.writer, { memoryLimit: "1Gi", command: ["make"] }), undefined);
    });

    it("describes all that it does, in OpenAPI 3.1", async () => {
        const document = (await ask("GET", "/openapi.json")).json();
        assert.equal(document.openapi, "3.1.0");
        const described = Object.entries(document.paths as Record<string, object>).flatMap(([url, methods]) =>
            Object.keys(methods).map((method) => `${method.toUpperCase()} ${url}`),
        );
        for (const route of [
            "POST /v1/builds",
            "GET /v1/builds",
            "DELETE /v1/builds/{id}",
            "GET /v1/builds/{id}/events",
        ]) {
            assert.ok(described.includes(route), `${route} of ${described.join(", ")}`);
        }
        const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, ref]) => ref!);
        assert.ok(references.length > 0);
        for (const reference of references) {
            const found = reference.split("/").reduce((node: any, name) => node?.[name], document);
            assert.ok(found, `${reference} is in the document`);
        }
    });

    it("answers those who ask too often with 429, each by itself", async () => {
        const { lane } = (await ask("POST", "/v1/builds", tokens.other, { source: "/x", lane: "main" })).json().request;
        assert.equal(lane, "other/main", "a lane is its caller's");
        let refused = 0;
        for (let request = 0; request < 110; request++) {
            refused += (await ask("GET", "/v1/builds?limit=1", tokens.reader)).status === 429 ? 1 : 0;
        }
        assert.ok(refused > 0 && refused < 110);
        assert.equal((await ask("GET", "/v1/builds?limit=1", tokens.other)).status, 200);
        const strangers = [];
        for (let request = 0; request < 110; request++) {
            strangers.push((await ask("GET", "/v1/builds", `invented${request}`)).status);
        }
        assert.ok(strangers.includes(429), "an invented token is no other caller");
        const guesses = [];
        for (let request = 0; request < 30; request++) {
            const remoteAddress = "192.0.2.1";
            guesses.push((await app.inject({ method: "POST", url: "/login", remoteAddress })).statusCode);
        }
        assert.ok(guesses.indexOf(429) <= 20, `tokens are not to be guessed at the login: ${guesses.join(" ")}`);
        assert.ok(guesses.includes(429));
    });

    it("lets nobody in any more by a token that was taken out of the file, or when others can read it", async () => {
        const file = path.join(directory.path, "changing");
        const [first, second] = ["first", "second"].map((name) => addToken(file, name, "builds:read"));
        const authenticator = await Authenticator.open(file, undefined);
        assert.equal((await authenticator.callerOf(first!))?.name, "first");
        fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(/^first .*\n/, ""));
        assert.equal(await authenticator.callerOf(first!), undefined);
        assert.equal((await authenticator.callerOf(second!))?.name, "second");
        fs.chmodSync(file, 0o644);
        assert.equal(await authenticator.callerOf(second!), undefined);
    });

    it("keeps the names of what launches builds by itself", () => {
        const file = path.join(directory.path, "reserved");
        assert.throws(() => addToken(file, "watch", "builds:write"), /the service's own name/);
    });

    it("refuses a file of tokens that others can read, or that is none, by its line", async () => {
        const readable = directory.file("readable", "", 0o644);
        await assert.rejects(Authenticator.open(readable, undefined), /can be read by others; chmod 600/);
        const bad = directory.file("bad", `# who\nme ${"0".repeat(64)} builds:everything\n`, 0o600);
        await assert.rejects(Authenticator.open(bad, undefined), /line 2: it must be/);
        await assert.rejects(Authenticator.open(path.join(directory.path, "none"), undefined), /ke1 token add/);
        assert.doesNotMatch(fs.readFileSync(path.join(directory.path, "tokens"), "utf8"), new RegExp(tokens.admin));
    });
});
