import type { V1Job, V1Pod } from "@kubernetes/client-node";

import { layout } from "../contract/layout";
import type { AttemptFinished, Manifest, PodInfo } from "../contract/manifest";
import { isSuccess } from "../contract/outcome";
import type { Outcome } from "../contract/outcome";
import type { BuildResult } from "../contract/result";
import { maxListedArtifacts } from "../contract/result";
import type { BuildChange, Cluster } from "./cluster";
import { LineSplitter, LogFollower } from "./logFollower";
import {
    createdAt,
    disruption,
    exporterResult,
    jobEnd,
    outcomeOfFailedJob,
    outOfMemory,
    phaseOf,
    startFailure,
} from "./podStatus";
import type { Phase } from "./podStatus";
import type { BuildStore } from "./store";

/** Which build to await. */
export interface AwaitRequest {
    readonly namespace: string;
    readonly job: string;
    readonly buildTag: string;
    /** The manifest must be of this tree and command to count. */
    readonly tree: string;
    readonly command: readonly string[];
    /** Milliseconds between two looks at the store. */
    readonly pollInterval: number;
    /** Give up on an image that cannot be pulled after this many milliseconds. */
    readonly pullLimit: number;
    /** Give up on a pod that fits no node after this many milliseconds. */
    readonly scheduleLimit: number;
}

/** Where progress goes. */
export interface AwaitListener {
    readonly phase: (text: string) => void;
    readonly logLine: (line: string) => void;
}

/** A build that did not succeed: what a person needs to know about it. */
export class BuildFailure extends Error {
    public override readonly name = "BuildFailure";

    public constructor(
        public readonly outcome: Outcome,
        message: string,
        public readonly details: {
            readonly exitCode?: number;
            /** The log's blob path, when there is a log. */
            readonly log?: string;
            readonly events?: readonly string[];
        } = {},
    ) {
        super(message);
    }
}

/** What is known of the end of a build: it succeeded, or why it did not. */
type Ending = { readonly manifest: Manifest } | { readonly failure: BuildFailure };

/**
 * Waits for a build's one outcome. The manifest is the truth about success, and is there more than a second before
 * Kubernetes says so; failures come from `finished.json`, pod, Job and events.
 *
 * @throws BuildFailure for every outcome but `Succeeded` and `AlreadyBuilt`.
 */
export async function awaitBuild(
    cluster: Cluster,
    store: BuildStore,
    request: AwaitRequest,
    listener: AwaitListener,
    signal: AbortSignal,
): Promise<BuildResult> {
    const build = new AwaitedBuild(cluster, store, request, listener);
    const ending = await build.ending(signal);
    if ("failure" in ending) {
        throw ending.failure;
    }
    return resultOf(store, ending.manifest, build.hasMade(ending.manifest) ? "Succeeded" : "AlreadyBuilt");
}

/** The outputs of a build from its manifest. */
export function resultOf(store: BuildStore, manifest: Manifest, outcome: Outcome): BuildResult {
    const tag = manifest.buildTag;
    return {
        outcome,
        binUrl: store.blobUrl(layout.binPrefix(tag)),
        logsUrl: store.blobUrl(layout.logsPrefix(tag)),
        manifestUrl: store.blobUrl(layout.manifest(tag)),
        artifacts: manifest.artifacts
            .slice(0, maxListedArtifacts)
            .map((artifact) => ({ ...artifact, url: store.blobUrl(layout.artifact(tag, artifact.name)) })),
        artifactCount: manifest.artifacts.length,
        durations: manifest.durations,
    };
}

class AwaitedBuild {
    private job: V1Job | undefined;
    private pod: V1Pod | undefined;
    private jobDeleted = false;
    private lastPhase: string | undefined;
    private phaseSince = Date.now();
    private saidWaiting = false;
    private attempt: number | undefined;
    private follower: LogFollower | undefined;
    private logPath: string | undefined;
    private readonly lines: LineSplitter;
    private wake: () => void = () => undefined;

    public constructor(
        private readonly cluster: Cluster,
        private readonly store: BuildStore,
        private readonly request: AwaitRequest,
        private readonly listener: AwaitListener,
    ) {
        this.lines = new LineSplitter(listener.logLine);
    }

