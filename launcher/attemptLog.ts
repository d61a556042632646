import type { BuildKey } from "../contract/layout";
import { LineSplitter, LogFollower } from "./logFollower";
import type { BuildStore } from "./store";

/** The log of the attempt that a pod makes, followed as it grows in the store. */
export class AttemptLog {
    /** Known once the pod's exporter has begun. */
    public attempt: number | undefined;
    /** The newest log's blob path. */
    public path: string | undefined;
    private follower: LogFollower | undefined;
    private readonly lines: LineSplitter;

    public constructor(
        private readonly store: BuildStore,
        private readonly key: BuildKey,
        onLine: (line: string) => void,
    ) {
        this.lines = new LineSplitter(onLine);
    }

    /**
     * Shows what is new.
     *
     * @returns false as long as the pod's exporter has not begun an attempt.
     */
    public async follow(podUid: string | undefined): Promise<boolean> {
        if (this.attempt === undefined) {
            const attempts = await this.store.attempts(this.key);
            const mine = attempts.find(({ started }) => started?.pod.uid === podUid);
            if (!mine?.started) {
                return false;
            }
            this.attempt = mine.attempt;
            this.path = `${this.key}/${mine.started.log}`;
            this.follower = new LogFollower(this.store, this.path);
        }
        await this.follower?.drain((bytes) => this.lines.write(bytes));
        return true;
    }

    /** The next pod makes another attempt. */
    public next(): void {
        this.end();
        this.attempt = undefined;
        this.follower = undefined;
    }

    /** Shows the last line, if it has no end. */
    public end(): void {
        this.lines.end();
    }
}
