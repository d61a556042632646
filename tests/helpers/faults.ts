import * as assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { readFile } from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { V1Pod } from "@kubernetes/client-node";

import type { AttemptFinished, AttemptStarted, Manifest, PodInfo } from "../../contract/manifest";
import type { Outcome } from "../../contract/outcome";
import { isSuccess } from "../../contract/outcome";
import { sendSignal } from "../../platform/processes";
import type { Finished } from "./ke1";
import { projectDirectory, TemporaryStack } from "./ke1";
import type { Prepared } from "./prepared";
import { api } from "./prepared";
import { TemporaryDirectory } from "./temporary";

export interface Expected {
    readonly outcome: Outcome;
    /** Of `up`; 0 or 1 by the outcome where it is left out. */
    readonly code?: number;
    /** What tells the person of it, in `up`'s words. */
    readonly told: RegExp;
    /** Those that are in the store. */
    readonly attempts?: number;
    /** How many lines of the last attempt's log there are: all of them, by default, where it succeeded. */
    readonly lines?: number;
    /** At most so many seconds of the log before the fault are lost, in the attempt that it struck. */
    readonly lostAtMost?: number;
    /** What podinfo.json has as Kubernetes' warnings. */
    readonly events?: RegExp;
}

/** What was measured of one case. */
export interface Row {
    readonly name: string;
    readonly outcome: string;
    /** Seconds from the fault until the person was told of it, and until `up` ended. */
    readonly told: number;
    readonly ended: number;
    readonly attempts: number;
    readonly log: string;
}

interface Ended {
    readonly code: number;
    readonly at: number;
}

/** One that need not be destroyed again. */
class OnceDestroyed extends TemporaryStack {
    public isDestroyed = false;

    public override async ke1(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Finished> {
        return args[0] === "destroy" && this.isDestroyed
            ? { code: 0, stdout: "", stderr: "", seconds: 0 }
            : super.ke1(args, environment);
    }
}

/** One stack with one build, to which something is done while `ke1 up` runs. */
export class FaultedBuild {
    public readonly stack: OnceDestroyed;
    /** What `up` has shown so far. */
    public shown = "";
    public faultAt = 0;
    private readonly arrivals: { readonly length: number; readonly at: number }[] = [];
    private child: ChildProcess | undefined;
    private running: Promise<Ended> | undefined;

    public constructor(
        public readonly prepared: Prepared,
        private readonly lines: number,
        config: Record<string, unknown>,
        private readonly environment: NodeJS.ProcessEnv = {},
    ) {
        this.stack = new OnceDestroyed("fault", {
            source: prepared.repository.path,
            image: prepared.image,
            exporterImage: prepared.exporterImage,
            retries: 1,
            ...config,
        });
    }

    /** Starts `ke1 up`, in a process group of its own. */
    public up(): void {
        const child = spawn(path.join(projectDirectory, "bin/ke1"), ["up", "--yes", "--stack", this.stack.name], {
            cwd: projectDirectory,
            env: { ...process.env, ...this.stack.environment, ...this.environment },
            stdio: ["ignore", "pipe", "pipe"],
            detached: true,
        });
        this.child = child;
        const take = (text: string) => {
            this.shown += text;
            this.arrivals.push({ length: this.shown.length, at: Date.now() });
        };
        child.stdout.setEncoding("utf8").on("data", take);
        child.stderr.setEncoding("utf8").on("data", take);
        this.running = new Promise((resolve, reject) => {
            child.on("error", reject);
            child.on("close", (code, signal) =>
                resolve({ code: code ?? (signal === "SIGINT" ? 130 : 137), at: Date.now() }),
            );
        });
        this.stack.isDestroyed = false;
    }

    /** The fault happens now; where that is not said, it is there when the launcher begins to wait for the build. */
    public fault(): void {
        this.faultAt = Date.now();
    }

    public signal(signal: NodeJS.Signals, wholeGroup = false): void {
        const pid = this.child?.pid ?? 0;
        process.kill(wholeGroup ? -pid : pid, signal);
    }

