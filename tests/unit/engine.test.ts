import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { createServer } from "node:http2";
import * as net from "node:net";
import * as path from "node:path";

import { FileBackend, backendDirectory } from "../../engine/backend";
import { parseDuration } from "../../engine/monitor";
import { loadProject, loadStackFile, resolveConfig } from "../../engine/project";
import { createIgnore, formatMode, hashContext, parseIgnoreFile } from "../../engine/providers/docker/buildContext";
import { registryOf } from "../../engine/providers/docker/credentials";
import { canonicalQuantity, diffInputs, liveInputs, withName } from "../../engine/providers/kubernetes/objects";
import { createSecrets, openSecrets } from "../../engine/secrets";
import { SocketGate } from "../../engine/socketGate";
import { makeUrn } from "../../engine/state";
import {
    annotateSecrets,
    diffPaths,
    formatPath,
    parsePath,
    pathContains,
    redacted,
    resetPath,
    secret,
    secretTexts,
    unknown,
} from "../../engine/values";
import { TemporaryDirectory } from "../helpers/temporary";

describe("engine: property values", () => {
    it("are compared by path; secretness, null and absence make no difference", () => {
        const olds = { a: { b: [1, 2], c: secret("x") }, gone: 1, none: null };
        const news = { a: { b: [1, 3, 4], c: "x" }, added: true };
        assert.deepEqual(Object.fromEntries(diffPaths(olds, news)), {
            "a.b[1]": { kind: "update" },
            "a.b[2]": { kind: "add" },
            added: { kind: "add" },
            gone: { kind: "delete" },
        });
        assert.equal(diffPaths({ a: unknown }, { a: unknown }).size, 1, "an unknown value may have changed");
    });

    it("have paths that are read and written the same", () => {
        for (const text of ["a", "a.b", "a[0].b", 'a["x.y/z"]', "a[0][1]"]) {
            assert.equal(formatPath(parsePath(text) ?? []), text);
        }
        assert.deepEqual(parsePath('spec.containers[*].env["A B"]'), ["spec", "containers", "*", "env", "A B"]);
        assert.equal(parsePath("a["), undefined);
        assert.ok(pathContains(["a", "*"], ["a", 3, "b"]));
        assert.ok(!pathContains(["a", "b", "c"], ["a", "b"]));
    });

    it("are set back at a path: below lists, in secrets, added and removed ones", () => {
        const olds = { env: { A: "1", GONE: "x" }, list: [{ v: 1 }, { v: 2 }], s: secret({ k: 1 }) };
        const news = { env: { A: "2", NEW: "y" }, list: [{ v: 5 }, { v: 6 }, { v: 7 }], s: secret({ k: 2 }) };
        const reset = (text: string): unknown => resetPath(olds, news, parsePath(text) ?? []);
        assert.deepEqual(reset("env.A"), { ...news, env: { A: "1", NEW: "y" } });
        assert.deepEqual(reset("env.GONE"), { ...news, env: { A: "2", NEW: "y", GONE: "x" } });
        assert.deepEqual(reset("env.NEW"), { ...news, env: { A: "2" } });
        assert.deepEqual(reset("env"), { ...news, env: olds.env });
        assert.deepEqual(reset("list[*].v"), { ...news, list: [{ v: 1 }, { v: 2 }, { v: 7 }] });
        assert.deepEqual(reset("s.k"), { ...news, s: secret({ k: 1 }) });
        assert.deepEqual(reset("nowhere.at.all"), news);
    });

    it("are secret where their inputs are, and are never shown then", () => {
        const outputs = annotateSecrets(
            { a: 1, n: { p: "pw", q: 2 }, l: ["x"] },
            { a: 1, n: { p: secret("pw") }, l: [secret("x")] },
        );
        assert.deepEqual(outputs, { a: 1, n: { p: secret("pw"), q: 2 }, l: secret(["x"]) });
        assert.deepEqual(redacted(outputs), { a: 1, n: { p: "[secret]", q: 2 }, l: "[secret]" });
        assert.deepEqual(secretTexts(outputs), ["pw", "x"]);
    });

    it("of URNs are the qualified type and the name", () => {
        const stack = makeUrn("dev", "p", undefined, "pulumi:pulumi:Stack", "p-dev");
        const component = makeUrn("dev", "p", stack, "a:b:C", "c");
        assert.equal(component, "urn:pulumi:dev::p::a:b:C::c");
        assert.equal(makeUrn("dev", "p", component, "d:e:F", "f"), "urn:pulumi:dev::p::a:b:C$d:e:F::f");
    });

    it("of durations are those of Go", () => {
        assert.deepEqual(["90s", "1h30m", "500ms", "1.5m"].map(parseDuration), [90, 5400, 0.5, 90]);
        for (const wrong of ["", "5", "m", "5 m", "1x"]) {
            assert.throws(() => parseDuration(wrong), /is not a duration/);
        }
    });
});

