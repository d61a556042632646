import * as assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

import type { ContainerClient } from "@azure/storage-blob";
import { BlobServiceClient, ContainerSASPermissions, StorageSharedKeyCredential } from "@azure/storage-blob";
import { Ajv2020 } from "ajv/dist/2020";

import { layout } from "../../contract/layout";
import type { AttemptFinished, AttemptStarted, ExporterResult, Manifest } from "../../contract/manifest";

const repository = path.resolve(__dirname, "../..");
const buildTag = "0b6f5a1";
const account = "ke1test";

/** The real exporter and wrapper, as a pod's two containers, on a real blob store: what they write is what we agreed on. */
describe("the exporter's documents", function () {
    this.timeout(60_000);

    let directory: string;
    let azurite: ChildProcess | undefined;
    let container: ContainerClient;
    let containerUrl: string;
    let pods = 0;

    before(async () => {
        directory = fs.mkdtempSync(path.join(os.tmpdir(), "ke1-exporter-"));
        const key = randomBytes(64).toString("base64");
        const port = await freePort();
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
        containerUrl = container.url;
        const url = await container.generateSasUrl({
            permissions: ContainerSASPermissions.from({ read: true, add: true, create: true, write: true }),
            expiresOn: new Date(Date.now() + 3_600_000),
        });
        fs.writeFileSync(path.join(directory, "sas"), new URL(url).search.slice(1), { mode: 0o600 });
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
        const pod = path.join(directory, `pod-${++pods}`);
        const shared = path.join(pod, "shared");
        const source = path.join(pod, "source");
        fs.mkdirSync(shared, { recursive: true });
        fs.mkdirSync(source);
        const exporter = spawn(path.join(repository, "exporter/image/ke1-exporter"), {
            env: {
                KE1_DIR: shared,
                KE1_BUILD_TAG: tag,
                KE1_CONTAINER_URL: containerUrl,
                KE1_CREDENTIAL_FILE: path.join(directory, "sas"),
                KE1_SOURCE_COMMIT: "",
                KE1_SOURCE_TREE: `sha256:${"0".repeat(64)}`,
                KE1_COMMAND: JSON.stringify(["make", "build"]),
                KE1_IMAGE: `localhost:5000/ke-1-build@sha256:${"a".repeat(64)}`,
                KE1_JOB_NAMESPACE: "ke-1",
                KE1_JOB_NAME: `ke-1-${tag}`,
                KE1_POD_NAME: `ke-1-${tag}-${pods}`,
                KE1_POD_UID: `uid-${pods}`,
                KE1_NODE_NAME: "node",
                KE1_TERMINATION_LOG: path.join(pod, "none"),
            },
            stdio: ["ignore", "pipe", "ignore"],
        });
        const build = spawn("sh", [path.join(repository, "exporter/wrapper/wrap.sh"), "sh", "-c", script], {
            cwd: source,
            env: { PATH: process.env["PATH"], KE1_DIR: shared },
            stdio: "ignore",
        });
        const [words, [exporterCode], [buildCode]] = await Promise.all([
            text(exporter.stdout),
            once(exporter, "exit"),
            once(build, "exit"),
        ]);
        assert.equal(words.trimEnd().split("\n").length, 1, "one line on standard output");
        return { exporterCode, buildCode, result: validated("exporter-result", words) as ExporterResult };
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

async function freePort(): Promise<number> {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as net.AddressInfo;
    server.close();
    await once(server, "close");
    return port;
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
