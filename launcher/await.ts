import { buildKey, layout } from "../contract/layout";
import type { Manifest } from "../contract/manifest";
import type { Outcome } from "../contract/outcome";
import type { BuildResult } from "../contract/result";
import { maxListedArtifacts } from "../contract/result";
import type { BuildTimeline } from "../contract/timings";
import { phaseDurations } from "../contract/timings";
import { isAbandoned } from "./abandoned";
import type { AwaitListener, AwaitRequest, Ending } from "./awaitedBuild";
import { AwaitedBuild } from "./awaitedBuild";
import type { Cluster } from "./cluster";
import { HeldDependencies } from "./dependencies";
import { troubleOf } from "./companions";
import type { BuildStore } from "./store";

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
    const { needs = [], namespace, jobs } = request;
    if (needs.length === 0) {
        return awaitOutcome(cluster, store, request, listener, signal);
    }
    const held = new HeldDependencies(cluster, namespace, needs, jobs[0] ?? "", listener.phase);
    try {
        await held.acquire(signal);
        return await awaitOutcome(cluster, store, request, listener, signal);
    } finally {
        await (isAbandoned(signal) ? held.leave() : held.release());
    }
}

async function awaitOutcome(
    cluster: Cluster,
    store: BuildStore,
    request: AwaitRequest,
    listener: AwaitListener,
    signal: AbortSignal,
): Promise<BuildResult> {
    const [first = "", ...more] = request.jobs;
    let build = new AwaitedBuild(cluster, store, request, first, listener);
    let ending: Ending = await build.ending(signal);
    for (const [index, job] of more.entries()) {
        if (!("failure" in ending) || !ending.failure.details.wantsMemory) {
            break;
        }
        const [had = "", has = ""] = request.memory.slice(index);
        listener.phase(`out of memory with ${had}: starting again with ${has}`);
        build = new AwaitedBuild(cluster, store, request, job, listener);
        ending = await build.ending(signal);
    }
    const timeline = await build.timeline(ending);
    listener.timeline?.(timeline);
    if ("failure" in ending) {
        throw ending.failure;
    }
    troubleOf(ending.manifest.companions).forEach((line) => listener.phase(`warning: ${line}`));
    return resultOf(store, ending.manifest, build.hasMade(ending.manifest) ? "Succeeded" : "AlreadyBuilt", timeline);
}

/** The outputs of a build from its manifest. */
function resultOf(store: BuildStore, manifest: Manifest, outcome: Outcome, timeline: BuildTimeline): BuildResult {
    const key = buildKey(manifest.buildTag, manifest.step);
    return {
        outcome,
        binUrl: store.blobUrl(layout.binPrefix(key)),
        logsUrl: store.blobUrl(layout.logsPrefix(key)),
        manifestUrl: store.blobUrl(layout.manifest(key)),
        artifacts: manifest.artifacts
            .slice(0, maxListedArtifacts)
            .map((artifact) => ({ ...artifact, url: store.blobUrl(layout.artifact(key, artifact.name)) })),
        artifactCount: manifest.artifacts.length,
        attempt: manifest.attempt,
        durations: { ...manifest.durations, ...phaseDurations(timeline) },
        summaries: manifest.summaries ?? {},
    };
}
