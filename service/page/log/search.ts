/** The lines that have a text in them, found a slice at a time so that the page stays awake. */
export class LogSearch {
    /** Line numbers from 0, ascending. */
    public readonly matches: number[] = [];
    private next = 0;
    private readonly needle: string;
    private readonly isExact: boolean;

    /** @param query any case is meant, unless it has a capital letter */
    public constructor(public readonly query: string) {
        this.isExact = query !== query.toLowerCase();
        this.needle = query;
    }

    /** @returns whether all lines have been looked at */
    public advance(length: number, textOf: (line: number) => string, slice: number): boolean {
        const end = Math.min(length, this.next + slice);
        for (; this.next < end; this.next += 1) {
            if (this.isIn(textOf(this.next))) {
                this.matches.push(this.next);
            }
        }
        return this.next >= length;
    }

    /** The last line may have grown since it was looked at. */
    public again(line: number): void {
        if (this.next > line) {
            this.next = line;
            while ((this.matches.at(-1) ?? -1) >= line) {
                this.matches.pop();
            }
        }
    }

    /** Where in a line the text is: offset and end, in turn. */
    public placesIn(text: string): readonly number[] {
        const places: number[] = [];
        const hay = this.isExact ? text : folded(text);
        for (let at = hay.indexOf(this.needle); at >= 0; at = hay.indexOf(this.needle, at + this.needle.length)) {
            places.push(at, at + this.needle.length);
        }
        return places;
    }

    /** The place in `matches` of the first at or after a line (or the last before it), around the end. */
    public nearest(line: number, backwards: boolean): number {
        const after = this.matches.findIndex((match) => match >= line);
        if (backwards) {
            const before = after < 0 ? this.matches.length - 1 : after - 1;
            return before < 0 ? this.matches.length - 1 : before;
        }
        return after < 0 ? 0 : after;
    }

    private isIn(text: string): boolean {
        return (this.isExact ? text : folded(text)).includes(this.needle);
    }
}

/** In lower case, each character where it was: a few grow when they change (`İ`). */
function folded(text: string): string {
    const lower = text.toLowerCase();
    return lower.length === text.length ? lower : text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
