import { randomBytes } from "node:crypto";
import { PassThrough } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

import type { V1ContainerStatus, V1Job, V1Pod } from "@kubernetes/client-node";
import { BatchV1Api, CoreV1Api, PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";

import { messageOf } from "../contract/errors";
import type { ImageBuild } from "../contract/imageBuild";
import { builderContainer, clientContainer } from "../contract/imageBuild";
import type { Cluster } from "./cluster";
import type { PushCredential } from "./dockerConfig";
import { dockerConfig } from "./dockerConfig";
import type { PackedContext } from "./imageJob";
import { builderNotStarted, contextCutShort, imageJob } from "./imageJob";
import { sendInput } from "./standardInput";

/** What a build of an image says while it goes on. */
export interface ImageBuildObserver {
    readonly phase: (text: string) => void;
    readonly line: (line: string) => void;
}

/** A context in a file of this machine. */
export interface ContextFile extends PackedContext {
    readonly path: string;
}

/** An image was not built, for the reason that the message says in one line. */
export class ImageBuildFailure extends Error {
    public override readonly name = "ImageBuildFailure";

    /** @param isBuilders whether it is BuildKit's answer, which has said why */
    public constructor(
        message: string,
        public readonly isBuilders = false,
    ) {
        super(message);
    }
}

/** A pod that gets nowhere is given up after this, in seconds. */
const startLimitSeconds = 300;
/** A context that was cut short is sent once more, to a new pod. */
const attempts = 2;

/**
 * Builds an image in a pod of the cluster.
 *
 * @returns the image's digest, `sha256:<hex>`
 * @throws ImageBuildFailure, also when the signal aborts; nothing of it then goes on in the cluster
 */
export async function buildImageInCluster(
    cluster: Cluster,
    build: ImageBuild,
    context: ContextFile,
    credential: PushCredential | undefined,
    observer: ImageBuildObserver,
    signal: AbortSignal,
): Promise<string> {
    for (let attempt = 1; ; attempt++) {
        const run = new ImageRun(cluster, build, context, observer);
        try {
            const client = await run.toItsEnd(credential, signal);
            const digest = client?.message?.trim() ?? "";
            if (client?.exitCode === 0 && /^sha256:[0-9a-f]{64}$/.test(digest)) {
                return digest;
            }
            if (client?.exitCode !== contextCutShort || attempt === attempts) {
                throw await run.failure(client);
            }
            observer.phase("the image's context was cut short; it is sent again");
        } finally {
            await run.end();
        }
    }
}

type Terminated = NonNullable<NonNullable<V1ContainerStatus["state"]>["terminated"]>;

/** One attempt: a Job, its Secret, and its pod. */
class ImageRun {
    private readonly name: string;
    private readonly namespace: string;
    private readonly batch: BatchV1Api;
    private readonly core: CoreV1Api;
    private pod: V1Pod | undefined;
    private job: V1Job | undefined;
    private attached: Promise<void> | undefined;
    private shown = "";

    public constructor(
        private readonly cluster: Cluster,
        private readonly build: ImageBuild,
        private readonly context: ContextFile,
        private readonly observer: ImageBuildObserver,
    ) {
        const repository = build.imageName.replace(/^.*\//, "").replace(/[^a-z0-9]+/g, "-");
        this.name = `image-${repository.slice(0, 30)}-${randomBytes(5).toString("hex")}`;
        this.namespace = build.pod.namespace;
        this.batch = cluster.client(BatchV1Api);
        this.core = cluster.client(CoreV1Api);
    }

    /** @returns how the client ended; undefined when its pod was lost before that was seen */
    public async toItsEnd(
        credential: PushCredential | undefined,
        signal: AbortSignal,
    ): Promise<Terminated | undefined> {
        await this.create(credential);
        const over = new AbortController();
        const both = AbortSignal.any([signal, over.signal]);
        const end = new Promise<Terminated | undefined>((resolve, reject) => {
            const limit = setTimeout(() => {
                if (!this.attached) {
                    reject(new ImageBuildFailure(`its pod did not start within ${startLimitSeconds} s: ${this.shown}`));
                }
            }, startLimitSeconds * 1000);
            both.addEventListener("abort", () => {
                clearTimeout(limit);
                reject(new ImageBuildFailure("interrupted"));
            });
            this.cluster
                .watchBuild(
                    this.namespace,
                    this.name,
                    (change) => {
                        try {
                            if (change.kind === "job") {
                                this.job = change.job;
                                if (change.deleted || isOver(change.job)) {
                                    resolve(this.client()?.state?.terminated);
                                }
                                return;
                            }
                            this.pod = change.pod;
                            const state = this.client()?.state;
                            if (state?.terminated || change.deleted) {
                                resolve(state?.terminated);
                            } else if (state?.running) {
                                this.attached ??= this.attach(both);
                            } else {
                                this.showWaiting();
                            }
                        } catch (error) {
                            reject(error instanceof Error ? error : new Error(messageOf(error)));
                        }
                    },
                    both,
                )
                .catch(reject);
        });
        try {
            const client = await end;
            // What it printed last may still be on its way.
            await Promise.race([this.attached, delay(2000)]);
            return client;
        } finally {
            over.abort();
        }
    }

    /** Why there is no image. */
    public async failure(client: Terminated | undefined): Promise<ImageBuildFailure> {
        const cause = await this.cause();
        return new ImageBuildFailure(
            cause ?? (client ? `buildctl ended with ${client.exitCode}` : this.podsEnd()),
            cause === undefined && client !== undefined,
        );
    }

    /** What is not the Dockerfile's doing. */
    private async cause(): Promise<string | undefined> {
        const client = this.client()?.state?.terminated;
        const builder = this.pod?.status?.initContainerStatuses?.find(({ name }) => name === builderContainer);
        const killed = [builder?.lastState?.terminated, builder?.state?.terminated].find(
            (state) => state?.reason === "OOMKilled",
        );
        if (killed) {
            return `it ran out of memory (imageBuilderMemoryLimit: ${this.build.pod.memoryLimit})`;
        }
        const condition = this.job?.status?.conditions?.find(({ type }) => type === "Failed");
        if (condition?.reason === "DeadlineExceeded") {
            return `it took longer than imageBuilderDeadlineSeconds (${this.build.pod.deadlineSeconds})`;
        }
        if (client?.exitCode === builderNotStarted || (builder?.restartCount ?? 0) > 0) {
            const said = await this.cluster.containerLog(this.namespace, this.podName(), builderContainer);
            const last = said?.trimEnd().split("\n").slice(-2).join("; ");
            return `BuildKit does not start in the pod; docs/images.md says what it needs: ${last ?? ""}`;
        }
        return undefined;
    }

    private podsEnd(): string {
        const condition = this.job?.status?.conditions?.find(({ type }) => type === "Failed");
        const reason = this.pod?.status?.reason ?? condition?.reason ?? "its pod is gone";
        return [reason, this.pod?.status?.message ?? condition?.message].filter(Boolean).join(": ");
    }

    /** Removes what was made in the cluster, of a build that is over or is to be. */
    public async end(): Promise<void> {
        const { namespace, name } = this;
        // A credential is in the cluster for as long as it is needed; of a launcher that is killed, until the Job goes.
        await this.core.deleteNamespacedSecret({ namespace, name }).catch(unlessMissing);
        // A Job that is over is left for its TTL, so that its log can be looked at.
        if (!this.client()?.state?.terminated) {
            const propagationPolicy = "Background";
            await this.batch.deleteNamespacedJob({ namespace, name, propagationPolicy }).catch(unlessMissing);
        }
    }

    private async create(credential: PushCredential | undefined): Promise<void> {
        const { namespace, name } = this;
        const made = await this.batch.createNamespacedJob({
            namespace,
            body: imageJob(name, this.build, this.context),
            fieldManager: "ke1",
        });
        if (credential) {
            const owner = { apiVersion: "batch/v1", kind: "Job", name, uid: made.metadata?.uid ?? "" };
            await this.core.createNamespacedSecret({
                namespace,
                fieldManager: "ke1",
                body: {
                    // It goes when the Job does.
                    metadata: { name, namespace, ownerReferences: [owner] },
                    immutable: true,
                    stringData: { "config.json": dockerConfig(this.build.pushName, credential) },
                },
            });
        }
        await this.batch.patchNamespacedJob(
            { namespace, name, body: { spec: { suspend: false } }, fieldManager: "ke1" },
            setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
        );
    }

    private podName(): string {
        return this.pod?.metadata?.name ?? "";
    }

    private client(): V1ContainerStatus | undefined {
        return this.pod?.status?.containerStatuses?.find(({ name }) => name === clientContainer);
    }

    /** Says once what its pod waits for. */
    private showWaiting(): void {
        const { initContainerStatuses = [], containerStatuses = [], conditions = [] } = this.pod?.status ?? {};
        const waiting = [...initContainerStatuses, ...containerStatuses]
            .map(({ state }) => state?.waiting)
            .find((state) => state && !["PodInitializing", "ContainerCreating"].includes(state.reason ?? ""));
        const unscheduled = conditions.find(({ type, status }) => type === "PodScheduled" && status === "False");
        const text = waiting
            ? [waiting.reason, waiting.message].filter(Boolean).join(": ")
            : [unscheduled?.reason, unscheduled?.message].filter(Boolean).join(": ");
        if (text !== "" && text !== this.shown) {
            this.shown = text;
            this.observer.phase(`image: ${text}`);
        }
    }

    /** Sends the context and shows what the client prints. A connection that breaks then is no failure of the build's. */
    private async attach(signal: AbortSignal): Promise<void> {
        const output = new PassThrough();
        const lines = showLines(output, this.observer);
        try {
            const { namespace } = this;
            const target = { namespace, pod: this.podName(), container: clientContainer };
            await sendInput(this.cluster.configuration, target, this.context.path, output, signal);
        } catch (error) {
            if (!signal.aborted) {
                this.observer.phase(`image: the connection to its pod broke: ${messageOf(error)}`);
            }
        }
        output.end();
        await lines;
    }
}

function unlessMissing(error: unknown): void {
    if ((error as { readonly code?: unknown }).code !== 404) {
        throw error;
    }
}

async function showLines(output: PassThrough, observer: ImageBuildObserver): Promise<void> {
    let rest = "";
    output.setEncoding("utf8");
    for await (const text of output) {
        const parts = (rest + String(text)).split("\n");
        rest = parts.pop() ?? "";
        parts.forEach((line) => observer.line(line));
    }
    if (rest !== "") {
        observer.line(rest);
    }
}

function isOver(job: V1Job): boolean {
    return job.status?.conditions?.some(({ type, status }) => type === "Failed" && status === "True") ?? false;
}
