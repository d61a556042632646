import type { LogLines } from "../log/logLines";
import type { LogSearch } from "../log/search";
import { rowOf } from "./logRow";

/** Rows that are there above and below what is seen, so that a quick scroll shows no gap. */
const margin = 16;

/**
 * The pane of a log. Only the rows that are seen are elements, whatever the log's length: they are placed inside a space
 * as high as all rows would be. What changes is drawn once a frame.
 */
export class LogView {
    /** Told when it is turned on or off, also by scrolling. */
    public onFollow: (isOn: boolean) => void = () => undefined;
    /** The line that was gone to, from 0. */
    public current: number | undefined;
    private readonly space = document.createElement("div");
    private readonly rows = new Map<number, HTMLElement>();
    private search: LogSearch | undefined;
    private isFollowing = false;
    private isScheduled = false;
    private rowHeight = 20;
    private height = 0;
    private expectedTop = 0;
    private drawnLength = 0;

    public constructor(
        private readonly pane: HTMLElement,
        private lines: LogLines,
    ) {
        this.space.className = "space";
        pane.replaceChildren(this.space);
        pane.addEventListener("scroll", () => this.scrolled(), { passive: true });
        new ResizeObserver(() => this.measure()).observe(pane);
        this.measure();
    }

    /** Another log takes the place of this one. */
    public begin(lines: LogLines): void {
        this.lines = lines;
        this.drawnLength = 0;
        this.clear();
    }

    /** There are more lines, or the last one has grown. */
    public changed(): void {
        this.schedule();
    }

    public mark(search: LogSearch | undefined): void {
        this.search = search;
        this.clear();
    }

    public follow(isOn: boolean): void {
        if (isOn !== this.isFollowing) {
            this.isFollowing = isOn;
            this.onFollow(isOn);
        }
        this.schedule();
    }

    public get follows(): boolean {
        return this.isFollowing;
    }

    /** The first line that is wholly seen. */
    public get firstShown(): number {
        return Math.ceil(this.pane.scrollTop / this.rowHeight);
    }

    /** Goes to a line, and marks it; it is brought into view, with some lines around it. */
    public goTo(line: number): void {
        this.follow(false);
        const before = this.current;
        this.current = Math.max(0, Math.min(this.lines.length - 1, line));
        for (const changed of [before, this.current]) {
            this.forget(changed);
        }
        this.setHeight();
        const top = this.current * this.rowHeight;
        const isSeen = top >= this.pane.scrollTop && top + this.rowHeight <= this.pane.scrollTop + this.height;
        if (!isSeen) {
            this.pane.scrollTop = Math.max(0, top - this.height / 3);
        }
        this.schedule();
    }

    public toBegin(): void {
        this.follow(false);
        this.pane.scrollTop = 0;
    }

    public toEnd(): void {
        this.setHeight();
        this.pane.scrollTop = this.lines.length * this.rowHeight;
    }

    private measure(): void {
        this.height = this.pane.clientHeight;
        const rowHeight = parseFloat(getComputedStyle(this.pane).lineHeight);
        if (rowHeight > 0 && rowHeight !== this.rowHeight) {
            this.rowHeight = rowHeight;
            this.clear();
        }
        this.schedule();
    }

    private scrolled(): void {
        // Up, and not by this view itself: somebody wants to read.
        if (this.isFollowing && this.pane.scrollTop < this.expectedTop - 2) {
            this.follow(false);
        }
        this.schedule();
    }

    private clear(): void {
        for (const row of this.rows.values()) {
            row.remove();
        }
        this.rows.clear();
        this.schedule();
    }

    private forget(line: number | undefined): void {
        if (line !== undefined) {
            this.rows.get(line)?.remove();
            this.rows.delete(line);
        }
    }

    private schedule(): void {
        if (!this.isScheduled) {
            this.isScheduled = true;
            requestAnimationFrame(() => {
                this.isScheduled = false;
                this.draw();
            });
        }
    }

    private setHeight(): void {
        this.space.style.height = `${this.lines.length * this.rowHeight}px`;
        this.space.style.width = `calc(${Math.min(this.lines.widest, 4200)}ch + 8rem)`;
    }

    private draw(): void {
        const { length } = this.lines;
        if (length !== this.drawnLength) {
            this.setHeight();
        }
        // It may have grown since.
        this.forget(this.drawnLength - 1);
        if (length !== this.drawnLength) {
            this.forget(length - 1);
        }
        this.drawnLength = length;
        if (this.isFollowing) {
            this.pane.scrollTop = length * this.rowHeight;
            this.expectedTop = this.pane.scrollTop;
        }
        const top = this.pane.scrollTop;
        const first = Math.max(0, Math.floor(top / this.rowHeight) - margin);
        const end = Math.min(length, Math.ceil((top + this.height) / this.rowHeight) + margin);
        for (const line of this.rows.keys()) {
            if (line < first || line >= end) {
                this.forget(line);
            }
        }
        let after: Element | null = this.space.firstElementChild;
        for (let line = first; line < end; line += 1) {
            const known = this.rows.get(line);
            if (known) {
                after = known.nextElementSibling;
            } else {
                this.space.insertBefore(this.row(line), after);
            }
        }
    }

    private row(line: number): HTMLElement {
        const content = this.lines.line(line);
        const isHere = line === this.current;
        const places = this.search?.placesIn(content.text) ?? [];
        const row = rowOf(line + 1, content, this.lines.styles, { places, isHere });
        row.style.transform = `translateY(${line * this.rowHeight}px)`;
        row.classList.toggle("current", isHere);
        this.rows.set(line, row);
        return row;
    }
}
