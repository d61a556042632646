import { buildKey } from "../contract/layout";
import { isSuccess } from "../contract/outcome";
import type { BuildStore, StoredAttempt } from "./store";
import type { TraceParent, Tracing } from "./tracing";

/** Whose attempts to look for. */
export interface TracedBuild {
    readonly buildTag: string;
    readonly step?: string;
    readonly namespace: string;
    readonly jobs: readonly string[];
}

/**
 * Records what a build's pods did, from what their exporters wrote down: the exporter itself has no way to a collector.
 * Attempts of other Jobs, such as those of an earlier build of the same tag, are left out.
 */
export async function recordAttempts(
    tracing: Tracing,
    store: BuildStore,
    { buildTag, step, namespace, jobs }: TracedBuild,
    parent: TraceParent | undefined,
): Promise<void> {
    for (const attempt of await store.attempts(buildKey(buildTag, step))) {
        const { started } = attempt;
        if (started && started.job.namespace === namespace && jobs.includes(started.job.name)) {
            record(tracing, attempt, parent);
        }
    }
}

function record(
    tracing: Tracing,
    { attempt, started, finished }: StoredAttempt,
    parent: TraceParent | undefined,
): void {
    if (!started || !finished) {
        return;
    }
    const { buildSeconds, exportSeconds } = finished.durations;
    const begun = new Date(started.startedAt);
    const ended = new Date(finished.finishedAt);
    const attributes = { "ke1.build.tag": started.buildTag, "ke1.build.step": started.step, "ke1.attempt": attempt };
    const failed = isSuccess(finished.outcome) ? undefined : (finished.message ?? finished.outcome);
    tracing.record({
        name: "build",
        start: begun,
        end: new Date(begun.getTime() + buildSeconds * 1000),
        parent,
        attributes: {
            ...attributes,
            "ke1.outcome": finished.outcome,
            "process.exit.code": finished.exitCode,
            "k8s.namespace.name": started.job.namespace,
            "k8s.job.name": started.job.name,
            "k8s.pod.name": started.pod.name,
            "k8s.node.name": started.pod.node,
        },
        error: finished.outcome === "ExportFailed" ? undefined : failed,
    });
    tracing.record({
        name: "export",
        start: new Date(ended.getTime() - exportSeconds * 1000),
        end: ended,
        parent,
        attributes: { ...attributes, "ke1.artifacts": finished.artifacts },
        error: finished.outcome === "ExportFailed" ? failed : undefined,
    });
}