    /** Whether it was this Job, and not one before it or in another namespace, that the manifest comes from. */
    public hasMade(manifest: Manifest): boolean {
        const { namespace, job } = this.request;
        const made = this.job?.metadata?.creationTimestamp;
        // A Job that was made anew for the same build has the same name; Kubernetes' timestamps are whole seconds.
        return (
            manifest.job.namespace === namespace &&
            manifest.job.name === job &&
            made !== undefined &&
            new Date(manifest.finishedAt).getTime() >= new Date(made).getTime()
        );
    }

    public async ending(signal: AbortSignal): Promise<Ending> {
        const { namespace, job: name, buildTag } = this.request;
        const [job, pods, manifest] = await Promise.all([
            this.cluster.job(namespace, name),
            this.cluster.podsOfJob(namespace, name),
            this.store.manifest(buildTag),
        ]);
        this.job = job;
        if (manifest) {
            return this.endingOf(manifest);
        }
        if (!job) {
            return this.endingWithoutJob();
        }
        this.pod = pods.at(-1);
        if (job.spec?.suspend && !jobEnd(job)) {
            this.listener.phase("going on with a build that was cancelled or could not start");
            await this.cluster.suspendJob(namespace, name, false);
            this.job = await this.cluster.job(namespace, name);
        }
        const watching = new AbortController();
        const stop = () => watching.abort();
        signal.addEventListener("abort", stop, { once: true });
        let watchFailure: unknown;
        const watch = this.cluster
            .watchBuild(namespace, name, (change) => this.observe(change), watching.signal)
            .catch((error: unknown) => {
                watchFailure = error;
                this.wake();
            });
        try {
            while (!signal.aborted) {
                const ending = await this.look();
                if (ending) {
                    this.lines.end();
                    return ending;
                }
                if (watchFailure !== undefined) {
                    throw watchFailure as Error;
                }
                await this.sleep(this.request.pollInterval);
            }
            throw new BuildFailure("Cancelled", "interrupted", { log: this.logPath });
        } finally {
            signal.removeEventListener("abort", stop);
            watching.abort();
            await watch;
        }
    }

    private observe(change: BuildChange): void {
        if (change.kind === "job") {
            this.job = change.job;
            this.jobDeleted = change.deleted;
        } else if (
            !this.pod ||
            this.pod.metadata?.uid === change.pod.metadata?.uid ||
            createdAt(change.pod) > createdAt(this.pod)
        ) {
            if (this.pod && this.pod.metadata?.uid !== change.pod.metadata?.uid) {
                this.beginNextAttempt();
            }
            this.pod = change.pod;
        }
        this.wake();
    }

    private beginNextAttempt(): void {
        this.lines.end();
        this.listener.phase("starting again in a new pod");
        this.attempt = undefined;
        this.follower = undefined;
    }

    /** One look at everything: shows what is new, and says how the build ended if it did. */
    private async look(): Promise<Ending | undefined> {
        const phase = this.pod ? phaseOf(this.pod) : undefined;
        this.showPhase(phase);
        const unstartable = this.pod && startFailure(this.pod);
        if (unstartable !== undefined) {
            // The exporter waits for a build that will never come.
            await this.cluster.suspendJob(this.request.namespace, this.request.job, true);
            return this.failure("BuildFailed", `the build's container cannot be started: ${unstartable}`);
        }
        if (phase?.name === "running" || phase?.name === "ended") {
            await this.followLog();
            const ended = await this.endingFromStore();
            if (ended) {
                return ended;
            }
        }
        return (await this.stuck(phase)) ?? (await this.endingFromJob());
    }

    private showPhase(phase: Phase | undefined): void {
        // By name: kubelet's messages on a pull that fails take turns.
        const name = phase?.name ?? "";
        if (name !== this.lastPhase) {
            this.lastPhase = name;
            this.phaseSince = Date.now();
            const text = describe(phase, this.pod);
            if (text !== "") {
                this.listener.phase(text);
            }
        }
    }

