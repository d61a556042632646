import type { V1Job, V1Pod } from "@kubernetes/client-node";

import { messageOf } from "../contract/errors";
import { buildKey, nameOfKey } from "../contract/layout";
import type { BuildKey } from "../contract/layout";
import type { AttemptFinished, Manifest, StepInput } from "../contract/manifest";
import { isSuccess } from "../contract/outcome";
import type { Outcome } from "../contract/outcome";
import type { BuildTimeline } from "../contract/timings";
import type { Watchdogs } from "../contract/watchdogs";
import { AttemptLog } from "./attemptLog";
import { BuildFailure } from "./buildFailure";
import { BuildTimes } from "./buildTimes";
import { isQueued } from "./cluster";
import { failedInit, initOutOfMemory, keepInitLog, summaryLines } from "./companions";
import type { BuildChange, Cluster } from "./cluster";
import { eventsOf, recordPodInfo } from "./explanation";
import { presentable } from "./logFollower";
import type { Pace } from "./pace";
import { Patience } from "./patience";
import {
    buildContainer,
    createdAt,
    describePhase,
    diskExceeded,
    disruption,
    exporterKilled,
    exporterResult,
    jobEnd,
    outcomeOfFailedJob,
    outOfMemory,
    phaseOf,
    startFailure,
} from "./podStatus";
import type { Phase } from "./podStatus";
import { countBefore } from "./room";
import type { BuildStore } from "./store";
import { Watchdog } from "./watchdog";

/** Which build to await. */
export interface AwaitRequest {
    readonly namespace: string;
    /**
     * The build's Jobs: the first runs; each other is let go when the build ran out of memory in the one before. Never
     * empty.
     */
    readonly jobs: readonly string[];
    /** What the build may use in each of them: Kubernetes quantities. */
    readonly memory: readonly string[];
    readonly buildTag: string;
    /** The manifest must be of this tree and command to count. */
    readonly tree: string;
    readonly command: readonly string[];
    /** Present for a step of a pipeline, whose Jobs are all made suspended. */
    readonly step?: AwaitedStep;
    /** How often the build is started again after a disruption. */
    readonly retries: number;
    /** Milliseconds between two looks at the store. */
    readonly pollInterval: number;
    /** Shared by the builds that one process awaits. */
    readonly pace?: Pace;
    readonly watchdogs: Watchdogs;
    /** Dependencies that it has while it runs; its Jobs are made suspended then. */
    readonly needs?: readonly string[];
}

/** Which step of a pipeline to await. */
export interface AwaitedStep {
    readonly name: string;
    /** The manifest must be of these too to count. */
    readonly recipe: string;
    readonly inputs: readonly StepInput[];
}

/** Where progress goes. */
export interface AwaitListener {
    readonly phase: (text: string) => void;
    readonly logLine: (line: string) => void;
    /** Called once, when the build has ended. */
    readonly timeline?: (timeline: BuildTimeline) => void;
}

/** What is known of the end of a build: it succeeded, or why it did not. */
export type Ending = { readonly manifest: Manifest } | { readonly failure: BuildFailure };

/** Milliseconds between two looks at whether Job and pod are still there. */
const confirmInterval = 10_000;
/** And between two looks at a store in which only the manifest is missing. */
const almostStoredInterval = 40;

/** One Job of a build, from its start, or wherever it is found, to its end. */
export class AwaitedBuild {
    private job: V1Job | undefined;
    private pod: V1Pod | undefined;
    private jobDeleted = false;
    private lastPhase: string | undefined;
    private phaseSince = Date.now();
    private saidWaiting = false;
    private readonly log: AttemptLog;
    private readonly times: BuildTimes;
    private readonly watchdog: Watchdog;
    private readonly patience: Patience;
    /** The pods that were disrupted, by their uid, and why. */
    private readonly disruptions = new Map<string, string>();
    private readonly formerPods = new Set<string>();
    private podDeleted = false;
    private confirmedAt = Date.now();
    private quotaSeenAt = 0;
    private isSuspended = false;
    private looksAtStore = false;
    /** Whether all but the manifest is in the store. */
    private isAlmostStored = false;
    private removedByForce: string | undefined;
    private endedForExporter: string | undefined;
    private wake: () => void = () => undefined;
    private readonly key: BuildKey;

