import { gzipSync } from "node:zlib";

import type { Annotation, ArtifactBatch, Chunk, Exit, Job, Ping, RegisterRequest, Registration } from "./protocol";

/** The public one, unless the agent is told another. */
export const publicEndpoint = "https://agent.buildkite.com/v3";
/** Milliseconds for an answer; what the agent allows itself (internal/agenthttp). */
const patience = 60_000;
/** The longest answer that is read, in bytes: a job's environment is the largest part of any. */
const longestAnswer = 8 * 1024 * 1024;

/** What became of a request that did not succeed. */
export class AgentApiError extends Error {
    public override readonly name = "AgentApiError";

    public constructor(
        message: string,
        /** Absent where there was no answer. */
        public readonly status: number | undefined,
        /** Whether asking again may help: no answer, 429, 5xx, or an answer that is none of the API's (api/retryable.go). */
        public readonly retryable: boolean,
        /** Seconds that the server asked to be left alone for. */
        public readonly retryAfter?: number,
    ) {
        super(message);
    }
}

export interface AgentApiOptions {
    readonly endpoint: string;
    /** Secret: that of the organization, of an agent, or of a job. */
    readonly token: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly userAgent: string;
}

/** Buildkite's Agent API, one request at a time. Nobody's tokens are in what it throws. */
export class AgentApi {
    public constructor(private readonly options: AgentApiOptions) {}

    public get endpoint(): string {
        return this.options.endpoint;
    }

    /** The same server, by another token: an agent's after it has registered, a job's after it was accepted. */
    public as(token: string, endpoint = this.options.endpoint, headers = this.options.headers): AgentApi {
        return new AgentApi({ ...this.options, token, endpoint, headers });
    }

    public async register(request: RegisterRequest): Promise<Registration> {
        const answer = await this.ask<Partial<Registration>>("POST", "register", request);
        if (!answer.id || !answer.access_token) {
            throw new AgentApiError("the server registered no agent: its answer has no id or access token", 200, false);
        }
        const seconds = (value: number | undefined, usual: number) => (value && value > 0 ? value : usual);
        return {
            ...answer,
            id: answer.id,
            access_token: answer.access_token,
            name: answer.name ?? request.name,
            ping_interval: seconds(answer.ping_interval, 10),
            job_status_interval: seconds(answer.job_status_interval, 1),
            heartbeat_interval: seconds(answer.heartbeat_interval, 60),
        };
    }

    public async connect(): Promise<void> {
        await this.tell("POST", "connect");
    }

    public async disconnect(): Promise<void> {
        await this.tell("POST", "disconnect");
    }

    public async heartbeat(): Promise<void> {
        await this.tell("POST", "heartbeat", { sent_at: new Date().toISOString() });
    }

    public async ping(): Promise<Ping> {
        return this.ask<Ping>("GET", "ping");
    }

    /** @returns the job with all of its environment. */
    public async accept(job: string): Promise<Job> {
        const answer = await this.ask<Partial<Job>>("PUT", `jobs/${segment(job)}/accept`);
        const most = answer.chunks_max_size_bytes ?? 0;
        if (answer.id !== job || most <= 0) {
            throw new AgentApiError(`the server's answer to accepting ${job} is no job`, 200, false);
        }
        return { ...answer, id: job, env: answer.env ?? {}, chunks_max_size_bytes: most };
    }

    public async start(job: string, at: Date): Promise<void> {
        await this.tell("PUT", `jobs/${segment(job)}/start`, { started_at: at.toISOString() });
    }

    /** `running`; `canceling`, `canceled`, `timing_out` and `timed_out` ask for an end. */
    public async state(job: string): Promise<string> {
        return (await this.ask<{ readonly state?: string }>("GET", `jobs/${segment(job)}`)).state ?? "";
    }

    public async upload(job: string, { sequence, offset, data }: Chunk): Promise<void> {
        const where = `jobs/${segment(job)}/chunks?sequence=${sequence}&offset=${offset}&size=${data.length}`;
        const headers = { "content-type": "text/plain", "content-encoding": "gzip" };
        await this.request("POST", where, headers, gzipSync(data));
    }

    public async finish(job: string, exit: Exit, at: Date, failedChunks: number): Promise<void> {
        await this.tell("PUT", `jobs/${segment(job)}/finish`, {
            exit_status: String(exit.status),
            ...(exit.signal === undefined ? {} : { signal: exit.signal }),
            ...(exit.reason === undefined ? {} : { signal_reason: exit.reason }),
            finished_at: at.toISOString(),
            chunks_failed_count: failedChunks,
        });
    }

