import type { EngineEvent, StepOp } from "../engine/steps";
import { stackType } from "../engine/state";

/** When a step of the engine began and ended, in milliseconds since 1970, and what it was. */
export interface StepTimes {
    readonly op: StepOp;
    readonly start: number;
    readonly end: number;
}

/** The clock that everything of the launcher is measured by: it never goes back. Milliseconds since 1970. */
export function launcherClock(): number {
    return performance.timeOrigin + performance.now();
}

/** When the engine did what in one operation. */
export class OperationTimes {
    /** When this process began. */
    public readonly start = performance.timeOrigin;
    /** When the program declared its first resource, and when the engine had done its last step. */
    public firstStep: number | undefined;
    public lastStep: number | undefined;
    private readonly begun = new Map<string, number>();
    private readonly steps = new Map<string, StepTimes>();

    public handle(event: EngineEvent): void {
        // The stack itself is there before its program has been read.
        if (event.kind !== "step" || event.step.type === stackType) {
            return;
        }
        const now = launcherClock();
        const { urn, op } = event.step;
        this.firstStep ??= now;
        if (event.phase === "start") {
            this.begun.set(urn, now);
            return;
        }
        this.lastStep = now;
        this.steps.set(urn.split("::").at(-1) ?? urn, { op, start: this.begun.get(urn) ?? now, end: now });
    }

    /** The step that ended last of those on resources with such names. */
    public lastOf(isMeant: (name: string) => boolean): StepTimes | undefined {
        const meant = [...this.steps].filter(([name]) => isMeant(name)).map(([, times]) => times);
        return meant.sort((a, b) => b.end - a.end)[0];
    }
}