    public constructor(
        private readonly cluster: Cluster,
        private readonly store: BuildStore,
        private readonly request: AwaitRequest,
        private readonly jobName: string,
        private readonly listener: AwaitListener,
    ) {
        this.watchdog = new Watchdog(request.watchdogs);
        this.patience = new Patience(listener.phase);
        this.key = buildKey(request.buildTag, request.step?.name);
        this.log = new AttemptLog(store, this.key, listener.logLine);
        this.times = new BuildTimes(cluster, store, this.key, request.namespace);
    }

    /** When it went through which phase; to be asked for when it has ended. */
    public async timeline(ending: Ending): Promise<BuildTimeline> {
        const { buildTag, step } = this.request;
        const { job, pod, log } = this;
        const own = { buildTag, step: step?.name, job, pod, attempt: log.attempt };
        return this.times.timeline(own, "manifest" in ending && this.hasMade(ending.manifest), ending);
    }

    /** Whether it was this Job, and not one before it or in another namespace, that the manifest comes from. */
    public hasMade(manifest: Manifest): boolean {
        const { namespace } = this.request;
        const made = this.job?.metadata?.creationTimestamp;
        // A Job that was made anew for the same build has the same name; Kubernetes' timestamps are whole seconds.
        return (
            manifest.job.namespace === namespace &&
            manifest.job.name === this.jobName &&
            made !== undefined &&
            new Date(manifest.finishedAt).getTime() >= new Date(made).getTime()
        );
    }

