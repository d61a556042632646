import { messageOf, UserError } from "../../contract/errors";
import type { AgentApi } from "./agentApi";
import { AgentApiError, permittedHeaders } from "./agentApi";
import type { JobBuilds } from "./builds";
import { JobRun } from "./job";
import type { JobBase } from "./jobRequest";
import type { Job, Ping, RegisterRequest, Registration } from "./protocol";
import { patience, persistently } from "./retry";
import { isAborted, pause } from "./signals";
import type { StateFile } from "./state";
import { acceptedJob } from "./state";

/** Milliseconds that an agent without room for a build waits before it looks again. */
const roomInterval = 1000;

/** Milliseconds, more or less, before an agent that was given up registers anew. */
const lostInterval = 2000;

export interface AgentOptions {
    /** Signs in with the token that agents register by. */
    readonly api: AgentApi;
    readonly registration: RegisterRequest;
    readonly builds: JobBuilds;
    readonly state: StateFile;
    readonly base: () => JobBase;
    readonly directory: string;
    /** Takes no more jobs; the one that runs is finished. */
    readonly stopping: AbortSignal;
    /** Ends at once; the job that runs is left to the next process. */
    readonly leaving: AbortSignal;
    readonly say: (line: string) => void;
}

/** One agent of the build server: registers, asks for jobs, and runs one at a time. */
export class SpawnAgent {
    private api: AgentApi;
    private lost = new AbortController();

    public constructor(private readonly options: AgentOptions) {
        this.api = options.api;
    }

    /** Ends when it is told to, by a signal or by the server. */
    public async run(): Promise<void> {
        const { stopping, leaving, state } = this.options;
        const either = AbortSignal.any([stopping, leaving]);
        while (!either.aborted || state.get()?.job) {
            const before = state.get();
            // Whoever was killed with a job is still that agent; whoever was killed without one need not be.
            const registration = before?.job ? before.registration : await this.register(either);
            if (!registration) {
                return;
            }
            const goOn = await this.asAgent(registration, either);
            if (leaving.aborted || !goOn) {
                return;
            }
            // A server that knows no agent for long must not be asked without a pause.
            await pause(lostInterval * (0.5 + Math.random()), either);
        }
    }

    /** @returns undefined when it is told to end before it is registered */
    private async register(signal: AbortSignal): Promise<Registration | undefined> {
        const { api, registration, state, say } = this.options;
        const before = state.get()?.registration;
        if (before) {
            // So that nobody waits for an agent that will not be heard of.
            await this.signedIn(before)
                .disconnect()
                .catch(() => undefined);
        }
        try {
            const registered = await persistently(
                async () => api.register(registration),
                patience.register,
                say,
                signal,
            );
            state.registered(registered);
            await persistently(async () => this.signedIn(registered).connect(), patience.connect, say, signal);
            say(`registered as ${registered.name} with ${registration.meta_data.join(", ")}`);
            return registered;
        } catch (error) {
            if (signal.aborted) {
                return undefined;
            }
            if (error instanceof AgentApiError && (error.status === 401 || error.status === 403)) {
                throw new UserError(`the build server refuses the agent token: ${error.message}`);
            }
            throw error;
        }
    }

    /**
     * What one registration is good for.
     *
     * @returns whether to register anew: the server has given this agent up
     */
    private async asAgent(registration: Registration, ending: AbortSignal): Promise<boolean> {
        const { state, leaving, say } = this.options;
        this.api = this.signedIn(registration);
        this.lost = new AbortController();
        const done = new AbortController();
        const heartbeats = this.heartbeats(registration, AbortSignal.any([done.signal, leaving]));
        let goOn = false;
        try {
            if (state.get()?.job) {
                // The tags may be others by now: this registration has done what it was kept for.
                await this.work(registration);
                goOn = !ending.aborted;
            } else {
                goOn = await this.askForJobs(registration, ending);
            }
        } finally {
            done.abort();
            await heartbeats;
        }
        if (!leaving.aborted && !state.get()?.job) {
            if (!this.lost.signal.aborted) {
                await persistently(async () => this.api.disconnect(), patience.disconnect, say).catch(
                    (error: unknown) => say(`could not disconnect: ${messageOf(error)}`),
                );
            }
            state.remove();
        }
        return goOn;
    }

