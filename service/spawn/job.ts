import * as path from "node:path";

import { messageOf, UserError } from "../../contract/errors";
import type { BuildRecord } from "../build";
import { isFinal } from "../build";
import { AgentApiError } from "./agentApi";
import type { AgentApi } from "./agentApi";
import { BuildLogCopy } from "./buildLogCopy";
import type { JobBuilds } from "./builds";
import { exitOf, notStarted, refused, stackError } from "./exit";
import type { Handover } from "./handover";
import { annotationOf, registerArtifacts } from "./handover";
import { JobLog } from "./jobLog";
import type { JobBase } from "./jobRequest";
import { jobBuild } from "./jobRequest";
import type { Exit, Job } from "./protocol";
import { patience, persistently } from "./retry";
import { isAborted, pause } from "./signals";
import type { JobState, StateFile } from "./state";

/** Milliseconds between two looks at a build. */
const lookInterval = 500;
const endStates = new Set(["canceling", "canceled", "timing_out", "timed_out"]);

export interface JobContext {
    /** Signs in as the job. */
    readonly api: AgentApi;
    readonly builds: JobBuilds;
    readonly state: StateFile;
    readonly base: () => JobBase;
    readonly agent: string;
    /** Where the job's log is kept on its way. */
    readonly directory: string;
    /** Milliseconds between two questions whether the job was cancelled. */
    readonly statusInterval: number;
    /** The process ends; the job is left to the next one. */
    readonly leaving: AbortSignal;
    /** The server does not know this agent any more, and so not the job. */
    readonly lost: AbortSignal;
    readonly say: (line: string) => void;
}

/** One job from its acceptance to its end, by this process or by the next: each step is written down before the next. */
export class JobRun {
    private readonly log: JobLog;
    private readonly copy: BuildLogCopy;
    private nextStatus = 0;

    public constructor(private readonly context: JobContext) {
        const { state, api, directory, leaving, say } = context;
        const { id, chunkBytes, logBytes, log } = state.job();
        this.log = new JobLog({
            ...{ file: path.join(directory, `${id}.log`), chunkBytes, logBytes, progress: log, leaving, say },
            persist: (progress) => state.changeJob({ log: progress }),
            upload: async (chunk) => persistently(async () => api.upload(id, chunk), patience.upload, say, leaving),
        });
        this.copy = new BuildLogCopy(this.log, context);
    }

    /**
     * Runs a job, or goes on with one.
     *
     * @param job absent for one that an earlier process accepted
     * @returns false when the process leaves before the job has ended
     */
    public async run(job?: Job): Promise<boolean> {
        const { say, leaving, lost } = this.context;
        const { id, url } = this.state;
        if (!(await this.start())) {
            say(`job ${id}: the server does not let it start`);
            this.close();
            return true;
        }
        say(`job ${id} ${job ? "started" : "taken up again"} (${url})`);
        if (!this.state.ending) {
            this.queue(job);
            const ended = await this.follow();
            if (leaving.aborted) {
                return false;
            }
            if (lost.aborted) {
                say(`job ${id}: given up by the server`);
                this.close();
                return true;
            }
            if (ended) {
                await this.conclude(ended);
            }
        }
        const { ending } = this.state;
        if (ending) {
            await this.finish(ending.exit, ending.text, ending.at);
        }
        return !leaving.aborted;
    }

    private get state(): JobState {
        return this.context.state.job();
    }

    /** Tells the server that the job begins; false where that is not wanted any more. */
    private async start(): Promise<boolean> {
        const { api, state, leaving, say } = this.context;
        const { id, started } = this.state;
        if (started) {
            return true;
        }
        try {
            await persistently(async () => api.start(id, new Date()), patience.start, say, leaving);
        } catch (error) {
            // Told before, and the answer was lost.
            const known = await api.state(id).catch(() => "");
            if (known !== "running" && !endStates.has(known)) {
                say(messageOf(error));
                return false;
            }
        }
        state.changeJob({ started: true });
        return true;
    }

    /** Puts the job's build into the queue, if it is not there yet. */
    private queue(job: Job | undefined): void {
        const { builds, state, base, agent } = this.context;
        const { id, build } = this.state;
        if (build !== undefined) {
            return;
        }
        const found = builds.ofJob(id);
        if (found !== undefined) {
            state.changeJob({ build: found });
            return;
        }
        if (!job) {
            this.end(stackError, "the spawner was ended before it could queue the job's build: start the job again");
            return;
        }
        try {
            const { request, notes } = jobBuild(job, base());
            const submitted = builds.submit(request, agent);
            state.changeJob({ build: submitted });
            this.log.append(
                `~~~ Building in the cluster\nbuild ${submitted}\n${notes.map((note) => `${note}\n`).join("")}`,
            );
        } catch (error) {
            if (!(error instanceof UserError)) {
                throw error;
            }
            this.end(refused, `this job is not run: ${error.message}`);
        }
    }