describe("engine: passphrase secrets", () => {
    it("are opened with the passphrase and no other", async () => {
        const { state, crypter } = await createSecrets("open sesame");
        const ciphertext = crypter.encrypt("ein Geheimnis: ✓");
        assert.equal((await openSecrets("open sesame", state)).decrypt(ciphertext), "ein Geheimnis: ✓");
        assert.notEqual(crypter.encrypt("ein Geheimnis: ✓"), ciphertext, "each has a nonce of its own");
        await assert.rejects(openSecrets("open barley", state), /passphrase is not the one/);
        const [version, nonce = "", data = ""] = ciphertext.split(":");
        const changed = Buffer.from(data, "base64");
        changed.writeUInt8(changed.readUInt8(0) ^ 1);
        assert.throws(() => crypter.decrypt(`${version ?? ""}:${nonce}:${changed.toString("base64")}`));
    });

    it("that the Pulumi CLI has made are opened too", async () => {
        // Made by `pulumi stack init` and `pulumi config set --secret`, v3.259.0.
        const salt = "v1:Abik2GEbPxE=:v1:D+yBwPK+wDErnRML:Pa5sgIwJcdnBXmAnKd/LjYMhfURfKg==";
        const crypter = await openSecrets("test", salt);
        assert.equal(crypter.decrypt("v1:DfWRyv83vd9D3hk1:CcsDKrUvR6DUQ95/lAmfnLhrmdix"), '"sss"');
    });
});

describe("engine: the project and its configuration", () => {
    let directory: TemporaryDirectory;
    beforeEach(() => (directory = new TemporaryDirectory()));
    afterEach(() => directory.remove());

    const resolve = (project: string, stack: string): ReturnType<typeof resolveConfig> => {
        directory.file("Pulumi.yaml", project);
        directory.file("Pulumi.dev.yaml", stack);
        const loaded = loadProject(directory.path);
        const file = loadStackFile(loaded, "dev");
        assert.ok(file);
        return resolveConfig(loaded, "dev", file, undefined);
    };
    const header = "name: p\nruntime: nodejs\n";

    it("has values of all types as text, over defaults", () => {
        const config =
            "config: { s: { type: string, default: d }, i: { type: integer, default: 3 }, b: { type: boolean, default: true }, 'other:x': { value: y }, short: 7 }\n";
        const { values } = resolve(header + config, "config: { i: 4, p:free: { a: [1] } }");
        assert.deepEqual(values, {
            "p:s": "d",
            "p:i": "4",
            "p:b": "true",
            "other:x": "y",
            "p:short": "7",
            "p:free": '{"a":[1]}',
        });
    });

    for (const [what, project, stack, message] of [
        [
            "a value of another type",
            "config: { i: { type: integer } }",
            "config: { i: many }",
            /'p:i' must be of type 'integer'/,
        ],
        [
            "a list of another type",
            "config: { l: { type: array, items: { type: integer } } }",
            "config: { l: [1, x] }",
            /array<integer>/,
        ],
        [
            "missing values",
            "config: { a: { type: string }, b: { type: string } }",
            "config: {}",
            /missing configuration values 'a', 'b'/,
        ],
        [
            "a default of another type",
            "config: { i: { type: integer, default: x } }",
            "config: {}",
            /default of config "i"/,
        ],
        [
            "a secret in the clear",
            "config: { s: { type: string, secret: true } }",
            "config: { s: open }",
            /must be encrypted/,
        ],
        ["an unknown type", "config: { s: { type: number } }", "config: {}", /unknown type/],
        ["another secrets provider", "", "secretsprovider: awskms://x\nconfig: {}", /"passphrase" only/],
        ["an ESC environment", "", "environment: [x]\nconfig: {}", /Pulumi ESC/],
        ["a secret without a salt", "", "config: { s: { secure: v1:a:b } }", /no encryptionsalt/],
    ] as const) {
        it(`refuses ${what}, in one line`, () => {
            assert.throws(
                () => resolve(`${header}${project}\n`, stack),
                (error: Error) => {
                    assert.match(error.message, message);
                    assert.ok(!error.message.includes("\n"));
                    return error.name === "UserError";
                },
            );
        });
    }

    it("refuses another runtime, and a project that is none", () => {
        assert.throws(() => resolve("name: p\nruntime: python\n", ""), /runs "nodejs" only/);
        assert.throws(() => loadProject("/"), /no Pulumi.yaml/);
    });
});

