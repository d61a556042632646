import { randomUUID } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";

import { assembled } from "./buildkiteChunks";
import type { Answer } from "./buildkiteJobs";
import { jobRoutes, parsed } from "./buildkiteJobs";
import type { BuildkiteOptions, FakeAgent, FakeJob } from "./buildkiteModel";
import { Refused } from "./buildkiteModel";

type Handler = (id: string, request: IncomingMessage, body: Buffer, url: URL) => Answer;

/** A fault: the next requests it fits are answered with a status, or done and not answered at all. */
interface Fault {
    readonly pattern: RegExp;
    readonly status: number | "lost";
    times: number;
}

/**
 * Buildkite's side of the Agent API, made after the agent's source (api/*.go, agent/fake_api_server_test.go) and stricter
 * than it: a job goes from scheduled to assigned, accepted, running and finished, and no other way; each token is good for
 * what it is meant for; a log must come in chunks without a gap, and one that is sent twice must be the same. What an agent
 * does against the rules is refused, and kept in `violations`.
 */
export class BuildkiteServer {
    public readonly jobs: FakeJob[] = [];
    public readonly agents: FakeAgent[] = [];
    public readonly violations: string[] = [];
    /** Method and path of each request. */
    public readonly requests: string[] = [];
    private readonly faults: Fault[] = [];
    private readonly server: http.Server;

    public constructor(private readonly options: BuildkiteOptions) {
        const { tls } = options;
        const listener = (request: IncomingMessage, response: ServerResponse) => {
            void this.serve(request, response).catch(() => response.destroy());
        };
        this.server = tls
            ? https.createServer({ cert: fs.readFileSync(tls.certificate), key: fs.readFileSync(tls.key) }, listener)
            : http.createServer(listener);
    }

    public get url(): string {
        const { tls } = this.options;
        const { port } = this.server.address() as AddressInfo;
        return `${tls ? "https" : "http"}://${tls?.host ?? "127.0.0.1"}:${port}/v3`;
    }

    public async start(): Promise<this> {
        this.server.listen(0, this.options.tls?.host ?? "127.0.0.1");
        await once(this.server, "listening");
        return this;
    }

    public async stop(): Promise<void> {
        this.server.closeAllConnections();
        this.server.close();
        await once(this.server, "close");
    }

    /** A step's job, waiting for an agent. Without a queue among its rules it is for `default`. */
    public schedule(
        env: Readonly<Record<string, string>>,
        agents: Readonly<Record<string, string>> = {},
        limits: { readonly chunk?: number; readonly log?: number } = {},
    ): FakeJob {
        const id = randomUUID();
        const job: FakeJob = {
            id,
            token: `job-${randomUUID()}`,
            env: { BUILDKITE: "true", BUILDKITE_JOB_ID: id, ...env },
            agents: { queue: "default", ...agents },
            chunksMaxSizeBytes: limits.chunk ?? 102_400,
            logMaxSizeBytes: limits.log ?? 1024 ** 3,
            state: "scheduled",
            chunks: new Map(),
            annotations: [],
            artifacts: [],
            metaData: new Map(),
        };
        this.jobs.push(job);
        return job;
    }

    /** Somebody presses Cancel. */
    public cancel(job: FakeJob): void {
        job.state = job.state === "scheduled" || job.state === "assigned" ? "canceled" : "canceling";
    }

    public fault(pattern: RegExp, status: Fault["status"], times = 1): void {
        this.faults.push({ pattern, status, times });
    }

    /** The log as it is so far. @throws where a chunk is missing or does not fit. */
    public log(job: FakeJob): Buffer {
        return assembled(job.chunks);
    }

