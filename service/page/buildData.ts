import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";

import { UserError } from "../../contract/errors";
import { buildKey } from "../../contract/layout";
import type { Artifact } from "../../contract/manifest";
import { relativePath } from "../../contract/patterns";
import type { PipelineResult } from "../../contract/pipeline";
import type { BuildStore } from "../../launcher/store";
import type { PipelineDefinition } from "../../pipeline/definition";
import { pipelineContent, readPipeline } from "../../pipeline/read";
import type { BuildRecord } from "../build";
import type { ServiceContext } from "../http/context";
import { attemptLogPath } from "../log";
import { LogLines } from "./log/logLines";

/** Of a log's end, for a browser without scripts, in bytes and lines. */
const tailBytes = 64 * 1024;
const tailLines = 200;
/** Of a blob that is handed over, at a time, in bytes. */
const chunk = 4 * 1024 * 1024;

type Data = Pick<ServiceContext, "queue" | "settings" | "openStore">;

/** What the store has of a build; what cannot be read is as if it were not there. */
export async function storedOf(
    { openStore }: Data,
    { buildTag, containerUrl, state }: BuildRecord,
): Promise<{ readonly artifacts?: readonly Artifact[]; readonly pipeline?: PipelineResult }> {
    if (buildTag === undefined || containerUrl === undefined || state === "queued" || state === "running") {
        return {};
    }
    const store = openStore(containerUrl);
    const [manifest, pipeline] = await Promise.all([
        state === "succeeded" ? orNothing(store.manifest(buildKey(buildTag))) : undefined,
        orNothing(store.pipeline(buildTag)),
    ]);
    return { ...(manifest && { artifacts: manifest.artifacts }), ...(pipeline && { pipeline }) };
}

/** The last lines of a log, as text. */
export async function tailOf(data: Data, build: BuildRecord, of: "build" | "launcher"): Promise<string> {
    const bytes =
        of === "launcher" ? fileTail(data.queue.launchLog(build.id)) : ((await orNothing(logTail(data, build))) ?? "");
    const lines = new LogLines();
    lines.append(bytes.toString());
    const all = Array.from({ length: lines.length }, (_, index) => lines.text(index));
    return all.slice(-tailLines).join("\n");
}

/** All that there is of a log, as it goes over the wire. */
export async function wholeLogOf(data: Data, build: BuildRecord, isLauncher: boolean): Promise<Readable | string> {
    if (isLauncher) {
        const file = data.queue.launchLog(build.id);
        return fs.existsSync(file) ? fs.createReadStream(file) : "";
    }
    const store = build.containerUrl === undefined ? undefined : data.openStore(build.containerUrl);
    const log = store && (await attemptLogPath(store, build));
    return store && log !== undefined ? Readable.from(bytesOf(store, log)) : "";
}

/** A blob, a chunk after the other. */
export async function* bytesOf(store: BuildStore, blob: string): AsyncGenerator<Buffer> {
    for (let offset = 0; ;) {
        const bytes = await store.bytes(blob, offset, chunk);
        if (!bytes || bytes.length === 0) {
            return;
        }
        yield bytes;
        offset += bytes.length;
    }
}

/** Builds of the same lane, application, repository or source, the newest first. */
export function alike({ queue }: Data, { request }: BuildRecord): readonly BuildRecord[] {
    const limit = 60;
    if (request.lane !== undefined) {
        return queue.list({ lane: request.lane, limit });
    }
    const label = ["app", "repo"].find((name) => request.labels[name] !== undefined);
    if (label !== undefined) {
        return queue.list({ labels: { [label]: request.labels[label] ?? "" }, limit });
    }
    const { source } = request;
    return source.startsWith("data:")
        ? []
        : queue.list({ text: source, limit }).filter((other) => other.request.source === source);
}

/** The definition of a build's pipeline, where its request names one that can still be read. */
export function pipelineOf({ settings }: Data, build: BuildRecord): PipelineDefinition | undefined {
    const { pipeline, pipelineVariables } = build.request.config;
    if (typeof pipeline !== "string" || pipeline === "") {
        return undefined;
    }
    try {
        const { projectDirectory } = settings;
        // Callers can name what is in the project; any other path is of the operator's own triggers and watches.
        const within = relativePath.test(pipeline) ? projectDirectory : undefined;
        const content = pipelineContent(path.resolve(projectDirectory, pipeline), pipeline, within);
        const given: unknown =
            typeof pipelineVariables === "string" ? JSON.parse(pipelineVariables) : (pipelineVariables ?? {});
        return readPipeline(path.basename(pipeline), content, {
            builtIn: { BUILD_TAG: build.buildTag ?? "0000000", SOURCE_COMMIT: build.commit ?? "0".repeat(40) },
            given: Object.fromEntries(Object.entries(given as object).map(([name, value]) => [name, String(value)])),
        });
    } catch {
        return undefined;
    }
}

async function logTail({ openStore }: Data, build: BuildRecord): Promise<Buffer | undefined> {
    if (build.containerUrl === undefined) {
        return undefined;
    }
    const store: BuildStore = openStore(build.containerUrl);
    const log = await attemptLogPath(store, build);
    const [blob] = log === undefined ? [] : await store.sizes(log);
    return blob && store.bytes(blob.name, Math.max(0, blob.size - tailBytes), tailBytes);
}

function fileTail(file: string): Buffer {
    if (!fs.existsSync(file)) {
        return Buffer.alloc(0);
    }
    const descriptor = fs.openSync(file, "r");
    try {
        const { size } = fs.fstatSync(descriptor);
        const bytes = Buffer.alloc(Math.min(size, tailBytes));
        return bytes.subarray(0, fs.readSync(descriptor, bytes, 0, bytes.length, size - bytes.length));
    } finally {
        fs.closeSync(descriptor);
    }
}

async function orNothing<T>(read: Promise<T>): Promise<T | undefined> {
    return read.catch((error: unknown) => {
        if (!(error instanceof UserError)) {
            process.stderr.write(`page: ${error instanceof Error ? error.message : String(error)}\n`);
        }
        return undefined;
    });
}
