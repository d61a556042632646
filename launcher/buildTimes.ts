import type { V1Job, V1Pod } from "@kubernetes/client-node";

import type { BuildKey } from "../contract/layout";
import type { BuildTimeline } from "../contract/timings";
import type { Ending } from "./awaitedBuild";
import type { Cluster } from "./cluster";
import type { TimedEvent } from "./eventTimes";
import { EventTimes } from "./eventTimes";
import { createdAt } from "./podStatus";
import type { BuildStore } from "./store";
import { hasWaited, timelineOf } from "./timeline";

/** The end of a build is not held up for longer than this by who cannot say when it began, in milliseconds. */
const patience = 500;

/** What the launcher has of a build when it has ended. */
export interface EndedBuild {
    readonly buildTag: string;
    readonly step?: string;
    readonly attempt?: number;
    readonly job?: V1Job;
    readonly pod?: V1Pod;
}

/** Collects when a build went through which phase. What befell its pod is read while the build runs, not at its end. */
export class BuildTimes {
    private early: { readonly uid: string | undefined; readonly events: Promise<readonly TimedEvent[]> } | undefined;

    public constructor(
        private readonly cluster: Cluster,
        private readonly store: BuildStore,
        private readonly key: BuildKey,
        private readonly namespace: string,
    ) {}

    /** The pod's build has begun: its containers are made. */
    public running(pod: V1Pod, job: V1Job | undefined): void {
        const { uid } = pod.metadata ?? {};
        if (this.early?.uid !== uid) {
            this.early = { uid, events: this.eventsOf(pod, job) };
        }
    }

    /** @param wasMade whether the manifest is this build's own, and not that of one before it */
    public async timeline(build: EndedBuild, wasMade: boolean, ending: Ending): Promise<BuildTimeline> {
        const seenAt = Date.now();
        const { buildTag, step, attempt, job, pod } = build;
        const failure = "failure" in ending ? ending.failure : undefined;
        if (!job || (!wasMade && !failure)) {
            const outcome = failure?.outcome ?? "AlreadyBuilt";
            const mark = { phase: "seen", at: seenAt, exact: true, from: "the launcher" } as const;
            return { buildTag, step, outcome, marks: [mark] };
        }
        const [events, finished] = await Promise.all([
            withinPatience(this.events(pod, job), []),
            "manifest" in ending ? ending.manifest : withinPatience(this.finished(attempt), undefined),
        ]);
        const outcome = failure?.outcome ?? "Succeeded";
        const number = "manifest" in ending ? ending.manifest.attempt : attempt;
        return timelineOf({
            ...{ buildTag, step, outcome, attempt: number, job, pod },
            ...{ events, finished, seenAt },
        });
    }

    private async events(pod: V1Pod | undefined, job: V1Job): Promise<readonly TimedEvent[]> {
        if (!pod) {
            return [];
        }
        const early = this.early && this.early.uid === pod.metadata?.uid ? await this.early.events : [];
        // The build may have begun while the image of a container beside it was not there yet.
        const pulls = early.filter(
            ({ reason, fieldPath }) => reason === "Pulled" && fieldPath.includes(".containers{"),
        );
        return pulls.length < (pod.spec?.containers.length ?? 1) ? this.eventsOf(pod, job) : early;
    }

    /** Never rejects. */
    private async eventsOf(pod: V1Pod, job: V1Job | undefined): Promise<readonly TimedEvent[]> {
        // The Job's say when it made the pod, which is of interest where it did not do so at once.
        const names = [pod.metadata?.name, job && hasWaited(job, createdAt(pod)) ? job.metadata?.name : undefined];
        return EventTimes.in(this.cluster, this.namespace).of(names.filter((name) => name !== undefined));
    }

    private async finished(attempt: number | undefined) {
        return attempt === undefined ? undefined : this.store.finished(this.key, attempt).catch(() => undefined);
    }
}

async function withinPatience<T>(found: Promise<T>, otherwise: T): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<T>((resolve) => (timer = setTimeout(() => resolve(otherwise), patience)));
    return Promise.race([found, enough]).finally(() => clearTimeout(timer));
}
