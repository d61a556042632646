import type { Companion } from "../contract/manifest";
import type { BuildKey } from "../contract/layout";
import { LineSplitter, LogFollower } from "./logFollower";
import type { BuildStore } from "./store";

/**
 * The logs of the attempt that a pod makes, followed as they grow in the store: those of the init containers, then the
 * build's with those of the sidecars. Lines that are not the build's begin with their container's name.
 */
export class AttemptLog {
    /** Known once the pod's exporter has begun. */
    public attempt: number | undefined;
    /** The newest log's blob path. */
    public path: string | undefined;
    private build: Stream | undefined;
    private inits: readonly Stream[] = [];
    private sidecars: readonly Stream[] = [];
    private hasBegun = false;

    public constructor(
        private readonly store: BuildStore,
        private readonly key: BuildKey,
        private readonly onLine: (line: string) => void,
    ) {}

    /**
     * Shows what is new.
     *
     * @returns false as long as the pod's exporter has not begun an attempt.
     */
    public async follow(podUid: string | undefined): Promise<boolean> {
        if (this.attempt === undefined) {
            const attempts = await this.store.begun(this.key);
            const mine = attempts.find(({ started }) => started.pod.uid === podUid);
            if (!mine) {
                return false;
            }
            this.attempt = mine.attempt;
            this.path = `${this.key}/${mine.started.log}`;
            this.open(this.path, mine.started.companions ?? []);
        }
        await this.drain();
        return true;
    }

    /** The next pod makes another attempt. */
    public next(): void {
        this.end();
        this.attempt = undefined;
        this.build = undefined;
        this.inits = [];
        this.sidecars = [];
        this.hasBegun = false;
    }

    /** Shows each last line that has no end. */
    public end(): void {
        [...this.inits, ...(this.build ? [this.build] : []), ...this.sidecars].forEach((stream) => stream.end());
    }

    private open(path: string, companions: readonly Companion[]): void {
        const streams = (role: Companion["role"]) =>
            companions
                .filter((each) => each.role === role)
                .map(
                    ({ name, log }) =>
                        new Stream(this.store, `${this.key}/${log}`, (line) => this.onLine(`[${name}] ${line}`)),
                );
        this.build = new Stream(this.store, path, this.onLine);
        this.inits = streams("init");
        this.sidecars = streams("sidecar");
        this.hasBegun = this.inits.length === 0;
    }

    private async drain(): Promise<void> {
        // Asked for first: what the init containers printed is all there when the build's log is.
        const begins = this.hasBegun || (await this.build?.exists()) === true;
        if (!this.hasBegun) {
            for (const stream of this.inits) {
                await stream.drain();
            }
        }
        this.hasBegun = begins;
        if (begins) {
            await this.build?.drain();
            for (const stream of this.sidecars) {
                await stream.drain();
            }
        }
    }
}

/** One log, in lines. */
class Stream {
    private readonly follower: LogFollower;
    private readonly lines: LineSplitter;

    public constructor(
        private readonly store: BuildStore,
        private readonly path: string,
        onLine: (line: string) => void,
    ) {
        this.follower = new LogFollower(store, path);
        this.lines = new LineSplitter(onLine);
    }

    public async exists(): Promise<boolean> {
        return (await this.store.bytes(this.path, 0, 1)) !== undefined;
    }

    public async drain(): Promise<void> {
        await this.follower.drain((bytes) => this.lines.write(bytes));
    }

    public end(): void {
        this.lines.end();
    }
}