describe("engine: the file backend", () => {
    let directory: TemporaryDirectory;
    beforeEach(() => (directory = new TemporaryDirectory()));
    afterEach(() => directory.remove());
    const reference = { project: "p", stack: "dev" };

    it("is named by a URL", () => {
        assert.equal(backendDirectory("file:///a/b?c=d"), "/a/b");
        assert.equal(backendDirectory("file://./x"), path.resolve("x"));
        assert.throws(() => backendDirectory("s3://bucket"), /not supported/);
    });

    it("keeps its files to the user", () => {
        const backend = new FileBackend(path.join(directory.path, "state"));
        backend.writeCheckpoint(reference, "{}");
        assert.equal(fs.statSync(backend.checkpointPath(reference)).mode & 0o777, 0o600);
        assert.equal(fs.statSync(path.dirname(backend.checkpointPath(reference))).mode & 0o777, 0o700);
    });

    it("gives a stack's lock to one at a time, and takes over that of a process that is gone", () => {
        const backend = new FileBackend(directory.path);
        const unlock = backend.lock(reference, () => assert.fail("nobody had it"));
        assert.throws(
            () => new FileBackend(directory.path).lock(reference, () => undefined),
            /locked by .*ke1 stack cancel/,
        );
        const [file = ""] = fs.readdirSync(path.join(directory.path, ".pulumi/locks/organization/p/dev"));
        const lock = path.join(directory.path, ".pulumi/locks/organization/p/dev", file);
        const content = JSON.parse(fs.readFileSync(lock, "utf8")) as Record<string, unknown>;
        assert.deepEqual(Object.keys(content), ["pid", "username", "hostname", "timestamp"]);
        unlock();
        // The number of a process that cannot be.
        directory.file(".pulumi/locks/organization/p/dev/dead.json", JSON.stringify({ ...content, pid: 2 ** 22 + 1 }));
        const gone: number[] = [];
        backend.lock(reference, ({ pid }) => gone.push(pid))();
        assert.deepEqual(gone, [2 ** 22 + 1]);
        directory.file(
            ".pulumi/locks/organization/p/dev/far.json",
            JSON.stringify({ ...content, hostname: "elsewhere" }),
        );
        assert.throws(() => backend.lock(reference, () => undefined), /@elsewhere/);
        assert.equal(backend.cancel(reference).length, 1);
    });
});

describe("engine: the monitor's gate", () => {
    it("lets a client wait that comes before there is a server", async () => {
        const directory = new TemporaryDirectory();
        const file = path.join(directory.path, "socket");
        const gate = await SocketGate.listen(file);
        const client = net.connect(file);
        // The preface and settings of HTTP/2, sent while nobody listens.
        client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
        await new Promise((resolve) => setTimeout(resolve, 100));
        const answered = new Promise<Buffer>((resolve) => client.once("data", resolve));
        const server = createServer();
        gate.handOver((socket) => server.emit("connection", socket));
        assert.equal((await answered).readUInt8(3), 4, "the server's own settings");
        client.destroy();
        gate.close();
        directory.remove();
    });
});