    /** @returns whether to register anew */
    private async askForJobs(registration: Registration, ending: AbortSignal): Promise<boolean> {
        const { builds, say } = this.options;
        const interval = registration.ping_interval * 1000;
        const until = AbortSignal.any([ending, this.lost.signal]);
        let atOnce = true;
        let paused = false;
        while (!isAborted(until)) {
            // Jitter, so that agents which began together do not ask together.
            await pause(atOnce ? Math.random() * Math.min(interval, 1000) : interval * (0.5 + Math.random()), until);
            while (!builds.hasRoom() && !isAborted(until)) {
                await pause(roomInterval, until);
            }
            if (isAborted(until)) {
                break;
            }
            atOnce = false;
            const ping = await this.ping(registration);
            if (ping?.message) {
                say(`the server says: ${ping.message}`);
            }
            if (ping?.action === "disconnect") {
                say("the server asks this agent to disconnect");
                return false;
            }
            if ((ping?.action === "pause") !== paused) {
                paused = !paused;
                say(paused ? "paused by the server" : "resumed by the server");
            }
            if (ping?.job && !paused && (await this.accept(ping.job.id))) {
                await this.work(registration, this.accepted);
                // Where there was one job there is often another.
                atOnce = true;
            }
        }
        return this.lost.signal.aborted && !ending.aborted;
    }

    private accepted: Job | undefined;

    private async ping(registration: Registration): Promise<Ping | undefined> {
        const { say } = this.options;
        try {
            const ping = await this.api.ping();
            if (ping.request_headers) {
                this.api = this.api.as(registration.access_token, undefined, permittedHeaders(ping.request_headers));
            }
            if (!ping.endpoint || ping.endpoint === this.api.endpoint) {
                return ping;
            }
            // Only if it works.
            const elsewhere = this.api.as(registration.access_token, ping.endpoint);
            const there = await elsewhere.ping().catch(() => undefined);
            if (!there) {
                say(`the server says to talk to ${ping.endpoint}, where nobody answers`);
                return ping;
            }
            this.api = elsewhere;
            return there;
        } catch (error) {
            say(messageOf(error));
            this.loseBy(error);
            return undefined;
        }
    }

    private async accept(id: string): Promise<boolean> {
        const { say, stopping, state } = this.options;
        try {
            this.accepted = await persistently(async () => this.api.accept(id), patience.accept, say, stopping);
            state.setJob(acceptedJob(this.accepted));
            return true;
        } catch (error) {
            // Cancelled in the meantime, or given to somebody else: the next ping tells.
            say(`job ${id} is not accepted: ${messageOf(error)}`);
            return false;
        }
    }

    /** Runs the job that is in the state. */
    private async work(registration: Registration, job?: Job): Promise<void> {
        const { builds, state, base, directory, leaving, say } = this.options;
        const run = new JobRun({
            api: this.api.as(state.job().token ?? registration.access_token),
            ...{ builds, state, base, directory, leaving, say },
            agent: registration.name,
            statusInterval: registration.job_status_interval * 1000,
            lost: this.lost.signal,
        });
        this.accepted = undefined;
        await run.run(job);
    }

    private async heartbeats(registration: Registration, signal: AbortSignal): Promise<void> {
        const { say } = this.options;
        // One at once: whoever was killed has not been heard of for a while.
        for (let first = true; !signal.aborted; first = false) {
            await pause(first ? 0 : registration.heartbeat_interval * 1000, signal);
            if (isAborted(signal)) {
                return;
            }
            await persistently(async () => this.api.heartbeat(), patience.heartbeat, say, signal).catch(
                (error: unknown) => {
                    if (!signal.aborted) {
                        say(messageOf(error));
                        this.loseBy(error);
                    }
                },
            );
        }
    }

    /** What is refused and will be again: the server does not know this agent any more. */
    private loseBy(error: unknown): void {
        if (error instanceof AgentApiError && !error.retryable) {
            this.lost.abort();
        }
    }

    private signedIn({ access_token: token, endpoint, request_headers: headers }: Registration): AgentApi {
        const { api } = this.options;
        return api.as(token, endpoint ? endpoint : api.endpoint, permittedHeaders(headers));
    }
}
