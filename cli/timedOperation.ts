import type { EngineEvent } from "../engine/steps";
import { launcherClock, OperationTimes } from "./operationTimes";
import { TimelineFiles } from "./timelineFiles";
import type { OperationTimings } from "./timings";
import { timingsOf } from "./timings";

/** Measures one operation of the engine, and collects what the commands that await builds have measured. */
export class TimedOperation {
    private readonly times = new OperationTimes();
    private readonly files = new TimelineFiles();

    /** For the environment of the program and its providers. */
    public get variables(): NodeJS.ProcessEnv {
        return this.files.variables;
    }

    public handle(event: EngineEvent): void {
        this.times.handle(event);
    }

    /** To be called when all is done. */
    public finish(): OperationTimings {
        return timingsOf(this.times, this.files.read(), launcherClock());
    }

    public close(): void {
        this.files.remove();
    }
}