    /** Ends `ke1 up` and all that it started as no warning could. */
    public async kill(): Promise<void> {
        const tree = [this.child?.pid ?? 0];
        for (const parent of tree) {
            const children = await readFile(`/proc/${parent}/task/${parent}/children`, "utf8").catch(() => "");
            tree.push(...children.split(" ").filter(Boolean).map(Number));
        }
        tree.forEach((pid) => sendSignal(pid, "SIGKILL"));
        await this.ended();
    }

    public async ended(): Promise<Ended> {
        return this.running ?? Promise.reject(new Error("`up` was not started"));
    }

    /** Waits until `up` has said it, and fails if it ends before. */
    public async says(pattern: RegExp, seconds = 120): Promise<void> {
        let over = false;
        void this.running?.then(() => (over = true));
        await this.until(() => {
            assert.ok(!over || pattern.test(this.shown), `ended without ${String(pattern)}: ${this.shown}`);
            return pattern.test(this.shown);
        }, seconds);
    }

    /** The newest pod, once it is as wanted. */
    public async pod(wanted: (pod: V1Pod) => boolean = isBuilding, seconds = 120): Promise<V1Pod> {
        let found: V1Pod | undefined;
        const { core } = api();
        await this.until(async () => {
            const { items } = await core
                .listNamespacedPod({ namespace: this.stack.namespace })
                .catch(() => ({ items: [] as V1Pod[] }));
            found = items.filter((pod) => !pod.metadata?.deletionTimestamp && wanted(pod)).at(-1);
            return found !== undefined;
        }, seconds);
        return found as V1Pod;
    }

    public async until(condition: () => boolean | Promise<boolean>, seconds = 120): Promise<void> {
        const deadline = Date.now() + seconds * 1000;
        while (!(await condition())) {
            assert.ok(Date.now() < deadline, `waited in vain for ${String(condition)}: ${this.shown}`);
            await sleep(50);
        }
    }

    /** Waits for the end, checks all that must hold of it, destroys the stack, and checks that nothing of it is left. */
    public async endsAs(name: string, expected: Expected): Promise<Row> {
        const { outcome } = expected;
        const end = await this.ended();
        assert.equal(end.code, expected.code ?? (isSuccess(outcome) ? 0 : 1), this.shown);
        assert.match(this.shown, expected.told);
        const others = [...this.shown.matchAll(/^\W*([A-Z]\w+): /gm)].map(([, word]) => word);
        this.faultAt ||= this.arrivalOf(/-await creating/);
        const attempts = await this.attempts();
        const last = attempts.at(-1);
        if (isSuccess(outcome)) {
            await this.checkArtifacts();
        } else {
            assert.ok(end.code !== 1 || others.includes(outcome), `up says ${outcome}: ${this.shown}`);
            await this.checkFailure(outcome, end.code, expected.events);
        }
        assert.equal(attempts.length, expected.attempts ?? attempts.length, this.shown);
        const struck = attempts.map((attempt) => attempt.log).findLast((log) => log.length < this.lines) ?? [];
        const wanted = expected.lines ?? (isSuccess(outcome) ? this.lines : undefined);
        assert.equal(last?.log.length ?? 0, wanted ?? last?.log.length ?? 0, "the lines of the last attempt's log");
        const lost = struck.length === 0 ? undefined : this.faultAt / 1000 - (struck.at(-1) ?? 0);
        if (expected.lostAtMost !== undefined) {
            assert.ok(lost !== undefined && lost <= expected.lostAtMost, `${lost} s of the log are lost`);
        }
        await this.destroy();
        const seconds = (at: number) => Math.max(0, (at - this.faultAt) / 1000);
        return {
            name,
            outcome,
            told: seconds(this.arrivalOf(expected.told)),
            ended: seconds(end.at),
            attempts: attempts.length,
            log: attempts.length === 0 ? "none" : attempts.map(({ log }) => `${log.length}/${this.lines}`).join(", "),
        };
    }

    public async destroy(): Promise<void> {
        const destroyed = await this.stack.ke1(["destroy", "--yes"], this.environment);
        assert.equal(destroyed.code, 0, destroyed.stderr);
        const { items } = await api().core.listNamespace({
            fieldSelector: `metadata.name=${this.stack.namespace}`,
        });
        assert.deepEqual(items, [], "nothing is left in the cluster");
        this.stack.isDestroyed = true;
    }

