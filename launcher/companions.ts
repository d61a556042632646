import type { V1ContainerStatus, V1Pod } from "@kubernetes/client-node";

import { layout } from "../contract/layout";
import type { CompanionEnd, Summaries } from "../contract/manifest";
import type { Cluster } from "./cluster";
import { presentable } from "./logFollower";
import type { BuildStore } from "./store";

/** The init containers proper, without the sidecars, which Kubernetes lists with them. */
function initStatuses(pod: V1Pod): readonly V1ContainerStatus[] {
    const sidecars = sidecarNames(pod);
    return (pod.status?.initContainerStatuses ?? []).filter(({ name }) => !sidecars.has(name));
}

function sidecarNames(pod: V1Pod): ReadonlySet<string> {
    const containers = pod.spec?.initContainers ?? [];
    return new Set(containers.filter(({ restartPolicy }) => restartPolicy === "Always").map(({ name }) => name));
}

/** The init container that is running. */
export function runningInit(pod: V1Pod): string | undefined {
    return initStatuses(pod).find(({ state }) => state?.running)?.name;
}

export interface FailedInit {
    readonly name: string;
    readonly exitCode: number;
    readonly startedAt: Date;
}

/**
 * An init container that ended by what nobody could say to the exporter: it was killed, with its wrapper, or is not this
 * program's own.
 */
export function failedInit(pod: V1Pod): FailedInit | undefined {
    for (const { name, state } of initStatuses(pod)) {
        const end = state?.terminated;
        if (end && (end.exitCode !== 0 || end.reason === "OOMKilled")) {
            return { name, exitCode: end.exitCode, startedAt: new Date(end.startedAt ?? Date.now()) };
        }
    }
    return undefined;
}

/**
 * The init container in which the kernel's OOM killer struck. What befalls a sidecar is the manifest's to tell.
 *
 * With cgroup v1 it may have ended with 0 all the same, where only a process of it was killed. Kubelet takes that for a failure
 * and does not go on, but the pod does not end (pkg/kubelet/kuberuntime/kuberuntime_container.go, isInitContainerFailed).
 */
export function initOutOfMemory(pod: V1Pod): string | undefined {
    return initStatuses(pod).find(({ state }) => state?.terminated?.reason === "OOMKilled")?.name;
}

/**
 * Keeps the log of an init container that was killed: there was no exporter yet to do it. Where values are to be masked, the
 * pod's log has nothing of it.
 *
 * @returns the blob's path, and what was printed; undefined where it cannot be kept
 */
export async function keepInitLog(
    cluster: Cluster,
    store: BuildStore,
    where: { readonly namespace: string; readonly buildTag: string; readonly pod: V1Pod },
    init: FailedInit,
): Promise<{ readonly path: string; readonly text: string } | undefined> {
    const text = await cluster.containerLog(where.namespace, where.pod.metadata?.name ?? "", init.name);
    if (text === undefined || text === "") {
        return undefined;
    }
    const path = layout.containerLog(where.buildTag, init.startedAt, init.name);
    await store.putLog(path, text);
    return { path, text };
}

/** The init container or sidecar that could not be started at all, and why. A sidecar is tried again and again. */
export function unstartableCompanion(
    pod: V1Pod,
): { readonly name: string; readonly message: string | undefined } | undefined {
    for (const { name, state, lastState } of pod.status?.initContainerStatuses ?? []) {
        const ended = state?.terminated ?? lastState?.terminated;
        if (ended && ["StartError", "ContainerCannotRun"].includes(ended.reason ?? "")) {
            return { name, message: ended.message ?? ended.reason };
        }
    }
    return undefined;
}

/** The exit code of what SIGTERM ended: where that is how a sidecar is told of the build's end, it is no trouble. */
const terminated = 143;

/** What a person is to know of the containers that did not go as they should, one line each. */
export function troubleOf(ends: readonly CompanionEnd[] = []): readonly string[] {
    return ends.flatMap(({ name, role, exitCode, problem }) => {
        const what = role === "init" ? "init container" : "sidecar";
        if (problem !== undefined) {
            return [`the ${what} \`${name}\`: ${problem}`];
        }
        return exitCode === undefined || exitCode === 0 || (role === "sidecar" && exitCode === terminated)
            ? []
            : [`the ${what} \`${name}\` ended with exit code ${exitCode}`];
    });
}

/** What sidecars say of a build that failed, one line each: of one that did not, it is an output of the stack. */
export function summaryLines(summaries: Summaries = {}): readonly string[] {
    return Object.entries(summaries).map(([name, summary]) =>
        presentable(`summary of ${name}: ${JSON.stringify(summary)}`),
    );
}