    public async annotate(job: string, annotation: Annotation): Promise<void> {
        await this.tell("POST", `jobs/${segment(job)}/annotations`, annotation);
    }

    public async setMetaData(job: string, key: string, value: string): Promise<void> {
        await this.tell("POST", `jobs/${segment(job)}/data/set`, { key, value });
    }

    /** @returns the ids of the artifacts, in the batch's order. */
    public async createArtifacts(job: string, batch: ArtifactBatch): Promise<readonly string[]> {
        const answer = await this.ask<{ artifact_ids?: readonly string[] }>(
            "POST",
            `jobs/${segment(job)}/artifacts`,
            batch,
        );
        return answer.artifact_ids ?? [];
    }

    public async finishArtifacts(job: string, ids: readonly string[]): Promise<void> {
        const artifacts = ids.map((id) => ({ id, state: "finished" }));
        await this.tell("PUT", `jobs/${segment(job)}/artifacts`, { artifacts });
    }

    private async tell(method: string, where: string, body?: unknown): Promise<void> {
        await this.request(method, where, ...json(body));
    }

    private async ask<T>(method: string, where: string, body?: unknown): Promise<T> {
        const { status, text } = await this.request(method, where, ...json(body));
        try {
            return JSON.parse(text) as T;
        } catch {
            // The page of a proxy on the way: the API's own answer is lost, and may come the next time.
            throw new AgentApiError(`${method} ${pathOf(where)}: the answer is no JSON`, status, true);
        }
    }

    private async request(
        method: string,
        where: string,
        headers: Readonly<Record<string, string>>,
        body?: string | Buffer,
    ): Promise<{ readonly status: number; readonly text: string }> {
        const told = `${method} ${pathOf(where)}`;
        let response: Response;
        let text: string;
        try {
            response = await fetch(`${this.options.endpoint.replace(/\/+$/, "")}/${where}`, {
                method,
                headers: {
                    ...this.options.headers,
                    ...headers,
                    "user-agent": this.options.userAgent,
                    authorization: `Token ${this.options.token}`,
                    "buildkite-timeout-milliseconds": String(patience),
                },
                body: body === undefined ? undefined : new Uint8Array(Buffer.from(body)),
                // A token goes where it was meant to, and nowhere else.
                redirect: "error",
                signal: AbortSignal.timeout(patience),
            });
            text = await limited(response);
        } catch (error) {
            throw new AgentApiError(`${told}: no answer (${reasonOf(error)})`, undefined, true);
        }
        if (!response.ok) {
            const { status } = response;
            const said = messageIn(text);
            throw new AgentApiError(
                `${told}: the server answered ${status}${said === "" ? "" : ` (${said})`}`,
                status,
                status === 429 || status >= 500,
                Number(response.headers.get("retry-after")) || undefined,
            );
        }
        return { status: response.status, text };
    }
}

/** Only these headers may a server ask for (api/client.go). */
export function permittedHeaders(
    headers: Readonly<Record<string, string>> | null | undefined,
): Readonly<Record<string, string>> | undefined {
    return headers
        ? Object.fromEntries(Object.entries(headers).filter(([name]) => /^buildkite-[a-z0-9-]+$/i.test(name)))
        : undefined;
}

function json(body: unknown): [Readonly<Record<string, string>>, string?] {
    return body === undefined ? [{}] : [{ "content-type": "application/json" }, JSON.stringify(body)];
}

/** Rails takes no dot in a segment of a path (api/client.go). */
function segment(text: string): string {
    return encodeURIComponent(text).replaceAll(".", "%2E");
}

function pathOf(where: string): string {
    return `/${where.replace(/\?.*$/, "")}`;
}

async function limited(response: Response): Promise<string> {
    const pieces: Uint8Array[] = [];
    let size = 0;
    for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) {
        pieces.push(piece);
        size += piece.length;
        if (size > longestAnswer) {
            throw new Error("the answer is too long");
        }
    }
    return Buffer.concat(pieces).toString("utf8");
}

/** The API's own words of an error, on one line. */
function messageIn(text: string): string {
    try {
        const { message } = JSON.parse(text) as { message?: unknown };
        return typeof message === "string" ? message.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, 300) : "";
    } catch {
        return "";
    }
}

function reasonOf(error: unknown): string {
    const { name, cause, message } = error as Error & { cause?: { code?: unknown; message?: string } };
    if (name === "TimeoutError") {
        return `in ${patience / 1000} s`;
    }
    return typeof cause?.code === "string" ? cause.code : (cause?.message ?? message);
}