    /** Whatever became of it. */
    public async remove(): Promise<void> {
        if (this.child?.exitCode === null && this.child.signalCode === null) {
            this.signal("SIGKILL", true);
            await this.stack.ke1(["stack", "cancel"]);
        }
        await this.stack.remove();
    }

    /** The attempts that an exporter began; of each, the times at which the lines were printed that are in its log. */
    public async attempts(): Promise<readonly { readonly started: AttemptStarted; readonly log: readonly number[] }[]> {
        const { buildTag } = this.prepared;
        const names = await this.stack.blobs(`${buildTag}/attempts/`);
        return Promise.all(
            names
                .filter((name) => name.endsWith("/started.json"))
                .sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
                .map(async (name) => {
                    const started = await this.document<AttemptStarted>(name);
                    return { started, log: await this.linesOf(`${buildTag}/${started.log}`) };
                }),
        );
    }

    /** Checks that the log is a beginning of what the build printed: lines in order, and none is missing or broken. */
    private async linesOf(blob: string): Promise<readonly number[]> {
        const exists = (await this.stack.blobs(blob)).length > 0;
        const text = exists ? (await this.stack.blob(blob)).toString("utf8") : "";
        const counted = text.split("\n").filter((line) => line.startsWith("line "));
        return counted.flatMap((line, index) => {
            const match = /^line (\d+) (\d+\.\d+)$/.exec(line);
            const isCut = index === counted.length - 1 && text.endsWith(line);
            assert.ok(isCut || Number(match?.[1]) === index + 1, `line ${index + 1} of the log is \`${line}\``);
            return match && !isCut ? [Number(match[2])] : [];
        });
    }

    private async checkArtifacts(): Promise<void> {
        const target = new TemporaryDirectory();
        try {
            const got = await this.stack.ke1(["artifacts", "--to", target.path], this.environment);
            assert.equal(got.code, 0, got.stderr);
            assert.equal(fs.readFileSync(path.join(target.path, "greeting"), "utf8"), "hello\n");
        } finally {
            target.remove();
        }
        const { buildTag } = this.prepared;
        const manifest = await this.document<Manifest>(`${buildTag}/manifest.json`);
        const finished = await this.document<AttemptFinished>(`${buildTag}/attempts/${manifest.attempt}/finished.json`);
        assert.equal(finished.outcome, "Succeeded");
        const started = await this.document<AttemptStarted>(`${buildTag}/attempts/${manifest.attempt}/started.json`);
        assert.equal(`${buildTag}/${started.log}`, `${buildTag}/${manifest.log.name}`);
    }

    private async checkFailure(outcome: Outcome, code: number, events: RegExp | undefined): Promise<void> {
        const { buildTag } = this.prepared;
        const blobs = await this.stack.blobs();
        assert.ok(!blobs.includes(`${buildTag}/manifest.json`), "what failed has no manifest");
        const infos = blobs.filter((name) => name.endsWith("/podinfo.json")).sort();
        // Whoever interrupts `up` has been told nothing new.
        if (code === 1) {
            const info = await this.document<PodInfo>(infos.at(-1) ?? "no podinfo.json");
            assert.equal(info.outcome, outcome, "the store says the same");
            assert.ok(this.shown.includes(info.message), `up says \`${info.message}\`: ${this.shown}`);
            assert.match(info.events.join("\n"), events ?? /(?:)/);
        }
        const builds = JSON.parse((await this.stack.ke1(["builds", "--json"], this.environment)).stdout) as {
            readonly outcome: string;
        }[];
        assert.deepEqual(
            builds.map((build) => build.outcome),
            [outcome],
        );
    }

    private async document<T>(name: string): Promise<T> {
        return JSON.parse((await this.stack.blob(name)).toString("utf8")) as T;
    }

    private arrivalOf(pattern: RegExp): number {
        return this.arrivals.find(({ length }) => pattern.test(this.shown.slice(0, length)))?.at ?? NaN;
    }
}

/** Whether a pod's build runs. */
export function isBuilding(pod: V1Pod): boolean {
    return pod.status?.containerStatuses?.find(({ name }) => name === "build")?.state?.running !== undefined;
}
