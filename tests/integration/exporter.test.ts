import * as assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { ContainerClient } from "@azure/storage-blob";
import { BlobServiceClient, ContainerSASPermissions, StorageSharedKeyCredential } from "@azure/storage-blob";
import { Ajv2020 } from "ajv/dist/2020";

import { layout } from "../../contract/layout";
import type { AttemptFinished, AttemptStarted, ExporterResult, Manifest } from "../../contract/manifest";
import { showLog } from "../../launcher/logs";
import { BuildStore } from "../../launcher/store";
import { ExporterPods } from "../helpers/exporterPods";
import { freePort } from "../helpers/ports";

const repository = path.resolve(__dirname, "../..");
const buildTag = "0b6f5a1";
const account = "ke1test";

/** The real exporter and wrapper, as a pod's two containers, on a real blob store: what they write is what we agreed on. */
describe("the exporter's documents", function () {
    this.timeout(60_000);

    let directory: string;
    let azurite: ChildProcess | undefined;
    let container: ContainerClient;
    let pods: ExporterPods;

    before(async () => {
        directory = fs.mkdtempSync(path.join(os.tmpdir(), "ke1-exporter-"));
        const key = randomBytes(64).toString("base64");
        const port = await freePort("127.0.0.1");
        const main = path.join(repository, "node_modules/azurite/dist/src/blob/main.js");
        azurite = spawn(
            process.execPath,
            [main, "--blobHost", "127.0.0.1", "--blobPort", String(port), "--location", path.join(directory, "azurite")]
                // The emulator may know older versions of the service only.
                .concat("--silent", "--skipApiVersionCheck", "--disableTelemetry"),
            { env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${key}` }, stdio: "ignore" },
        );
        const service = new BlobServiceClient(
            `http://127.0.0.1:${port}/${account}`,
            new StorageSharedKeyCredential(account, key),
        );
        container = service.getContainerClient("builds");
        await eventually(() => container.createIfNotExists());
        const url = await container.generateSasUrl({
            permissions: ContainerSASPermissions.from({ read: true, add: true, create: true, write: true }),
            expiresOn: new Date(Date.now() + 3_600_000),
        });
        pods = new ExporterPods(directory, container.url, new URL(url).search.slice(1));
    });

    after(async () => {
        if (azurite?.exitCode === null) {
            azurite.kill("SIGKILL");
            await once(azurite, "exit");
        }
        fs.rmSync(directory, { recursive: true, force: true });
    });

    /** Runs a build script in one pod; the exit codes of both containers, and the exporter's last words. */
    async function attempt(tag: string, script: string) {
        const { words, ...codes } = await pods.run(tag, script);
        return { ...codes, result: validated("exporter-result", words) as ExporterResult };
    }

    async function blob(name: string): Promise<Buffer> {
        return container.getBlobClient(name).downloadToBuffer();
    }

    async function started(tag: string, attempt: number): Promise<AttemptStarted> {
        return validated("started", (await blob(layout.started(tag, attempt))).toString()) as AttemptStarted;
    }

    async function finished(tag: string, attempt: number): Promise<AttemptFinished> {
        return validated("finished", (await blob(layout.finished(tag, attempt))).toString()) as AttemptFinished;
    }

    it("are valid for a build that succeeded, and describe what is stored", async () => {
        const script = "mkdir bin; echo hello > bin/a; ln -s a bin/link; mkfifo bin/fifo; echo printed";
        const { exporterCode, buildCode, result } = await attempt(buildTag, script);
        assert.deepEqual([exporterCode, buildCode, result.outcome], [0, 0, "Succeeded"]);
        const manifest = validated("manifest", (await blob(layout.manifest(buildTag))).toString()) as Manifest;
        assert.equal(manifest.source.commit, undefined);
        assert.deepEqual(manifest.links, [{ name: "link", target: "a" }]);
        assert.deepEqual(manifest.skipped, [{ name: "fifo", reason: "FIFO" }]);
        assert.equal((await finished(buildTag, 1)).artifacts, 1);
        assert.equal((await started(buildTag, 1)).log, manifest.log.name);
        const [artifact] = manifest.artifacts;
        const stored = await blob(layout.artifact(buildTag, artifact!.name));
        assert.equal(createHash("sha256").update(stored).digest("hex"), artifact!.sha256);
        const log = await blob(`${buildTag}/${manifest.log.name}`);
        assert.equal(log.toString(), "printed\n");
        assert.equal(createHash("sha256").update(log).digest("hex"), manifest.log.sha256);
    });

    it("are valid for a tag that is built already", async () => {
        const { exporterCode, buildCode, result } = await attempt(buildTag, "exit 9");
        assert.deepEqual([exporterCode, buildCode, result.outcome], [0, 0, "AlreadyBuilt"]);
    });

    it("are valid for a build that failed or was killed", async () => {
        const failed = await attempt("failing", "echo no; exit 9");
        assert.deepEqual([failed.exporterCode, failed.buildCode, failed.result.outcome], [0, 9, "BuildFailed"]);
        assert.equal((await finished("failing", 1)).exitCode, 9);
        const killed = await attempt("failing", "kill -9 $PPID");
        assert.equal(killed.result.outcome, "BuildFailed");
        assert.equal((await finished("failing", 2)).exitCode, undefined);
        assert.equal(await container.getBlobClient(layout.manifest("failing")).exists(), false);
    });

    it("are valid for artifacts that cannot be stored", async () => {
        const { exporterCode, result } = await attempt("unfit", "mkdir bin; touch 'bin/a\\b'");
        assert.deepEqual([exporterCode, result.outcome], [3, "ExportFailed"]);
        assert.match((await finished("unfit", 1)).message ?? "", /backslash/);
    });

    it("let a log be left and gone on with at the byte, as it grows", async () => {
        const store = new BuildStore(container);
        const log = container.getAppendBlobClient("followed/logs/x.log");
        await log.create();
        // A number that an exporter took and could say nothing under.
        await container.getAppendBlobClient(layout.started("followed", 2)).create();
        await store.putDocument(layout.started("followed", 1), { log: "logs/x.log" });
        const content = Buffer.from(
            Array.from({ length: 9_000_000 }, (_, index) => (index * 31 + (index >> 8)) & 0xff),
        );
        const options = { follow: true, pollInterval: 20, startLimit: 1000 };
        const read: Buffer[] = [];
        let offset = 0;
        for (let at = 0; at < content.length; at += 3_000_000) {
            const left = new AbortController();
            const showing = showLog(
                store,
                "followed",
                { ...options, offset },
                async (bytes) => {
                    await sleep(5);
                    read.push(bytes);
                    left.abort();
                },
                left.signal,
            );
            await log.appendBlock(content.subarray(at, at + 3_000_000), 3_000_000);
            ({ offset } = await showing);
            assert.equal(offset, Buffer.concat(read).length, "what was shown is what it goes on after");
        }
        await store.putDocument(layout.finished("followed", 1), { outcome: "Succeeded" });
        const { signal } = new AbortController();
        const end = await showLog(store, "followed", { ...options, offset }, (bytes) => void read.push(bytes), signal);
        assert.equal(end.offset, content.length);
        assert.ok(Buffer.concat(read).equals(content));
    });

    it("let a log be followed to its end that begins while it is looked for", async () => {
        const store = new BuildStore(container);
        const names = store.names.bind(store);
        let looks = 0;
        store.names = async (prefix) => {
            if (++looks > 1) {
                return names(prefix);
            }
            await store.putDocument(layout.started("begins", 1), { log: "logs/y.log" });
            await store.putLog("begins/logs/y.log", "all of it\n");
            await store.putDocument(layout.finished("begins", 1), { outcome: "Succeeded" });
            return names(prefix);
        };
        const options = { follow: true, pollInterval: 20, startLimit: 1000, offset: 0 };
        const signal = AbortSignal.timeout(5000);
        const { offset } = await showLog(store, "begins", options, () => undefined, signal);
        assert.equal(offset, "all of it\n".length);
        assert.equal(signal.aborted, false, "it ends with the build");
        assert.ok(looks > 0, "the log was looked for while there was no attempt");
    });

    it("are taken for absent while they are empty, and by their last line when they were corrected", async () => {
        const store = new BuildStore(container);
        await container.getAppendBlobClient(layout.started("empty", 1)).create();
        await container.getAppendBlobClient(layout.finished("empty", 1)).create();
        assert.deepEqual(await store.attempts("empty"), [
            { attempt: 1, started: undefined, finished: undefined, podinfo: undefined },
        ]);
        await store.putDocument(layout.podinfo("empty", 1), { outcome: "Cancelled" });
        await store.putDocument(layout.podinfo("empty", 1), { outcome: "Disrupted" });
        const [found] = await store.attempts("empty");
        assert.equal(found?.podinfo?.outcome, "Disrupted");
        const { blobType } = await container.getBlobClient(layout.podinfo("empty", 1)).getProperties();
        assert.equal(blobType, "AppendBlob");
        // As versions before this one wrote it.
        const indented = JSON.stringify({ outcome: "Succeeded" }, undefined, 2);
        await container.getBlockBlobClient(layout.finished("old", 1)).upload(indented, indented.length);
        assert.equal((await store.finished("old", 1))?.outcome, "Succeeded");
    });
});

const ajv = new Ajv2020({ strict: true, allErrors: true });

function validated(schema: string, content: string): unknown {
    const file = path.join(repository, "contract/schemas", `${schema}.schema.json`);
    const parsed = JSON.parse(fs.readFileSync(file, "utf8")) as { readonly $id: string };
    const validate = ajv.getSchema(parsed.$id) ?? ajv.compile(parsed);
    const value: unknown = JSON.parse(content);
    assert.ok(validate(value), `${schema}: ${JSON.stringify(validate.errors)} in ${content}`);
    return value;
}

async function eventually<T>(operation: () => Promise<T>): Promise<T> {
    const deadline = Date.now() + 20_000;
    for (;;) {
        try {
            return await operation();
        } catch (error) {
            if (Date.now() > deadline) {
                throw error;
            }
            await sleep(100);
        }
    }
}
