import type { ContainerClient } from "@azure/storage-blob";
import { BlobServiceClient } from "@azure/storage-blob";
import type { FastifyInstance } from "fastify";

import { openStore, storageCredential } from "../../cli/context";
import { buildKey, layout } from "../../contract/layout";
import type { Artifact, AttemptStarted, Manifest } from "../../contract/manifest";
import type { PipelineResult } from "../../contract/pipeline";
import type { BuildEvent, BuildRecord, BuildRequest } from "../../service/build";
import { Authenticator } from "../../service/http/auth";
import { createServer } from "../../service/http/server";
import { BuildQueue } from "../../service/queue";
import { Runner } from "../../service/runner";
import type { Scope } from "../../service/scopes";
import { scopes } from "../../service/scopes";
import type { ServiceSettings } from "../../service/settings";
import { serviceDefaults } from "../../service/settings";
import { noSources } from "../../service/sourceProvider";
import type { BuildChange } from "../../service/store";
import { QueueStore } from "../../service/store";
import { addToken } from "../../service/tokens";
import { platform, projectDirectory } from "./ke1";
import { TemporaryDirectory } from "./temporary";

/** What a test says of a build that it has in the list. */
export type Seed = Omit<Partial<BuildRecord>, "request"> & { readonly request?: Partial<BuildRequest> };

/**
 * The service's HTTP interface over a queue that runs nothing by itself: the test says what happens to its builds. Queue,
 * store, server and pages are the real ones.
 */
export class PageService {
    private seeded = 0;

    private constructor(
        public readonly address: string,
        public readonly queue: BuildQueue,
        public readonly container: ContainerClient,
        private readonly tokens: Readonly<Record<string, string>>,
        private readonly store: QueueStore,
        private readonly app: FastifyInstance,
        private readonly data: TemporaryDirectory,
    ) {}

    public static async start(): Promise<PageService> {
        const { blobEndpoint } = platform();
        const service = new BlobServiceClient(blobEndpoint, storageCredential(blobEndpoint));
        const name = `tmp-page-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
        const container = service.getContainerClient(name);
        await container.create();
        const data = new TemporaryDirectory();
        const settings: ServiceSettings = {
            ...{ dataDirectory: data.path, projectDirectory, baseStack: "dev", ...serviceDefaults, namespaces: [] },
            ...{ noCache: false, extraBuildArgs: {}, allowSources: [], localSources: false, showLogs: false },
            ke1: [process.execPath, ""],
        };
        const store = QueueStore.open(data.path);
        const containerUrl = `${blobEndpoint}/${name}`;
        const queue = new BuildQueue(store, new Runner(settings, noSources), settings, () => containerUrl);
        const file = `${data.path}/tokens`;
        const names: Readonly<Record<Scope, string>> = {
            "builds:read": "reader",
            "builds:write": "writer",
            admin: "admin",
        };
        const tokens = Object.fromEntries(scopes.map((scope) => [scope, addToken(file, names[scope], scope)]));
        const authenticator = await Authenticator.open(file, undefined);
        const app = await createServer(
            { queue, settings, openStore },
            { authenticator, requestsPerMinute: 100_000, bodyLimit: 1024 * 1024 },
        );
        const address = await app.listen({ host: "127.0.0.1", port: 0 });
        return new PageService(address, queue, container, tokens, store, app, data);
    }

    public async stop(): Promise<void> {
        await this.app.close();
        this.store.close();
        await this.container.deleteIfExists();
        this.data.remove();
    }

    public token(scope: Scope): string {
        return this.tokens[scope] ?? "";
    }

    /** A build of the list, in any state. */
    public seed({ request, ...rest }: Seed = {}): BuildRecord {
        this.seeded += 1;
        const id = this.seeded.toString(16).padStart(12, "0");
        const createdAt = rest.createdAt ?? new Date().toISOString();
        const record: BuildRecord = {
            ...{ id, state: "queued", caller: "writer", stack: `build-${id}`, createdAt, kept: false },
            containerUrl: this.container.url.replace(/\?.*$/, ""),
            ...rest,
            request: { kind: "build", source: "https://example.com/web.git", config: {}, labels: {}, ...request },
        };
        this.store.add(record, {});
        this.store.addEvent(id, "queued", { caller: record.caller }, createdAt);
        return record;
    }

    /** Something happens to a build, and whoever listens is told. */
    public happens(id: string, type: BuildEvent["type"], change: BuildChange): void {
        this.store.change(id, change);
        this.queue.emit("event", this.store.addEvent(id, type, { ...change }, new Date().toISOString()));
    }

    /** A log in the store, as an exporter has it; it grows by `append`. */
    public async log(
        buildTag: string,
        attempt = 1,
    ): Promise<{ readonly append: (text: string | Buffer) => Promise<void> }> {
        const log = `logs/2026112${attempt}T000000.000Z.log`;
        const started: AttemptStarted = {
            ...{ schemaVersion: 1, buildTag, attempt, startedAt: new Date().toISOString(), log, command: ["make"] },
            job: { namespace: "page", name: "page" },
            pod: { name: "page", uid: "0", node: "page" },
            ...{ image: "page", source: { tree: "page" } },
        };
        const blob = this.container.getAppendBlobClient(`${buildKey(buildTag)}/${log}`);
        await blob.create();
        const document = this.container.getAppendBlobClient(layout.started(buildKey(buildTag), attempt));
        await document.create();
        const line = Buffer.from(`${JSON.stringify(started)}\n`);
        await document.appendBlock(line, line.length);
        return {
            append: async (text) => {
                const bytes = Buffer.from(text);
                for (let at = 0; at < bytes.length; at += 4 * 1024 * 1024) {
                    const block = bytes.subarray(at, at + 4 * 1024 * 1024);
                    await blob.appendBlock(block, block.length);
                }
            },
        };
    }

    public async artifacts(
        buildTag: string,
        files: Readonly<Record<string, string>>,
        listed: readonly Artifact[],
    ): Promise<void> {
        for (const [name, content] of Object.entries(files)) {
            await this.put(layout.artifact(buildKey(buildTag), name), content);
        }
        const manifest: Partial<Manifest> = { schemaVersion: 1, buildTag, artifacts: listed };
        await this.put(layout.manifest(buildKey(buildTag)), JSON.stringify(manifest));
    }

    public async pipeline(buildTag: string, result: PipelineResult): Promise<void> {
        await this.put(layout.pipeline(buildTag), JSON.stringify(result));
    }

    private async put(name: string, content: string): Promise<void> {
        await this.container.getBlockBlobClient(name).upload(content, Buffer.byteLength(content));
    }
}
