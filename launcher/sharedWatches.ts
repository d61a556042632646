import type { BatchV1Api, CoreV1Api, KubeConfig, V1Pod } from "@kubernetes/client-node";

import { buildTagLabel } from "../contract/labels";
import type { BuildChange, BuildState } from "./cluster";
import { keepWatching } from "./keptWatch";
import type { Collection } from "./namespaceWatch";
import { NamespaceWatch } from "./namespaceWatch";

/** Milliseconds that a watch that nobody follows is kept for the next build. */
const unusedLimit = 10_000;
/** Builds' Jobs and pods alone carry it. */
const labelSelector = buildTagLabel;

/** One watch for each namespace that builds are followed in. */
export class SharedWatches {
    private readonly watches = new Map<string, NamespaceWatch>();

    public constructor(
        private readonly config: KubeConfig,
        private readonly batch: BatchV1Api,
        private readonly core: CoreV1Api,
    ) {}

    /** A build as its namespace's watch knows it; undefined where the API server has to be asked. */
    public async state(namespace: string, job: string): Promise<BuildState | undefined> {
        return this.of(namespace).state(job);
    }

    /** Calls back with the Job and its pods as they are, and whenever one changes, until the signal aborts. */
    public async follow(
        namespace: string,
        job: string,
        onChange: (change: BuildChange) => void,
        signal: AbortSignal,
    ): Promise<void> {
        const watch = this.of(namespace);
        await watch.follow(job, onChange, signal);
        const timer = setTimeout(() => {
            if (watch.followers === 0) {
                this.drop(namespace, watch);
            }
        }, unusedLimit);
        timer.unref();
    }

    /** The pods of all builds, where they are watched. */
    public podsIn(namespace: string): readonly V1Pod[] | undefined {
        return this.watches.get(namespace)?.pods;
    }

    private of(namespace: string): NamespaceWatch {
        const found = this.watches.get(namespace);
        if (found) {
            return found;
        }
        const made = new NamespaceWatch(
            {
                list: async () => {
                    const { items, metadata } = await this.batch.listNamespacedJob({ namespace, labelSelector });
                    return { items, version: metadata?.resourceVersion };
                },
                watch: this.watchOf(`/apis/batch/v1/namespaces/${namespace}/jobs`),
            },
            {
                list: async () => {
                    const { items, metadata } = await this.core.listNamespacedPod({ namespace, labelSelector });
                    return { items, version: metadata?.resourceVersion };
                },
                watch: this.watchOf(`/api/v1/namespaces/${namespace}/pods`),
            },
        );
        this.watches.set(namespace, made);
        // Whoever comes after a refusal tries again.
        made.ended.catch(() => this.drop(namespace, made));
        return made;
    }

    private drop(namespace: string, watch: NamespaceWatch): void {
        if (this.watches.get(namespace) === watch) {
            this.watches.delete(namespace);
        }
        watch.close();
    }

    private watchOf<T>(path: string): Collection<T>["watch"] {
        return (begin, onEvent, onBreak, signal) =>
            keepWatching(this.config, path, { labelSelector }, (type, object) => onEvent(type, object as T), signal, {
                begin: async () => ({ resourceVersion: await begin() }),
                onBreak,
            });
    }
}