    public async ending(signal: AbortSignal): Promise<Ending> {
        const { namespace, step } = this.request;
        const name = this.jobName;
        const [{ job, pods }, manifest] = await this.patience.until(signal, () =>
            Promise.all([this.cluster.buildState(namespace, name), this.store.manifest(this.key)]),
        );
        this.job = job;
        this.pod = pods.at(-1);
        if (manifest) {
            if (this.hasMade(manifest)) {
                // A small build is over before anybody looks: its log is shown all the same.
                await this.followLog();
                this.log.end();
            }
            return this.endingOf(manifest);
        }
        if (!job) {
            return this.endingWithoutJob();
        }
        if (job.spec?.suspend && !jobEnd(job)) {
            if (isQueued(job)) {
                this.listener.phase("waiting in the queue");
            } else if (pods.length > 0 || (this.jobName === this.request.jobs[0] && !step)) {
                this.listener.phase("going on with a build that was cancelled or could not start");
            }
            // What befell them is of the build's former life.
            pods.forEach((pod) => this.formerPods.add(pod.metadata?.uid ?? ""));
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
                const ending = await this.patience.once(
                    () => this.look(),
                    () => this.endingWithoutStore(),
                );
                if (ending) {
                    await this.endLog();
                    return ending;
                }
                if (watchFailure !== undefined) {
                    throw watchFailure as Error;
                }
                await this.sleep(this.untilNextLook());
            }
            await this.endLog();
            return {
                failure: new BuildFailure("Cancelled", "interrupted", { log: this.log.path, job: this.jobName }),
            };
        } finally {
            this.request.pace?.leave(this);
            signal.removeEventListener("abort", stop);
            watching.abort();
            await watch;
        }
    }

    /** In milliseconds; what changes in the cluster is seen at once. */
    private untilNextLook(): number {
        if (this.isAlmostStored) {
            return almostStoredInterval;
        }
        const { pace, pollInterval } = this.request;
        return pace?.interval(this, this.looksAtStore, pollInterval) ?? pollInterval;
    }

    /** What the store has of the log, to its end: a build that lived for a moment has one too. */
    private async endLog(): Promise<void> {
        await this.log.follow(this.pod?.metadata?.uid).catch(() => false);
        this.log.end();
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
            this.podDeleted = change.deleted;
            const why = disruption(change.pod);
            const uid = change.pod.metadata?.uid ?? "";
            if (why !== undefined && !this.formerPods.has(uid)) {
                this.disruptions.set(uid, why);
            }
        }
        this.wake();
    }

    private beginNextAttempt(): void {
        this.log.next();
        this.listener.phase("starting again in a new pod");
    }

    /** One look at everything: shows what is new, and says how the build ended if it did. */
    private async look(): Promise<Ending | undefined> {
        await this.confirm();
        const phase = this.pod ? phaseOf(this.pod) : undefined;
        await this.showPhase(phase);
        const given = await this.givenUp();
        if (given) {
            return given;
        }
        this.looksAtStore = phase?.name === "running" || phase?.name === "ended";
        if (this.looksAtStore) {
            await this.followLog();
            const ended = await this.endingFromStore();
            if (ended) {
                return ended;
            }
        }
        return this.endingFromJob();
    }

    /** What was deleted while a watch was broken is not told by the next one. */
    private async confirm(): Promise<void> {
        if (Date.now() - this.confirmedAt < confirmInterval || this.jobDeleted) {
            return;
        }
        const { namespace } = this.request;
        const { job, pods } = await this.cluster.buildState(namespace, this.jobName);
        this.confirmedAt = Date.now();
        const sameJob = job !== undefined && job.metadata?.uid === this.job?.metadata?.uid;
        this.jobDeleted ||= !sameJob;
        this.podDeleted ||= !pods.some(({ metadata }) => metadata?.uid === this.pod?.metadata?.uid);
    }

    private async showPhase(phase: Phase | undefined): Promise<void> {
        // By name: kubelet's messages on a pull that fails take turns. Why there is no node is known a moment later.
        const isExplained = phase?.name === "unscheduled" && phase.detail !== "";
        const init = phase?.name === "initializing" ? ` ${phase.container}` : "";
        const name = isExplained ? "waiting for a node" : `${phase?.name ?? ""}${init}`;
        if (name !== this.lastPhase) {
            this.lastPhase = name;
            this.phaseSince = Date.now();
            if (phase?.name === "running" && this.pod) {
                this.times.running(this.pod, this.job);
            }
            const text = describePhase(phase, this.pod);
            if (text !== "") {
                this.listener.phase(phase?.name === "waiting" ? `${text}${await this.placeInQueue()}` : text);
            }
        }
    }

    /** Known where the launcher may list pods, and of the builds of its own namespace. */
    private async placeInQueue(): Promise<string> {
        const pod = this.pod;
        const pods = pod && (await this.cluster.waitingPods(this.request.namespace).catch(() => []));
        const before = pod && pods ? countBefore(pods, pod) : 0;
        return before === 0 ? "" : ` ${before === 1 ? "1 build is" : `${before} builds are`} before it.`;
    }

    private async followLog(): Promise<void> {
        if (!(await this.log.follow(this.pod?.metadata?.uid))) {
            this.sayIfWaiting();
        }
    }

    /** The exporter lets the build begin when it holds the tag's lease, and not before. */
    private sayIfWaiting(): void {
        if (!this.saidWaiting && this.lastPhase === "running" && Date.now() - this.phaseSince > 3000) {
            this.saidWaiting = true;
            this.listener.phase("waiting for another build of this BUILD_TAG, or for the store");
        }
    }

    private async endingFromStore(): Promise<Ending | undefined> {
        const finished =
            this.log.attempt === undefined ? undefined : await this.store.finished(this.key, this.log.attempt);
        const hint = this.pod ? exporterResult(this.pod) : undefined;
        if (!finished && !hint) {
            return undefined;
        }
        if (isSuccess(finished?.outcome ?? hint?.outcome ?? "ExportFailed")) {
            const manifest = await this.store.manifest(this.key);
            // finished.json comes a moment before the manifest.
            if (!manifest) {
                this.isAlmostStored = finished !== undefined && this.pod !== undefined && !this.podHasEnded();
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
        const others = /^the (init container|sidecar) /.test(finished.message ?? "");
        if (finished.exitCode === undefined && !others && this.pod && this.job) {
            const refined = outcomeOfFailedJob(this.job, this.pod);
            return this.failure(refined.outcome, refined.message, refined.exitCode);
        }
        summaryLines(finished.summaries).forEach((line) => this.listener.phase(line));
        if (finished.log) {
            // An init container's, where that is what failed.
            this.log.path = `${this.request.buildTag}/${finished.log.name}`;
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
            const manifest = await this.store.manifest(this.key);
            return manifest
                ? this.endingOf(manifest)
                : this.failure("Cancelled", "the Job was deleted while the build was under way");
        }
        if (this.job?.spec?.suspend && !this.isSuspended && this.podHasEnded()) {
            return this.failure("Cancelled", "the build was cancelled; `ke1 up` starts it again");
        }
        const end = this.job && jobEnd(this.job);
        if (!end || !this.job) {
            return undefined;
        }
        const manifest = await this.store.manifest(this.key);
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

    /**
     * A build that can get no further is suspended, so that it holds nothing; `up` lets it go on once the cause is mended.
     */
    private async givenUp(): Promise<Ending | undefined> {
        const unstartable = this.pod && startFailure(this.pod);
        if (unstartable !== undefined) {
            // The exporter waits for a build that will never come.
            return this.giveUp("BuildFailed", unstartable);
        }
        const hungry = this.pod && initOutOfMemory(this.pod);
        if (hungry !== undefined && this.pod && phaseOf(this.pod).name !== "running" && !this.podHasEnded()) {
            return this.giveUp("OutOfMemory", `the container \`${hungry}\` used more memory than its limit`);
        }
        const overDisk = this.pod && diskExceeded(this.pod);
        if (overDisk !== undefined && !(this.job && jobEnd(this.job))) {
            // Kubernetes takes it for a disruption and would start it again, to fill the disk again.
            return this.giveUp("BuildFailed", `the build used more disk than it may (diskLimit): ${overDisk}`);
        }
        if (this.disruptions.size > this.request.retries) {
            return this.disruptedTooOften();
        }
        await this.endWithoutExporter();
        const stuck = this.watchdog.look(this.job, this.podDeleted ? undefined : this.pod, Date.now());
        if (!stuck) {
            return undefined;
        }
        if (stuck.kind === "terminate") {
            await this.removeByForce(stuck.message);
            return undefined;
        }
        if (stuck.kind === "pod" && (await this.waitsForQuota())) {
            return undefined;
        }
        return this.giveUp(stuck.outcome, stuck.message);
    }

    /** Suspended at once, so that there is no other attempt; told when this one has stored what it can. */
    private async disruptedTooOften(): Promise<Ending | undefined> {
        if (!this.isSuspended) {
            this.isSuspended = true;
            await this.cluster.suspendJob(this.request.namespace, this.jobName, true);
        }
        if (!this.podHasEnded()) {
            return this.removeIfStuck();
        }
        const manifest = await this.store.manifest(this.key);
        if (manifest) {
            return this.endingOf(manifest);
        }
        const why = `${this.disruptions.size} times, the last time by: ${[...this.disruptions.values()].at(-1) ?? ""}`;
        return this.failure("Disrupted", `the build was started again and disrupted again, ${why}`);
    }

    /** Whether the newest pod runs no more: also when it is gone, for a node that is lost never says that it has ended. */
    private podHasEnded(): boolean {
        return this.pod !== undefined && (this.podDeleted || phaseOf(this.pod).name === "ended");
    }

    /** Without its exporter a build would run on for nothing: its attempt is ended, and the Job makes another. */
    private async endWithoutExporter(): Promise<void> {
        const name = this.pod?.metadata?.name;
        const code = this.pod && exporterKilled(this.pod);
        if (
            !this.pod ||
            code === undefined ||
            this.podHasEnded() ||
            name === undefined ||
            name === this.endedForExporter
        ) {
            return;
        }
        this.endedForExporter = name;
        this.listener.phase(`the exporter was killed (exit code ${code}): ending this attempt`);
        await this.cluster.deletePod(this.request.namespace, name);
    }

    private async giveUp(outcome: Outcome, message: string): Promise<Ending> {
        const ending = await this.failure(outcome, message);
        await this.cluster.suspendJob(this.request.namespace, this.jobName, true);
        return ending;
    }

    /** With more builds than the namespace admits at once, the others wait: that is no failure. */
    private async waitsForQuota(): Promise<boolean> {
        if (Date.now() - this.quotaSeenAt < confirmInterval) {
            return true;
        }
        const [last] = (await this.events()).slice(-1);
        const waits = last?.includes("exceeded quota") ?? false;
        // With hundreds that wait, the cluster is not to be asked by all of them all the time.
        this.quotaSeenAt = waits ? Date.now() : 0;
        if (waits && !this.saidWaiting) {
            this.saidWaiting = true;
            this.listener.phase("waiting for its turn: the namespace has as many pods as its quota admits");
        }
        return waits;
    }

    /**
     * A pod of a node that is lost stays until the node is back, and no other is made as long as it does. Its build may
     * still run there: the store's lease keeps it from being stored twice.
     */
    private async removeIfStuck(): Promise<undefined> {
        const stuck = this.watchdog.look(this.job, this.pod, Date.now());
        if (stuck?.kind === "terminate") {
            await this.removeByForce(stuck.message);
        }
    }

    private async removeByForce(why: string): Promise<void> {
        const name = this.pod?.metadata?.name;
        if (name === undefined || name === this.removedByForce) {
            return;
        }
        this.removedByForce = name;
        try {
            await this.cluster.deletePodByForce(this.request.namespace, name);
            this.listener.phase(`${why}: removed by force`);
        } catch (error) {
            this.listener.phase(`${why}, and cannot be removed: ${messageOf(error)}`);
        }
    }

    /** What the cluster alone has to say, when the store does not answer. */
    private endingWithoutStore(): Ending | undefined {
        const end = this.job && jobEnd(this.job);
        if (!end || !this.job) {
            return undefined;
        }
        const hint = this.pod ? exporterResult(this.pod) : undefined;
        const said =
            hint?.message !== undefined && hint.outcome === "ExportFailed" && end.reason !== "DeadlineExceeded";
        const failed = said ? hint : outcomeOfFailedJob(this.job, this.pod);
        const message = end.complete
            ? "the Job is complete, but the store does not answer: `ke1 up` looks again"
            : (failed.message ?? "");
        const outcome = end.complete ? "ExportFailed" : failed.outcome;
        return { failure: new BuildFailure(outcome, message, { log: this.log.path, job: this.jobName }) };
    }

    /** The Job is gone (its TTL, or a person): what the store knows of its attempts is what there is to tell. */
    private async endingWithoutJob(): Promise<Ending> {
        const attempts = await this.store.attempts(this.key);
        const last = attempts.filter((attempt) => attempt.started?.job.name === this.jobName).pop();
        if (last?.finished) {
            const { outcome, exitCode, message } = last.finished;
            this.log.path = last.started && `${this.key}/${last.started.log}`;
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
        const { tree, command, step } = this.request;
        if (manifest.source.tree === tree && JSON.stringify(manifest.command) === JSON.stringify(command)) {
            if (manifest.recipe === step?.recipe && sameInputs(manifest.inputs, step?.inputs)) {
                return { manifest };
            }
            return {
                failure: new BuildFailure(
                    "ExportFailed",
                    `${nameOfKey(this.key)} was built by another definition (its env, image or artifacts) or from other ` +
                        "inputs before; use another tag",
                ),
            };
        }
        return {
            failure: new BuildFailure(
                "ExportFailed",
                `BUILD_TAG ${nameOfKey(this.key)} was built from another tree or command before ` +
                    `(tree ${manifest.source.tree.slice(0, 12)}, \`${manifest.command.join(" ")}\`); use another tag`,
            ),
        };
    }

    private async failure(outcome: Outcome, message: string, exitCode?: number): Promise<Ending> {
        // The exporter may have begun an attempt beside a build that never started.
        if (this.log.attempt === undefined && this.job) {
            await this.log.follow(this.pod?.metadata?.uid);
        }
        await this.keepInitLog();
        const events = outcome === "BuildFailed" ? [] : await this.events();
        // Without a Job there is nothing that the cluster knows and the store does not.
        if (this.job) {
            const { buildTag, step } = this.request;
            const failed = {
                buildTag,
                step: step?.name,
                attempt: this.log.attempt,
                outcome,
                message,
                events,
                pod: this.pod,
            };
            await recordPodInfo(this.store, failed, this.listener.phase);
        }
        const wantsMemory = outcome === "OutOfMemory" && this.pod && outOfMemory(this.pod) === buildContainer;
        const { attempt, path: log } = this.log;
        const details = { exitCode, attempt, log, events, job: this.jobName, wantsMemory };
        return { failure: new BuildFailure(outcome, message, details) };
    }

    /** Where no exporter has begun, what an init container printed is in the pod alone, and goes with it. */
    private async keepInitLog(): Promise<void> {
        const { namespace, buildTag } = this.request;
        const init = this.pod && failedInit(this.pod);
        if (!this.pod || !init || this.log.attempt !== undefined) {
            return;
        }
        try {
            const kept = await keepInitLog(this.cluster, this.store, { namespace, buildTag, pod: this.pod }, init);
            this.log.path = kept?.path;
            kept?.text
                .replace(/\n$/, "")
                .split("\n")
                .forEach((line) => this.listener.logLine(presentable(`[${init.name}] ${line}`)));
        } catch (error) {
            this.listener.phase(`the log of the init container ${init.name} was not kept: ${messageOf(error)}`);
        }
    }

    private async events(): Promise<readonly string[]> {
        return eventsOf(this.cluster, this.request.namespace, this.jobName, this.pod);
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

function sameInputs(made: readonly StepInput[] = [], wanted: readonly StepInput[] = []): boolean {
    return (
        made.length === wanted.length &&
        made.every(({ step, sha256 }, index) => wanted[index]?.step === step && wanted[index].sha256 === sha256)
    );
}