describe("engine: kubernetes objects", () => {
    const mutable = { configMap: false, secret: false };
    const job = (spec: object): never =>
        ({ apiVersion: "batch/v1", kind: "Job", metadata: { name: "j" }, spec }) as never;

    it("are replaced for what cannot be changed, and for that alone", () => {
        const olds = job({
            ttlSecondsAfterFinished: 1,
            template: { spec: { containers: [{ name: "c", image: "a" }] } },
        });
        const news = job({
            ttlSecondsAfterFinished: 2,
            template: { spec: { containers: [{ name: "c", image: "b" }] } },
        });
        assert.deepEqual(Object.fromEntries(diffInputs(olds, news, mutable)), {
            "spec.ttlSecondsAfterFinished": { kind: "update" },
            "spec.template.spec.containers[0].image": { kind: "update", replace: true },
        });
        const map = (data: object): never =>
            ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "m" }, data }) as never;
        assert.deepEqual(
            [...diffInputs(map({ a: "1" }), map({ a: "2" }), mutable).values()],
            [{ kind: "update", replace: true }],
        );
        assert.deepEqual(
            [...diffInputs(map({ a: "1" }), map({ a: "2" }), { ...mutable, configMap: true }).values()],
            [{ kind: "update" }],
        );
    });

    it("are the same in the server's form: quantities, stringData, the namespace `default`", () => {
        const quota = (hard: object): never =>
            ({ apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "q" }, spec: { hard } }) as never;
        assert.equal(
            diffInputs(
                quota({ cpu: "4000m", m: "2048Mi", pods: 10 }),
                quota({ cpu: "4", m: "2Gi", pods: "10" }),
                mutable,
            ).size,
            0,
        );
        const secretOf = (data: object): never =>
            ({ apiVersion: "v1", kind: "Secret", metadata: { name: "s", namespace: "default" }, ...data }) as never;
        assert.equal(
            diffInputs(secretOf({ stringData: { a: "x" } }), secretOf({ data: { a: "eA==" } }), mutable).size,
            0,
        );
        assert.deepEqual(["100m", 0.1, "1e3", "1k", "x", "1Ki"].map(canonicalQuantity), [
            "0.1",
            "0.1",
            "1000",
            "1000",
            "x",
            "1024",
        ]);
    });

    it("get a name that is kept, and is not made where one is given or not known yet", () => {
        const named = withName({ kind: "ConfigMap" }, undefined, "cm") as { metadata: { name: string } };
        assert.match(named.metadata.name, /^cm-[0-9a-f]{8}$/);
        assert.deepEqual(withName({ kind: "ConfigMap" }, named, "cm"), named);
        for (const metadata of [{ name: "own" }, { name: unknown }]) {
            assert.deepEqual(withName({ metadata }, undefined, "cm"), { metadata });
        }
    });

    it("that have drifted have the live values as inputs, but those that the server only writes differently", () => {
        const inputs = { metadata: { name: "n" }, spec: { cpu: "1000m", replicas: 1, gone: "x" } };
        const before = { metadata: { name: "n", uid: "u" }, spec: { cpu: "1", replicas: 1, gone: "x" } };
        const live = { metadata: { name: "n", uid: "u" }, spec: { cpu: "1", replicas: 3 } };
        assert.deepEqual(liveInputs(inputs, before, live), {
            metadata: { name: "n" },
            spec: { cpu: "1000m", replicas: 3 },
        });
    });
});

describe("engine: docker build contexts", () => {
    it("leave out what .dockerignore says, the last pattern that matches deciding", () => {
        const patterns = parseIgnoreFile("# comment\n*.log\n/sub/**\n!sub/keep.txt\n**/node_modules\ndir/\n[ab].txt\n");
        const isIgnored = createIgnore(patterns);
        const ignored = ["a.log", "sub/x", "sub/deep/y", "x/y/node_modules/z", "node_modules", "dir/file", "a.txt"];
        const kept = ["x/a.log", "sub/keep.txt", "b/c", "c.txt", "node_modules2"];
        assert.deepEqual(
            ignored.filter((file) => !isIgnored(file)),
            [],
        );
        assert.deepEqual(
            kept.filter((file) => isIgnored(file)),
            [],
        );
    });

    it("are hashed as the CLI's provider does", async () => {
        const directory = new TemporaryDirectory();
        directory.file("ctx/Dockerfile", "FROM scratch\n");
        directory.file("ctx/b.txt", "b");
        directory.file("ctx/sub/run.sh", "#!/bin/sh\n", 0o755);
        directory.file("ctx/skipped.log", "x");
        directory.file("ctx/.dockerignore", "*.log\n");
        fs.symlinkSync("b.txt", path.join(directory.path, "ctx/link"));
        const context = { base: directory.path, directory: "ctx", dockerfile: "ctx/Dockerfile" };
        const digest = await hashContext(context);
        directory.file("ctx/skipped.log", "y");
        assert.equal(await hashContext(context), digest, "what is ignored does not count");
        // Computed by pulumi-docker 5.2.0 for the same files.
        assert.equal(digest, expectedContextDigest);
        fs.chmodSync(path.join(directory.path, "ctx/b.txt"), 0o600);
        assert.notEqual(await hashContext(context), digest, "the mode counts");
        directory.remove();
    });

    it("have modes as Go writes them", () => {
        const no = (): boolean => false;
        const kind = { isSymbolicLink: no, isFIFO: no, isSocket: no, isBlockDevice: no, isCharacterDevice: no };
        assert.equal(formatMode({ ...kind, mode: 0o100644 }), "-rw-r--r--");
        assert.equal(formatMode({ ...kind, mode: 0o104755 }), "urwxr-xr-x");
        assert.equal(formatMode({ ...kind, mode: 0o120777, isSymbolicLink: () => true }), "Lrwxrwxrwx");
    });

    it("go to the registry that the image's name says", () => {
        assert.equal(registryOf("localhost:5000/a/b:1"), "localhost:5000");
        assert.equal(registryOf("ghcr.io/a/b"), "ghcr.io");
        assert.equal(registryOf("docker.io/library/ubuntu"), "https://index.docker.io/v1/");
    });
});

const expectedContextDigest = "8c054fb8080f1a21d25f2a1cee46d6e2b101f499a727b7e4eb540427ce8c2094";
