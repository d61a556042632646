/** Milliseconds between any two looks at the store, of all builds together. */
const spacing = 25;
/** A build is looked at once in this time, however many there are: that it has ended is seen in the cluster, too. */
const longest = 15_000;
/** Where there is nothing to look for in the store, only the clock moves: watchdogs count in seconds. */
const waiting = 1000;

/**
 * How often each of several builds looks at the store: together no more often than it can bear. A build alone is not slowed
 * down, and those whose pods do not run yet are not counted.
 */
export class Pace {
    private readonly looking = new Set<object>();

    /**
     * @param looks whether the build looks at the store
     * @param alone the interval where there are few
     * @returns milliseconds until its next look
     */
    public interval(build: object, looks: boolean, alone: number): number {
        if (!looks) {
            this.leave(build);
            return Math.max(alone, waiting);
        }
        this.looking.add(build);
        return Math.max(alone, Math.min(longest, this.looking.size * spacing));
    }

    /** It looks no more. */
    public leave(build: object): void {
        this.looking.delete(build);
    }
}