    private async followLog(): Promise<void> {
        if (this.attempt === undefined) {
            this.sayIfWaiting();
            const uid = this.pod?.metadata?.uid;
            const mine = (await this.store.attempts(this.request.buildTag)).find(
                (attempt) => attempt.started?.pod.uid === uid,
            );
            if (!mine?.started) {
                return;
            }
            this.attempt = mine.attempt;
            this.logPath = `${this.request.buildTag}/${mine.started.log}`;
            this.follower = new LogFollower(this.store, this.logPath);
        }
        await this.follower?.drain((bytes) => this.lines.write(bytes));
    }

    /** The exporter lets the build begin when it holds the tag's lease, and not before. */
    private sayIfWaiting(): void {
        if (!this.saidWaiting && this.lastPhase === "running" && Date.now() - this.phaseSince > 3000) {
            this.saidWaiting = true;
            this.listener.phase("waiting for another build of this BUILD_TAG, or for the store");
        }
    }

    private async endingFromStore(): Promise<Ending | undefined> {
        const { buildTag } = this.request;
        const finished = this.attempt === undefined ? undefined : await this.store.finished(buildTag, this.attempt);
        const hint = this.pod ? exporterResult(this.pod) : undefined;
        if (!finished && !hint) {
            return undefined;
        }
        if (isSuccess(finished?.outcome ?? hint?.outcome ?? "ExportFailed")) {
            const manifest = await this.store.manifest(buildTag);
            // finished.json comes a moment before the manifest.
            if (!manifest) {
                return undefined;
            }
            await this.followLog();
            return this.endingOf(manifest);
        }
        // The log is complete once finished.json is there.
        await this.followLog();
        return finished?.outcome === "BuildFailed" ? this.buildFailed(finished) : undefined;
    }

    /** A build that failed by itself; what killed it, if something did, is in the pod's status a moment later. */
    private async buildFailed(finished: AttemptFinished): Promise<Ending> {
        const until = Date.now() + 5000;
        while (Date.now() < until && this.pod && phaseOf(this.pod).name !== "ended" && !this.jobDeleted) {
            await this.sleep(200);
        }
        if (this.pod && outOfMemory(this.pod)) {
            return this.failure("OutOfMemory", outcomeOfFailedJob(this.job ?? {}, this.pod).message, finished.exitCode);
        }
        if (finished.exitCode === undefined && this.pod && this.job) {
            const refined = outcomeOfFailedJob(this.job, this.pod);
            return this.failure(refined.outcome, refined.message, refined.exitCode);
        }
        const plain = finished.message === undefined || finished.message.startsWith("the build ended with exit code");
        return this.failure(
            "BuildFailed",
            plain
                ? `\`${this.request.command.join(" ")}\` ended with exit code ${finished.exitCode ?? "unknown"}`
                : (finished.message ?? ""),
            finished.exitCode,
        );
    }

    private async endingFromJob(): Promise<Ending | undefined> {
        if (this.jobDeleted) {
            const manifest = await this.store.manifest(this.request.buildTag);
            return manifest
                ? this.endingOf(manifest)
                : this.failure("Cancelled", "the Job was deleted while the build was under way");
        }
        if (this.job?.spec?.suspend && this.pod && phaseOf(this.pod).name === "ended") {
            return this.failure("Cancelled", "the build was cancelled; `ke1 up` starts it again");
        }
        const end = this.job && jobEnd(this.job);
        if (!end || !this.job) {
            return undefined;
        }
        const manifest = await this.store.manifest(this.request.buildTag);
        if (manifest) {
            return this.endingOf(manifest);
        }
        if (end.complete) {
            return this.failure("ExportFailed", "the Job is complete, but there is no manifest in the store");
        }
        const hint = this.pod ? exporterResult(this.pod) : undefined;
        if (hint?.message && hint.outcome === "ExportFailed" && end.reason !== "DeadlineExceeded") {
            return this.failure(hint.outcome, hint.message);
        }
        const { outcome, message, exitCode } = outcomeOfFailedJob(this.job, this.pod);
        return this.failure(outcome, message, exitCode);
    }