    private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
        const pieces: Buffer[] = [];
        for await (const piece of request) {
            pieces.push(piece as Buffer);
        }
        const url = new URL(request.url ?? "/", "http://server");
        const told = `${request.method} ${url.pathname.replace(/^\/v3/, "")}`;
        this.requests.push(told);
        const fault = this.faults.find(({ pattern, times }) => times > 0 && pattern.test(told));
        if (fault) {
            fault.times--;
        }
        let [status, answer] = [200, {} as Answer];
        try {
            if (typeof fault?.status === "number") {
                throw new Refused(fault.status, "a fault");
            }
            this.expire();
            answer = this.route(told, request, Buffer.concat(pieces), url);
        } catch (error) {
            status = error instanceof Refused ? error.status : 500;
            answer = { message: (error as Error).message };
            if (!fault && status !== 401 && status !== 404) {
                this.violations.push(`${told}: ${status} ${(error as Error).message}`);
            }
        }
        if (fault?.status === "lost") {
            request.socket.destroy();
            return;
        }
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(answer ?? {}));
    }

    private route(told: string, request: IncomingMessage, body: Buffer, url: URL): Answer {
        for (const [pattern, handler] of this.routes) {
            const match = pattern.exec(told);
            if (match) {
                return handler(match[1] ?? "", request, body, url);
            }
        }
        throw new Refused(404, "not found");
    }

    private readonly routes: readonly (readonly [RegExp, Handler])[] = [
        [/^POST \/register$/, (_id, request, body) => this.register(request, body)],
        [/^POST \/connect$/, (_id, request) => this.connect(this.agentOf(request))],
        [/^POST \/disconnect$/, (_id, request) => this.disconnect(this.agentOf(request))],
        [/^POST \/heartbeat$/, (_id, request, body) => this.heartbeat(this.agentOf(request), body)],
        [/^GET \/ping$/, (_id, request) => this.ping(this.agentOf(request))],
        [/^PUT \/jobs\/([^/]+)\/accept$/, (id, request) => this.accept(this.agentOf(request), id)],
        ...jobRoutes.map(([pattern, handler]): readonly [RegExp, Handler] => [
            pattern,
            (id, request, body, url) => handler(this.jobOf(request, id), body, url, request.headers),
        ]),
    ];

    private register(request: IncomingMessage, body: Buffer): Answer {
        if (request.headers.authorization !== `Token ${this.options.registrationToken}`) {
            throw new Refused(401, "no such agent token");
        }
        const registration = parsed(body);
        const tags = (registration["meta_data"] as string[] | null) ?? [];
        const agent: FakeAgent = {
            id: randomUUID(),
            name: registration["name"] as string,
            token: `agent-${randomUUID()}`,
            tags: new Map([["queue", "default"], ...tags.map((tag) => tag.split("=", 2) as [string, string])]),
            registration,
            state: "registered",
            heartbeats: 0,
            pings: 0,
            lastSeen: Date.now(),
        };
        this.agents.push(agent);
        return {
            id: agent.id,
            name: agent.name,
            access_token: agent.token,
            endpoint: this.url,
            ping_interval: this.options.pingInterval ?? 1,
            job_status_interval: 1,
            heartbeat_interval: this.options.heartbeatInterval ?? 1,
            meta_data: tags,
        };
    }

    private connect(agent: FakeAgent): Answer {
        agent.state = "connected";
        return {};
    }

    private disconnect(agent: FakeAgent): Answer {
        if (agent.job) {
            throw new Refused(422, "a job is not finished");
        }
        agent.state = "disconnected";
        return {};
    }

    private heartbeat(agent: FakeAgent, body: Buffer): Answer {
        agent.heartbeats++;
        agent.lastSeen = Date.now();
        return { ...parsed(body), received_at: new Date().toISOString() };
    }

    private ping(agent: FakeAgent): Answer {
        agent.pings++;
        agent.lastSeen = Date.now();
        if (agent.state !== "connected") {
            throw new Refused(422, `the agent is ${agent.state}`);
        }
        if (agent.action) {
            // Not to be taken: agent/agent_worker_ping.go ignores a job that comes with a pause.
            return { action: agent.action, job: { id: "of-a-paused-agent" } };
        }
        agent.job ??= this.assign(agent);
        return agent.job ? { job: { id: agent.job.id, state: agent.job.state } } : { action: "idle" };
    }

    /** The first job all of whose rules the agent's tags meet; `*` is any value. */
    private assign(agent: FakeAgent): FakeJob | undefined {
        const job = this.jobs.find(
            ({ state, agents }) =>
                state === "scheduled" &&
                Object.entries(agents).every(([key, value]) =>
                    value === "*" ? agent.tags.has(key) : agent.tags.get(key) === value,
                ),
        );
        if (job) {
            job.state = "assigned";
            job.agent = agent;
        }
        return job;
    }

    private accept(agent: FakeAgent, id: string): Answer {
        const job = this.jobs.find((each) => each.id === id);
        if (!job) {
            throw new Refused(404, "no such job");
        }
        if (job.state !== "assigned" || job.agent !== agent) {
            agent.job = undefined;
            throw new Refused(422, `the job is ${job.state}`);
        }
        job.state = "accepted";
        return {
            id,
            state: "accepted",
            token: job.token,
            endpoint: this.url,
            env: { ...job.env, BUILDKITE_AGENT_ID: agent.id, BUILDKITE_AGENT_NAME: agent.name },
            step: {},
            chunks_max_size_bytes: job.chunksMaxSizeBytes,
            chunks_interval_seconds: 1,
            log_max_size_bytes: job.logMaxSizeBytes,
        };
    }

    /** Whoever has not been heard of is lost: its job ends, and its tokens are worth nothing any more. */
    private expire(): void {
        for (const agent of this.agents) {
            const silent = Date.now() - agent.lastSeen > (this.options.lostAfter ?? 60_000);
            if (silent && agent.state === "connected") {
                agent.state = "lost";
                if (agent.job) {
                    agent.job.exit = { exit_status: "-1", signal_reason: "agent_lost" };
                    agent.job.state = "finished";
                    agent.job = undefined;
                }
            }
        }
    }

    private agentOf(request: IncomingMessage): FakeAgent {
        const agent = this.agents.find(({ token }) => request.headers.authorization === `Token ${token}`);
        if (!agent || agent.state === "lost" || agent.state === "disconnected") {
            throw new Refused(401, "no such access token");
        }
        return agent;
    }

    private jobOf(request: IncomingMessage, id: string): FakeJob {
        const job = this.jobs.find((each) => each.id === id);
        const ended = job?.state === "finished" || job?.state === "canceled";
        if (!job || ended || request.headers.authorization !== `Token ${job.token}`) {
            throw new Refused(401, "no such job token");
        }
        return job;
    }
}
