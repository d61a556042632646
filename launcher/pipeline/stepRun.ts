import { createHash } from "node:crypto";

import { messageOf } from "../../contract/errors";
import { buildKey, buildName, layout } from "../../contract/layout";
import type { StepInput } from "../../contract/manifest";
import type { PlannedStep, StepOutcome, StepResult } from "../../contract/pipeline";
import { awaitBuild } from "../await";
import type { AwaitListener, AwaitRequest } from "../awaitedBuild";
import { BuildFailure } from "../buildFailure";
import type { Cluster } from "../cluster";
import type { BuildStore } from "../store";

/** What all steps of a pipeline are awaited with. */
export type StepRequest = Omit<AwaitRequest, "jobs" | "memory" | "command" | "step" | "needs">;

/** Why a step was ended before its time, and what its outcome is then. */
interface Ended {
    readonly outcome: StepOutcome;
    readonly message: string;
}

/** One step, from when it is its turn to its outcome. */
export class StepRun {
    /** Of the step's manifest, once it is built: what later steps that have it as an input are known by. */
    public built: StepInput | undefined;
    private readonly aborted = new AbortController();
    private ended: Ended | undefined;
    private isOver = false;

    public constructor(
        private readonly cluster: Cluster,
        private readonly store: BuildStore,
        private readonly request: StepRequest,
        public readonly step: PlannedStep,
        private readonly listener: AwaitListener,
    ) {}

    /** Never throws: what went wrong is in the result. */
    public async run(inputs: readonly StepInput[]): Promise<StepResult> {
        const started = Date.now();
        const result = await this.outcome(inputs).catch((error: unknown): Omit<StepResult, "name" | "seconds"> => ({
            outcome: "Error",
            success: false,
            message: messageOf(error),
        }));
        this.isOver = true;
        if (!result.success) {
            await this.suspend().catch(() => undefined);
        }
        const seconds = Math.max(Date.now() - started, 1) / 1000;
        return { name: this.step.name, seconds, ...(result.success ? result : { ...result, ...this.ended }) };
    }

    /**
     * Ends the step in good order: its build is told, and what it printed to its end is stored. After `patience`
     * milliseconds it is not waited for any more.
     */
    public async end(outcome: StepOutcome, message: string, patience: number): Promise<void> {
        if (this.isOver) {
            return;
        }
        this.ended ??= { outcome, message };
        const timer = setTimeout(() => this.aborted.abort(), patience);
        timer.unref();
        try {
            await this.suspend();
            const { namespace } = this.request;
            const pods = await Promise.all(this.step.jobs.map((job) => this.cluster.podsOfJob(namespace, job)));
            // Without a pod there is none whose end could be seen.
            if (pods.flat().length === 0) {
                this.aborted.abort();
            }
        } catch (error) {
            this.listener.phase(`cannot be ended: ${messageOf(error)}`);
            this.aborted.abort();
        }
    }

    private async outcome(inputs: readonly StepInput[]): Promise<Omit<StepResult, "name" | "seconds">> {
        const { step, request, store } = this;
        const key = buildKey(request.buildTag, step.name);
        try {
            const built = await awaitBuild(
                this.cluster,
                store,
                {
                    ...request,
                    jobs: step.jobs,
                    memory: step.memory,
                    command: step.command,
                    needs: step.needs,
                    step: { name: step.name, recipe: step.recipe, inputs },
                },
                this.listener,
                this.aborted.signal,
            );
            const manifest = await store.content(layout.manifest(key));
            this.built = {
                step: step.name,
                sha256: createHash("sha256")
                    .update(manifest ?? "")
                    .digest("hex"),
            };
            const { outcome, attempt, artifactCount: artifacts, manifestUrl, binUrl, durations } = built;
            const where = { manifestUrl, ...(artifacts > 0 ? { binUrl } : {}) };
            return { outcome, success: true, attempt, artifacts, ...where, durations };
        } catch (error) {
            if (!(error instanceof BuildFailure)) {
                throw error;
            }
            const { exitCode, attempt, log, events } = error.details;
            events?.forEach((event) => this.listener.phase(`Kubernetes says: ${event}`));
            const message = shortened(error, step);
            const logUrl = log && store.blobUrl(log);
            return { outcome: error.outcome, success: false, message, exitCode, attempt, logUrl };
        }
    }

    private async suspend(): Promise<void> {
        await Promise.all(
            this.step.jobs.map(async (job) => this.cluster.suspendJob(this.request.namespace, job, true)),
        );
    }
}

/** A text for a shell is no name for a command. */
function shortened({ message, details: { exitCode } }: BuildFailure, { command }: PlannedStep): string {
    const [shell, option, script] = command;
    return shell === "/bin/sh" &&
        option === "-ec" &&
        script !== undefined &&
        exitCode !== undefined &&
        message.includes(script)
        ? `the command ended with exit code ${exitCode}`
        : message.replace(/\s*\n\s*/g, " ");
}

/** What a person types to see a step's log. */
export function logCommand(buildTag: string, step: string): string {
    return `ke1 logs ${buildName(buildTag, step)}`;
}
