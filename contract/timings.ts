/** The phases of a build, in their order: each ends where the next one begins (docs/timings.md). */
export const buildPhases = [
    /** The Job had no pod yet: a queue, a quota, a dependency or an earlier step came first. */
    "queued",
    /** Earlier attempts, from the Job's creation to the pod of the last one. */
    "retried",
    /** The pod was given a node. */
    "scheduled",
    /** The init containers ended; only where a build has any. */
    "initialized",
    /** The last image was there. */
    "pulled",
    /** The exporter has reserved the tag, and the build's command runs. */
    "started",
    /** The command has ended. */
    "built",
    /** Log and artifacts are stored. */
    "exported",
    /** The launcher knows how the build ended. */
    "seen",
] as const;

export type BuildPhase = (typeof buildPhases)[number];

/** The end of a phase. */
export interface PhaseMark {
    readonly phase: BuildPhase;
    /** Milliseconds since 1970, by the clock of whoever `from` names. */
    readonly at: number;
    /** False where it is known to a second only, or clocks that differ have made it what it is. */
    readonly exact: boolean;
    /** Who has written it down. */
    readonly from: string;
    readonly note?: string;
}

/** When a build went through which phase, from its last attempt; what is not known is not there. */
export interface BuildTimeline {
    readonly buildTag: string;
    readonly step?: string;
    readonly outcome: string;
    /** Absent where no exporter has begun one. */
    readonly attempt?: number;
    /** When its Job was made, by the API server's clock, in whole seconds; absent for what was built already. */
    readonly created?: number;
    /** In the order of the phases. Clocks differ: a mark may be before the one that it follows; its phase took no time then. */
    readonly marks: readonly PhaseMark[];
}

/** The stack's output `durations`, in seconds. */
export interface BuildDurations {
    /** Of the build's command, and of storing what it left: as the manifest has them. */
    readonly buildSeconds: number;
    readonly exportSeconds: number;
    /** Of each phase that the build went through; absent for what was built already. */
    readonly phases?: Readonly<Partial<Record<BuildPhase, number>>>;
    /** Of those, the ones that are known to a second only. */
    readonly inexact?: readonly BuildPhase[];
}

/** The environment variable that names the directory in which the launcher leaves timelines for `ke1 up --timings`. */
export const timingsVariable = "KE1_TIMINGS_DIRECTORY";

/** Seconds, to the millisecond. */
export function secondsBetween(from: number, to: number): number {
    return Math.max(0, Math.round(to - from) / 1000);
}

/** What a timeline adds to `durations`. */
export function phaseDurations({ created, marks }: BuildTimeline): Pick<BuildDurations, "phases" | "inexact"> {
    if (created === undefined || marks.length === 0) {
        return {};
    }
    let before = created;
    const lengths = marks.map(({ phase, at }) => {
        const seconds = secondsBetween(before, at);
        before = Math.max(before, at);
        return [phase, seconds] as const;
    });
    const inexact = marks
        .filter(({ exact }, index) => !exact || marks[index - 1]?.exact !== true)
        .map(({ phase }) => phase);
    return {
        phases: Object.fromEntries(lengths),
        ...(inexact.length > 0 ? { inexact } : {}),
    };
}
