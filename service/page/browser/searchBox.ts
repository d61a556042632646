import type { LogLines } from "../log/logLines";
import { LogSearch } from "../log/search";
import { byId, pause, sliceMilliseconds } from "./element";
import type { LogView } from "./logView";

/** Lines looked at before the clock is. */
const slice = 2000;
/** A growing count is not said more often, in milliseconds: screen readers read it out. */
const countInterval = 2000;

/** The field that finds text in all lines of the log, also in those that come later. */
export class SearchBox {
    private readonly field = byId("query", HTMLInputElement);
    private readonly found = byId("found", HTMLElement);
    private search: LogSearch | undefined;
    private at = -1;
    private isBusy = false;
    private isJumpWanted = false;
    private toldAt = 0;
    private timer = 0;

    public constructor(
        private readonly view: LogView,
        private lines: LogLines,
    ) {
        byId("search", HTMLFormElement)?.addEventListener("submit", (event) => {
            event.preventDefault();
            this.step(1);
        });
        byId("previous", HTMLButtonElement)?.addEventListener("click", () => this.step(-1));
        this.field?.addEventListener("keydown", (event) => {
            if (event.key === "Enter" && event.shiftKey) {
                event.preventDefault();
                this.step(-1);
            }
        });
        this.field?.addEventListener("input", () => {
            clearTimeout(this.timer);
            this.timer = window.setTimeout(() => this.begin(), 120);
        });
    }

    public focus(): undefined {
        this.field?.focus();
        this.field?.select();
        return undefined;
    }

    /** Another log takes the place of this one. */
    public reset(lines: LogLines): void {
        this.lines = lines;
        this.begin();
    }

    /** There are more lines. */
    public changed(firstChanged: number): void {
        if (this.search) {
            this.search.again(firstChanged);
            void this.advance();
        }
    }

    public step(by: 1 | -1): undefined {
        if (this.field && this.search?.query !== this.field.value) {
            clearTimeout(this.timer);
            this.begin();
            return undefined;
        }
        const { matches } = this.search ?? { matches: [] };
        if (matches.length > 0) {
            this.at = (this.at + by + matches.length) % matches.length;
            this.view.goTo(matches[this.at] ?? 0);
            this.tell(true);
        }
        return undefined;
    }

    private begin(): void {
        const query = this.field?.value ?? "";
        this.search = query === "" ? undefined : new LogSearch(query);
        this.at = -1;
        this.isJumpWanted = query !== "";
        this.view.mark(this.search);
        this.tell(true);
        void this.advance();
    }

    private async advance(): Promise<void> {
        if (this.isBusy) {
            return;
        }
        this.isBusy = true;
        let began = performance.now();
        // The query may be another one after each pause.
        while (this.search?.advance(this.lines.length, (line) => this.lines.text(line), slice) === false) {
            if (performance.now() - began > sliceMilliseconds) {
                await pause();
                began = performance.now();
            }
        }
        this.isBusy = false;
        if (this.search && this.isJumpWanted && this.search.matches.length > 0) {
            this.isJumpWanted = false;
            this.at = this.search.nearest(this.view.current ?? this.view.firstShown, false);
            this.view.goTo(this.search.matches[this.at] ?? 0);
            this.tell(true);
        } else {
            this.tell(false);
        }
    }

    private tell(isAsked: boolean): void {
        if (!this.found || (!isAsked && performance.now() - this.toldAt < countInterval)) {
            return;
        }
        this.toldAt = performance.now();
        const count = this.search?.matches.length ?? 0;
        const total = count.toLocaleString("en");
        this.found.textContent =
            this.search === undefined
                ? ""
                : count === 0
                  ? this.isBusy
                      ? "searching"
                      : "no match"
                  : this.at < 0
                    ? total
                    : `${(this.at + 1).toLocaleString("en")} of ${total}`;
    }
}
