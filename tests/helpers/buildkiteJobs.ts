import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { gunzipSync } from "node:zlib";

import { takeChunk } from "./buildkiteChunks";
import type { FakeJob } from "./buildkiteModel";
import { Refused } from "./buildkiteModel";

export type Answer = Record<string, any> | undefined;
type JobHandler = (job: FakeJob, body: Buffer, url: URL, headers: IncomingHttpHeaders) => Answer;

/** What is asked with a job's own token. */
export const jobRoutes: readonly (readonly [RegExp, JobHandler])[] = [
    [/^PUT \/jobs\/([^/]+)\/start$/, begin],
    [/^GET \/jobs\/([^/]+)$/, ({ state }) => ({ state })],
    [/^PUT \/jobs\/([^/]+)\/finish$/, finish],
    [/^POST \/jobs\/([^/]+)\/chunks$/, chunk],
    [/^POST \/jobs\/([^/]+)\/annotations$/, annotate],
    [/^POST \/jobs\/([^/]+)\/data\/set$/, setMetaData],
    [/^POST \/jobs\/([^/]+)\/artifacts$/, createArtifacts],
    [/^PUT \/jobs\/([^/]+)\/artifacts$/, updateArtifacts],
];

export function parsed(body: Buffer): Record<string, any> {
    return JSON.parse(body.toString("utf8")) as Record<string, any>;
}

function begin(job: FakeJob): Answer {
    if (job.state === "accepted") {
        job.state = "running";
    } else if (job.state !== "canceling") {
        throw new Refused(422, `the job is ${job.state}`);
    }
    return {};
}

function mustRun({ state }: FakeJob): void {
    if (!["running", "canceling", "timing_out"].includes(state)) {
        throw new Refused(422, `the job is ${state}`);
    }
}

function chunk(job: FakeJob, body: Buffer, url: URL, headers: IncomingHttpHeaders): Answer {
    mustRun(job);
    const number = (name: string) => Number(url.searchParams.get(name) ?? NaN);
    const data = headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
    const fault = takeChunk(
        job.chunks,
        { sequence: number("sequence"), offset: number("offset"), size: number("size"), data },
        job.chunksMaxSizeBytes,
    );
    if (fault !== undefined) {
        throw new Refused(422, fault);
    }
    return {};
}

function finish(job: FakeJob, body: Buffer): Answer {
    mustRun(job);
    const exit = parsed(body);
    if (typeof exit["exit_status"] !== "string" || typeof exit["finished_at"] !== "string") {
        throw new Refused(422, "exit_status and finished_at must be text");
    }
    job.exit = exit;
    job.state = job.state === "running" ? "finished" : "canceled";
    job.agent!.job = undefined;
    return {};
}

function annotate(job: FakeJob, body: Buffer): Answer {
    job.annotations.push(parsed(body));
    return {};
}

function setMetaData(job: FakeJob, body: Buffer): Answer {
    const { key, value } = parsed(body);
    job.metaData.set(key as string, value as string);
    return {};
}

function createArtifacts(job: FakeJob, body: Buffer): Answer {
    const batch = parsed(body);
    const added = (batch["artifacts"] as Record<string, any>[]).map((each) => ({
        ...each,
        id: randomUUID(),
        state: "new",
        destination: batch["upload_destination"],
    }));
    job.artifacts.push(...added);
    return { id: batch["id"], artifact_ids: added.map((each) => each.id) };
}

function updateArtifacts(job: FakeJob, body: Buffer): Answer {
    for (const { id, state } of parsed(body)["artifacts"] as { id: string; state: string }[]) {
        job.artifacts.find((each) => each["id"] === id)!["state"] = state;
    }
    return {};
}