    /** A build that cannot start is suspended, so that it holds nothing; `up` lets it go on once the cause is mended. */
    private async stuck(phase: Phase | undefined): Promise<Ending | undefined> {
        const since = Date.now() - this.phaseSince;
        const limits = { pullFailing: this.request.pullLimit, unscheduled: this.request.scheduleLimit } as const;
        if (phase?.name !== "pullFailing" && phase?.name !== "unscheduled") {
            return undefined;
        }
        if (since < limits[phase.name]) {
            return undefined;
        }
        const events = await this.events();
        await this.cluster.suspendJob(this.request.namespace, this.request.job, true);
        const outcome = phase.name === "pullFailing" ? "ImagePullFailed" : "Unschedulable";
        return { failure: new BuildFailure(outcome, phase.detail, { events }) };
    }

    /** The Job is gone (its TTL, or a person): what the store knows of its attempts is what there is to tell. */
    private async endingWithoutJob(): Promise<Ending> {
        const attempts = await this.store.attempts(this.request.buildTag);
        const last = attempts.filter((attempt) => attempt.started?.job.name === this.request.job).pop();
        if (last?.finished) {
            const { outcome, exitCode, message } = last.finished;
            this.logPath = last.started && `${this.request.buildTag}/${last.started.log}`;
            if (outcome === "Cancelled") {
                return this.failure(
                    outcome,
                    "the Job was removed; `ke1 refresh`, then `ke1 up`, starts the build again",
                );
            }
            return this.failure(
                outcome,
                `${message ?? "the build failed"}; its Job has been removed since, and a failed build is not run again: ` +
                    "commit a fix, or run `ke1 destroy` and `ke1 up`",
                exitCode,
            );
        }
        return this.failure("Cancelled", "the Job is gone and left nothing: run `ke1 refresh`, then `ke1 up`");
    }

    private endingOf(manifest: Manifest): Ending {
        const { tree, command, buildTag } = this.request;
        if (manifest.source.tree === tree && JSON.stringify(manifest.command) === JSON.stringify(command)) {
            return { manifest };
        }
        return {
            failure: new BuildFailure(
                "ExportFailed",
                `BUILD_TAG ${buildTag} was built from another tree or command before ` +
                    `(tree ${manifest.source.tree.slice(0, 12)}, \`${manifest.command.join(" ")}\`); use another tag`,
            ),
        };
    }

    private async failure(outcome: Outcome, message: string, exitCode?: number): Promise<Ending> {
        const explained = outcome === "BuildFailed" ? [] : await this.events();
        await this.record(outcome, message, explained);
        return { failure: new BuildFailure(outcome, message, { exitCode, log: this.logPath, events: explained }) };
    }

    /** Keeps with the attempt what only the cluster knew: why it ended, and what its pod looked like. */
    private async record(outcome: Outcome, message: string, events: readonly string[]): Promise<void> {
        if (this.attempt === undefined) {
            return;
        }
        const { buildTag } = this.request;
        const info: PodInfo = {
            schemaVersion: 1,
            buildTag,
            attempt: this.attempt,
            outcome,
            message,
            events,
            pod: this.pod?.metadata?.name,
            status: this.pod?.status,
        };
        try {
            await this.store.putDocument(layout.podinfo(buildTag, this.attempt), info);
        } catch {
            // A launcher that may only read the store tells the outcome all the same.
        }
    }

    private async events(): Promise<readonly string[]> {
        const names = [this.pod?.metadata?.name, this.request.job].filter((name) => name !== undefined);
        try {
            return (await Promise.all(names.map((name) => this.cluster.events(this.request.namespace, name)))).flat();
        } catch {
            // Without the permission to read events the outcome still stands.
            return [];
        }
    }

    /** Until something changes in the cluster, but not longer than `milliseconds`. */
    private async sleep(milliseconds: number): Promise<void> {
        await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, milliseconds);
            this.wake = () => {
                clearTimeout(timer);
                resolve();
            };
        });
    }
}

function describe(phase: Phase | undefined, pod: V1Pod | undefined): string {
    switch (phase?.name) {
        case undefined:
            return "";
        case "unscheduled":
            return phase.detail === "" ? "queued" : `waiting for a node: ${phase.detail}`;
        case "preparing":
            return `starting on ${pod?.spec?.nodeName ?? "a node"}`;
        case "pullFailing":
            return `cannot start \`${phase.container}\`: ${phase.detail}`;
        case "running":
            return "building";
        case "ended":
            return pod && disruption(pod) ? `disrupted: ${disruption(pod) ?? ""}` : "";
    }
}
