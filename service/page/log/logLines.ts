import type { Line } from "./line";
import { lineOf, longestLine } from "./line";
import { Pen, StyleTable } from "./pen";

/** Lines that a page keeps; a browser cannot scroll an element much higher than a million of them. */
export const mostLines = 1_000_000;

/** A line feed may be long in coming: what is before it is folded when it is longer than this. */
const longestTail = 16 * longestLine;

/** The lines of a log, made from its bytes as they come. */
export class LogLines {
    public readonly styles = new StyleTable();
    /** Characters of the longest line. */
    public widest = 0;
    private readonly texts: string[] = [];
    private readonly looks = new Map<number, readonly number[]>();
    private readonly pen = new Pen(this.styles);
    private tail = "";
    private shownTail: Line | undefined;

    public constructor(private readonly limit = mostLines) {}

    /** With the last one, which may have no line feed yet. */
    public get length(): number {
        return this.texts.length + (this.tail === "" ? 0 : 1);
    }

    /** Whether there was more than is kept. */
    public get isFull(): boolean {
        return this.texts.length >= this.limit;
    }

    /** @param text the next of the log, of any length */
    public append(text: string): void {
        let begin = 0;
        while (!this.isFull) {
            const end = text.indexOf("\n", begin);
            if (end < 0) {
                this.tail = shortened(this.tail + text.slice(begin));
                this.shownTail = undefined;
                return;
            }
            this.add(lineOf(this.tail + text.slice(begin, end), this.pen));
            this.tail = "";
            this.shownTail = undefined;
            begin = end + 1;
        }
        this.tail = "";
    }

    public text(index: number): string {
        return this.texts[index] ?? (index === this.texts.length ? this.unfinished().text : "");
    }

    public line(index: number): Line {
        if (index >= this.texts.length) {
            return index === this.texts.length ? this.unfinished() : { text: "" };
        }
        const looks = this.looks.get(index);
        return looks === undefined ? { text: this.text(index) } : { text: this.text(index), looks };
    }

    private add({ text, looks }: Line): void {
        if (looks) {
            this.looks.set(this.texts.length, looks);
        }
        this.texts.push(text);
        this.widest = Math.max(this.widest, text.length);
    }

    /** The last line, drawn with a copy of the pen: it is drawn anew when more of it comes. */
    private unfinished(): Line {
        if (this.tail === "") {
            return { text: "" };
        }
        this.shownTail ??= lineOf(this.tail, this.pen.copy());
        this.widest = Math.max(this.widest, this.shownTail.text.length);
        return this.shownTail;
    }
}

/** Progress bars write over one line again and again: what was before the last carriage returns is not looked at. */
function shortened(tail: string): string {
    if (tail.length <= longestTail) {
        return tail;
    }
    const from = tail.indexOf("\r", tail.length - longestTail / 2);
    return from < 0 ? tail.slice(0, longestTail) : tail.slice(from + 1);
}
