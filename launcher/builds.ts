import { buildKey } from "../contract/layout";
import type { Outcome } from "../contract/outcome";
import type { BuildStore } from "./store";

/** One line of `ke1 builds`. */
export interface BuildSummary {
    readonly buildTag: string;
    /** Of a pipeline. */
    readonly step?: string;
    /** `Running` also for a build that was lost before it could say how it ended. */
    readonly outcome: Outcome | "Running";
    readonly attempts: number;
    /** ISO 8601. */
    readonly startedAt?: string;
    readonly buildSeconds?: number;
    readonly artifacts: number;
    readonly commit?: string;
}

/** All builds that the store knows of, the newest first. */
export async function listBuilds(store: BuildStore): Promise<readonly BuildSummary[]> {
    const tags = await Promise.all(
        (await store.tags()).map(async (tag) => {
            const [itself, ...steps] = await Promise.all([
                summarize(store, tag),
                ...(await store.steps(tag)).map(async (step) => summarize(store, tag, step)),
            ]);
            // A tag may have been built by itself, and by a pipeline.
            return steps.length > 0 && itself.attempts === 0 ? steps : [itself, ...steps];
        }),
    );
    return tags.flat().sort((a, b) => (b.startedAt ?? "").localeCompare(a.startedAt ?? ""));
}

async function summarize(store: BuildStore, buildTag: string, step?: string): Promise<BuildSummary> {
    const key = buildKey(buildTag, step);
    const [manifest, attempts] = await Promise.all([store.manifest(key), store.attempts(key)]);
    const last = attempts.at(-1);
    return {
        buildTag,
        step,
        outcome: manifest ? "Succeeded" : (last?.podinfo?.outcome ?? last?.finished?.outcome ?? "Running"),
        attempts: attempts.length,
        startedAt: manifest?.startedAt ?? last?.started?.startedAt,
        buildSeconds: manifest?.durations.buildSeconds ?? last?.finished?.durations.buildSeconds,
        artifacts: manifest?.artifacts.length ?? 0,
        commit: manifest?.source.commit ?? last?.started?.source.commit,
    };
}
