import type { BuildTimeline } from "../contract/timings";
import { secondsBetween } from "../contract/timings";
import type { OperationTimes } from "./operationTimes";

/** A phase of an operation or of a build, as it is shown. */
export interface PhaseTiming {
    readonly phase: string;
    readonly seconds: number;
    /** Seconds from the operation's start to the phase's end; absent for what an earlier run did, or another clock says. */
    readonly sum?: number;
    readonly exact: boolean;
    /** Whose clock it is. */
    readonly from: string;
    readonly note?: string;
}

export interface BuildTimings {
    readonly buildTag: string;
    readonly step?: string;
    readonly outcome: string;
    readonly attempt?: number;
    readonly phases: readonly PhaseTiming[];
}

/** What `ke1 up --timings` shows. */
export interface OperationTimings {
    /** From the start of the process. */
    readonly seconds: number;
    readonly phases: readonly PhaseTiming[];
    /** Those that were awaited. */
    readonly builds: readonly BuildTimings[];
}

/** The engine's names for what the components declare (components/buildImage.ts, components/buildJob.ts). */
const isImage = (tag: string) => (name: string) =>
    name.endsWith("-image") && (name.startsWith("_") || name === `${tag}-image`);
const isJob =
    ({ buildTag, step }: BuildTimeline) =>
    (name: string) =>
        name === (step === undefined ? `${buildTag}-job` : `${buildTag}-${step}-job`);

/** What the API server's whole seconds may differ from the engine's clock, besides their being cut off, in milliseconds. */
const tolerance = 250;

/** What is known of an operation. */
export type MeasuredOperation = Pick<OperationTimes, "start" | "firstStep" | "lastStep" | "lastOf">;

/** @param end when the operation was over */
export function timingsOf(
    times: MeasuredOperation,
    timelines: readonly BuildTimeline[],
    end: number,
): OperationTimings {
    const { start, firstStep, lastStep } = times;
    const rows = new Rows(start);
    if (firstStep !== undefined && lastStep !== undefined) {
        rows.launcher("program start", firstStep);
        rows.launcher("engine", lastStep);
    }
    rows.launcher("done", end);
    return {
        seconds: secondsBetween(start, end),
        phases: rows.all,
        builds: [...timelines]
            .sort((a, b) => (a.marks.at(-1)?.at ?? 0) - (b.marks.at(-1)?.at ?? 0))
            .map((timeline) => buildTimings(times, timeline, end)),
    };
}

function buildTimings(times: MeasuredOperation, timeline: BuildTimeline, end: number): BuildTimings {
    const { buildTag, step, outcome, attempt, created } = timeline;
    const image = times.lastOf(isImage(buildTag));
    const job = times.lastOf(isJob(timeline));
    const rows = new Rows(times.start);
    if (times.firstStep !== undefined) {
        rows.launcher("program start", times.firstStep);
    }
    if (image) {
        rows.launcher("image", image.end, image.op === "same" ? "nothing to build" : undefined);
    }
    if (job) {
        rows.launcher("create", job.end, job.op === "same" ? "the Job was there already" : undefined);
    }
    if (created !== undefined) {
        const isNew = job !== undefined && job.op !== "same";
        const agree = isNew && created >= job.start - 1000 - tolerance && created <= job.end + tolerance;
        rows.build(timeline, { created: agree ? job.end : created, exact: agree, differ: isNew && !agree });
    } else {
        timeline.marks.forEach(({ phase, at }) => rows.launcher(phase, at, "it was built already"));
    }
    rows.launcher("done", end);
    return { buildTag, step, outcome, attempt, phases: rows.all };
}

/** Phases one after the other, on the launcher's clock where that can be. */
class Rows {
    public readonly all: PhaseTiming[] = [];
    /** Where the launcher is. */
    private last: number;

    public constructor(private readonly start: number) {
        this.last = start;
    }

    public launcher(phase: string, at: number, note?: string): void {
        const sum = secondsBetween(this.start, at);
        this.all.push({ phase, seconds: secondsBetween(this.last, at), sum, exact: true, from: "ke1", note });
        this.last = Math.max(this.last, at);
    }

    /** @param began when the first phase of the build began; `differ`: the clocks of the cluster and of this machine do */
    public build(
        { marks }: BuildTimeline,
        began: { readonly created: number; readonly exact: boolean; readonly differ: boolean },
    ): void {
        let before = { at: began.created, exact: began.exact };
        for (const { phase, at, exact, from, note } of marks) {
            const isHere = phase === "seen";
            // The engine may be told of the Job's creation when the scheduler has seen it already.
            const ended = Math.max(before.at, at);
            const sum =
                (began.differ && !isHere) || at < this.start
                    ? undefined
                    : secondsBetween(this.start, isHere ? at : ended);
            const isExact = exact && before.exact && !(began.differ && isHere);
            this.all.push({ phase, seconds: secondsBetween(before.at, at), sum, exact: isExact, from, note });
            before = { at: ended, exact };
            if (isHere) {
                this.last = Math.max(this.last, at);
            }
        }
    }
}
