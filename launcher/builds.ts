import type { Outcome } from "../contract/outcome";
import type { BuildStore } from "./store";

/** One line of `ke1 builds`. */
export interface BuildSummary {
    readonly buildTag: string;
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
    const summaries = await Promise.all((await store.tags()).map((tag) => summarize(store, tag)));
    return summaries.sort((a, b) => (b.startedAt ?? "").localeCompare(a.startedAt ?? ""));
}

async function summarize(store: BuildStore, buildTag: string): Promise<BuildSummary> {
    const [manifest, attempts] = await Promise.all([store.manifest(buildTag), store.attempts(buildTag)]);
    const last = attempts.at(-1);
    return {
        buildTag,
        outcome: manifest ? "Succeeded" : (last?.podinfo?.outcome ?? last?.finished?.outcome ?? "Running"),
        attempts: attempts.length,
        startedAt: manifest?.startedAt ?? last?.started?.startedAt,
        buildSeconds: manifest?.durations.buildSeconds ?? last?.finished?.durations.buildSeconds,
        artifacts: manifest?.artifacts.length ?? 0,
        commit: manifest?.source.commit ?? last?.started?.source.commit,
    };
}