    /** Sends the log as it grows, until the build has ended. */
    private async follow(): Promise<BuildRecord | undefined> {
        const { builds, leaving, lost, agent } = this.context;
        for (;;) {
            const { build, ending } = this.state;
            if (ending || build === undefined) {
                return undefined;
            }
            // Asked for first: what is in the log when the build has ended is all there will be.
            const record = builds.get(build);
            if (!record) {
                this.end(stackError, "the job's build is gone from the queue");
                return undefined;
            }
            const isDone = isFinal(record.state);
            await this.copy.next(record, isDone);
            if (isDone) {
                return record;
            }
            if (lost.aborted) {
                builds.cancel(build, agent);
                return undefined;
            }
            if (leaving.aborted) {
                return undefined;
            }
            this.copy.pump();
            await this.checkCancelled(build);
            await pause(lookInterval, leaving);
        }
    }

    private async checkCancelled(build: string): Promise<void> {
        const { api, builds, state, statusInterval, say } = this.context;
        if (Date.now() < this.nextStatus || this.state.cancelled) {
            return;
        }
        // So that agents which began together do not ask together.
        this.nextStatus = Date.now() + statusInterval * (0.75 + Math.random() / 2);
        const { id } = this.state;
        try {
            const known = await api.state(id);
            if (endStates.has(known)) {
                say(`job ${id}: the server says ${known}; ending its build`);
                state.changeJob({ cancelled: true });
                builds.cancel(build, "the build server");
            }
        } catch (error) {
            if (error instanceof AgentApiError && error.status === 401) {
                say(`job ${id}: its token is worth nothing any more; ending its build`);
                state.changeJob({ cancelled: true });
                builds.cancel(build, "the build server");
            } else {
                say(messageOf(error));
            }
        }
    }

    /** Hands over what a build has made, and writes down how the job ends. */
    private async conclude(record: BuildRecord): Promise<void> {
        const { builds, leaving } = this.context;
        const { cancelled } = this.state;
        const { exitCode, logUrl } = await builds
            .attempt(record)
            .catch(() => ({ exitCode: undefined, logUrl: undefined }));
        const artifacts = await builds.artifacts(record).catch(() => undefined);
        await this.handOver({ record, artifacts: artifacts ?? [], logUrl });
        if (leaving.aborted) {
            return;
        }
        const outcome =
            record.outcome === "NotStarted" || record.outcome === "NotReleased" ? undefined : record.outcome;
        const exit = outcome === undefined && !cancelled ? notStarted : exitOf({ outcome, exitCode, cancelled });
        const cut =
            this.log.full && logUrl !== undefined
                ? `the log is longer than the server takes; all of it: ${logUrl}\n`
                : "";
        const fold = record.state === "succeeded" ? "" : "^^^ +++\n";
        const made = artifacts && record.state === "succeeded" ? ` with ${artifacts.length} artifact(s)` : "";
        const said = record.message === undefined ? "" : `: ${record.message}`;
        this.endWith(exit, `\n${cut}${fold}+++ ${record.outcome ?? record.state}${made}${said}\n`);
    }

    /** What is told twice, because the process was killed in between, is the same to the server. */
    private async handOver(made: Handover): Promise<void> {
        const { api, say, leaving } = this.context;
        const { id, label } = this.state;
        const { artifacts, record } = made;
        const tell = async (what: () => Promise<void>) =>
            persistently(what, patience.extra, say, leaving).catch((error: unknown) => say(messageOf(error)));
        if (artifacts.length > 0) {
            await tell(async () => registerArtifacts(api, id, artifacts));
        }
        await tell(async () => api.annotate(id, annotationOf(id, label, made)));
        const { buildTag } = record;
        if (buildTag !== undefined) {
            await tell(async () => api.setMetaData(id, `ke1:build-tag:${id}`, buildTag));
        }
    }

    private end(exit: Exit, line: string): void {
        this.endWith(exit, `^^^ +++\n+++ ${line}\n`);
    }

    private endWith(exit: Exit, text: string): void {
        const at = this.log.size;
        this.context.state.changeJob({ ending: { exit, text, at } });
        this.log.close(text, at);
    }

    private async finish(exit: Exit, text: string, at: number): Promise<void> {
        const { api, say, leaving } = this.context;
        const { id } = this.state;
        this.log.close(text, at);
        await this.log.flush();
        if (leaving.aborted) {
            return;
        }
        const failure = await persistently(
            async () => api.finish(id, exit, new Date(), this.log.failedChunks),
            patience.finish,
            say,
            leaving,
        ).then(() => undefined, messageOf);
        if (failure === undefined) {
            const reason = exit.reason === undefined ? "" : ` (${exit.reason})`;
            say(`job ${id} finished: exit status ${exit.status}${reason}`);
        } else if (isAborted(leaving)) {
            return;
        } else {
            // 401 or 422: it has finished already, or was taken from us. There is nobody left to tell.
            say(`job ${id} is finished here, but the server was not told: ${failure}`);
        }
        this.close();
    }

    private close(): void {
        const { builds, state } = this.context;
        const { build } = this.state;
        this.log.remove();
        state.setJob(undefined);
        if (build !== undefined) {
            builds.forget(build);
        }
    }
}
