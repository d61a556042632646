import type { ApiConstructor, ApiType, CoreV1Event, V1Job, V1Pod } from "@kubernetes/client-node";
import type { KubeConfig } from "@kubernetes/client-node";
import { BatchV1Api, CoreV1Api, CustomObjectsApi, PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";

import { UserError } from "../contract/errors";
import { buildTagLabel, queueNameLabel } from "../contract/labels";
import type { EventWriter } from "./notify/event";
import { eventReporter, eventWriter } from "./notify/event";
import { keepWatching } from "./keptWatch";
import { createdAt } from "./podStatus";
import { pooledConfig } from "./pooledConfig";
import { SharedWatches } from "./sharedWatches";

/** Which cluster, and as whom. */
export interface ClusterOptions {
    /** Path of a kubeconfig; empty for KUBECONFIG or ~/.kube/config. */
    readonly kubeconfig: string;
    /** Empty for the kubeconfig's current context. */
    readonly context: string;
}

/**
 * What the launcher asks of a cluster. Needs get, list, watch and patch on Jobs, get, list, watch and delete on pods, to see
 * their logs, and to look at and make events.
 */
export class Cluster {
    private readonly batch: BatchV1Api;
    private readonly core: CoreV1Api;
    private readonly custom: CustomObjectsApi;
    /** Undefined where each build is watched for itself. */
    private shared: SharedWatches | undefined;

    private constructor(private readonly config: KubeConfig) {
        this.batch = config.makeApiClient(BatchV1Api);
        this.core = config.makeApiClient(CoreV1Api);
        this.custom = config.makeApiClient(CustomObjectsApi);
    }

    /** @throws UserError when there is no such kubeconfig or context. */
    public static connect(options: ClusterOptions): Cluster {
        const config = pooledConfig();
        try {
            if (options.kubeconfig === "") {
                config.loadFromDefault();
            } else {
                config.loadFromFile(options.kubeconfig);
            }
        } catch (error) {
            throw new UserError(`the kubeconfig ${options.kubeconfig} cannot be read: ${String(error)}`);
        }
        if (options.context !== "") {
            if (!config.getContextObject(options.context)) {
                throw new UserError(
                    `the kubeconfig has no context ${options.context}; \`kubectl config get-contexts\` lists them`,
                );
            }
            config.setCurrentContext(options.context);
        }
        return new Cluster(config);
    }

    /** A client of one of the cluster's APIs. */
    public client<T extends ApiType>(api: ApiConstructor<T>): T {
        return this.config.makeApiClient(api);
    }

    /** For what has no API client: a connection to a container. */
    public get configuration(): KubeConfig {
        return this.config;
    }

    /** The Job, or undefined when there is none. */
    public async job(namespace: string, name: string): Promise<V1Job | undefined> {
        return undefinedIfMissing(this.batch.readNamespacedJob({ namespace, name }));
    }

    /** The pods that a Job has made, the oldest first. */
    public async podsOfJob(namespace: string, name: string): Promise<readonly V1Pod[]> {
        const labelSelector = `batch.kubernetes.io/job-name=${name}`;
        const { items } = await this.core.listNamespacedPod({ namespace, labelSelector });
        return [...items].sort((a, b) => createdAt(a) - createdAt(b));
    }

    /** From now on all builds of a namespace have one watch, for as long as any is followed. */
    public shareWatches(): void {
        this.shared ??= new SharedWatches(this.config, this.batch, this.core);
    }

    /** A build's Job and pods: known from a watch, where there is one for all. */
    public async buildState(namespace: string, name: string): Promise<BuildState> {
        const known = await this.shared?.state(namespace, name);
        if (known) {
            return known;
        }
        const [job, pods] = await Promise.all([this.job(namespace, name), this.podsOfJob(namespace, name)]);
        return { job, pods };
    }

    public async jobsWithLabel(namespace: string, labelSelector: string): Promise<readonly V1Job[]> {
        return (await this.batch.listNamespacedJob({ namespace, labelSelector })).items;
    }

    /** The pods of builds that have no node yet. */
    public async waitingPods(namespace: string): Promise<readonly V1Pod[]> {
        const known = this.shared?.podsIn(namespace);
        if (known) {
            return known;
        }
        const fieldSelector = "spec.nodeName=,status.phase=Pending";
        return (await this.core.listNamespacedPod({ namespace, fieldSelector, labelSelector: buildTagLabel })).items;
    }

    /**
     * Suspends a Job: its pods are ended in good order, and the Job stays; or lets it go on with a new pod. Does nothing
     * when the Job is gone.
     *
     * A Job in a queue is Kueue's to suspend: its Workload says whether it is to run
     * (https://kueue.sigs.k8s.io/docs/concepts/workload/#active).
     */
    public async suspendJob(namespace: string, name: string, suspend: boolean): Promise<void> {
        const job = await this.job(namespace, name);
        if (job && isQueued(job)) {
            return this.activateWorkload(namespace, job, !suspend);
        }
        await undefinedIfMissing(
            this.batch.patchNamespacedJob(
                { namespace, name, body: { spec: { suspend } }, fieldManager: "ke1" },
                setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
            ),
        );
    }

    private async activateWorkload(namespace: string, job: V1Job, active: boolean): Promise<void> {
        const workloads = { group: "kueue.x-k8s.io", version: "v1beta1", namespace, plural: "workloads" };
        const labelSelector = `kueue.x-k8s.io/job-uid=${job.metadata?.uid ?? ""}`;
        const found = (await undefinedIfMissing(
            this.custom.listNamespacedCustomObject({ ...workloads, labelSelector }),
        )) as { readonly items: readonly { readonly metadata: { readonly name: string } }[] } | undefined;
        for (const { metadata } of found?.items ?? []) {
            await this.custom.patchNamespacedCustomObject(
                { ...workloads, name: metadata.name, body: { spec: { active } }, fieldManager: "ke1" },
                setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
            );
        }
    }

    /** Ends a pod in good order. */
    public async deletePod(namespace: string, name: string): Promise<void> {
        await undefinedIfMissing(this.core.deleteNamespacedPod({ namespace, name }));
    }

    /** Takes a pod's object away at once, whatever its node does. */
    public async deletePodByForce(namespace: string, name: string): Promise<void> {
        await undefinedIfMissing(this.core.deleteNamespacedPod({ namespace, name, gracePeriodSeconds: 0 }));
    }

    /** The newest events of an object, oldest first, as `reason: message` with how often. */
    public async events(namespace: string, objectName: string): Promise<readonly string[]> {
        const found = await this.core.listNamespacedEvent({
            namespace,
            fieldSelector: `involvedObject.name=${objectName}`,
            limit: 50,
        });
        return found.items
            .filter((event) => event.reportingComponent !== eventReporter)
            .filter((event) => event.type !== "Normal" || event.reason === "Preempted" || event.reason === "Killing")
            .sort((a, b) => eventTime(a) - eventTime(b))
            .slice(-8)
            .map((event) => {
                const count = event.count !== undefined && event.count > 1 ? ` (${event.count} times)` : "";
                return `${event.reason ?? ""}: ${(event.message ?? "").trim()}${count}`;
            });
    }

    /** Writes events on Jobs. */
    public eventWriter(): EventWriter {
        return eventWriter(this.batch, this.core);
    }

    /** What a container has printed, or the beginning of it; undefined without the permission to see it. */
    public async containerLog(namespace: string, name: string, container: string): Promise<string | undefined> {
        const limitBytes = 16 * 1024 * 1024;
        return this.core.readNamespacedPodLog({ namespace, name, container, limitBytes }).catch(() => undefined);
    }

    /** Creates the Secret, or gives it new content. The content goes nowhere else. */
    public async putSecret(
        namespace: string,
        name: string,
        labels: Record<string, string>,
        stringData: Record<string, string>,
    ): Promise<void> {
        const body = { metadata: { name, namespace, labels }, type: "Opaque", stringData };
        const existing = await undefinedIfMissing(this.core.readNamespacedSecret({ namespace, name }));
        if (existing) {
            await this.core.replaceNamespacedSecret({ namespace, name, body, fieldManager: "ke1" });
        } else {
            await this.core.createNamespacedSecret({ namespace, body, fieldManager: "ke1" });
        }
    }

    public async deleteSecret(namespace: string, name: string): Promise<void> {
        await undefinedIfMissing(this.core.deleteNamespacedSecret({ namespace, name }));
    }

    /**
     * Calls back with the Job and its pods as they are, and then whenever one changes, until the signal aborts. A
     * connection that breaks is made again.
     *
     * @throws Error when the server refuses, for example for want of a permission.
     */
    public async watchBuild(
        namespace: string,
        job: string,
        onChange: (change: BuildChange) => void,
        signal: AbortSignal,
    ): Promise<void> {
        if (this.shared) {
            return this.shared.follow(namespace, job, onChange, signal);
        }
        const jobs = keepWatching(
            this.config,
            `/apis/batch/v1/namespaces/${namespace}/jobs`,
            { fieldSelector: `metadata.name=${job}` },
            (type, object) => onChange({ kind: "job", deleted: type === "DELETED", job: object as V1Job }),
            signal,
        );
        const pods = keepWatching(
            this.config,
            `/api/v1/namespaces/${namespace}/pods`,
            { labelSelector: `batch.kubernetes.io/job-name=${job}` },
            (type, object) => onChange({ kind: "pod", deleted: type === "DELETED", pod: object as V1Pod }),
            signal,
        );
        await Promise.all([jobs, pods]);
    }
}

/** A build's Job, if it is there, and its pods, the oldest first. */
export interface BuildState {
    readonly job: V1Job | undefined;
    readonly pods: readonly V1Pod[];
}

export type BuildChange =
    | { readonly kind: "job"; readonly deleted: boolean; readonly job: V1Job }
    | { readonly kind: "pod"; readonly deleted: boolean; readonly pod: V1Pod };

/** Whether a Job waits for, or runs by leave of, a queue of Kueue's. */
export function isQueued(job: V1Job): boolean {
    return job.metadata?.labels?.[queueNameLabel] !== undefined;
}

function eventTime(event: CoreV1Event): number {
    const time = event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp;
    return time ? new Date(time).getTime() : 0;
}

async function undefinedIfMissing<T>(request: Promise<T>): Promise<T | undefined> {
    try {
        return await request;
    } catch (error) {
        if ((error as { code?: unknown }).code === 404) {
            return undefined;
        }
        throw error;
    }
}
