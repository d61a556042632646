import type { V1Pod } from "@kubernetes/client-node";

import { messageOf } from "../contract/errors";
import { buildKey, layout } from "../contract/layout";
import type { PodInfo } from "../contract/manifest";
import type { Outcome } from "../contract/outcome";
import type { Cluster } from "./cluster";
import type { BuildStore } from "./store";

/** The warnings that Kubernetes has about a Job and its pod, the Job's first. */
export async function eventsOf(
    cluster: Cluster,
    namespace: string,
    job: string,
    pod: V1Pod | undefined,
): Promise<readonly string[]> {
    const names = [job, pod?.metadata?.name].filter((name) => name !== undefined);
    try {
        return (await Promise.all(names.map((name) => cluster.events(namespace, name)))).flat();
    } catch {
        // Without the permission to read events the outcome still stands.
        return [];
    }
}

/** What is to be kept of a failure. */
export interface Failed {
    readonly buildTag: string;
    readonly step?: string;
    /** Undefined where the pod's exporter never ran: nobody has counted an attempt then. */
    readonly attempt: number | undefined;
    readonly outcome: Outcome;
    readonly message: string;
    readonly events: readonly string[];
    readonly pod: V1Pod | undefined;
}

/**
 * Keeps in the store what only the cluster knew: why an attempt ended, and what its pod looked like. A launcher that may
 * only read the store tells the outcome all the same.
 */
export async function recordPodInfo(store: BuildStore, failed: Failed, say: (text: string) => void): Promise<void> {
    const { pod, attempt = 0, ...rest } = failed;
    const info: PodInfo = { schemaVersion: 1, ...rest, attempt, pod: pod?.metadata?.name, status: pod?.status };
    try {
        await store.putDocument(layout.podinfo(buildKey(failed.buildTag, failed.step), attempt), info);
    } catch (error) {
        say(`podinfo.json was not written: ${messageOf(error)}`);
    }
}
