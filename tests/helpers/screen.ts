import * as assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";

/** What a terminal shows after it was sent a text, as far as this project's output uses one; more is an error. */
export class Screen {
    public readonly lines: string[] = [""];
    /** How often the cursor went up to draw over what was there. */
    public redrawn = 0;
    private row = 0;
    private column = 0;

    public constructor(
        text: string,
        private readonly columns: number,
        private readonly rows: number,
    ) {
        for (const part of text.split(/(\x1b\[[?0-9;]*[A-Za-z]|[\r\n])/)) {
            this.send(part);
        }
    }

    private send(part: string): void {
        const [, amount = "", command = ""] = /^\x1b\[([?0-9;]*)([A-Za-z])$/.exec(part) ?? [];
        if (part === "\n") {
            this.row++;
            this.lines[this.row] ??= "";
        } else if (part === "\r") {
            this.column = 0;
        } else if (command === "A") {
            const lines = Number(amount || 1);
            assert.ok(lines < this.rows, `${lines} lines up are above a screen of ${this.rows}`);
            this.row -= lines;
            this.redrawn++;
        } else if (command === "J") {
            this.lines.splice(this.row + 1);
            this.erase();
        } else if (command === "K") {
            this.erase();
        } else if (command !== "m" && amount !== "?2026") {
            assert.equal(stripVTControlCharacters(part), part, "a sequence that nobody expects");
            Array.from(part).forEach((character) => this.put(character));
        }
    }

    private put(character: string): void {
        if (this.column === this.columns) {
            this.send("\n");
            this.send("\r");
        }
        const line = (this.lines[this.row] ?? "").padEnd(this.column);
        this.lines[this.row] = line.slice(0, this.column) + character + line.slice(this.column + 1);
        this.column++;
    }

    private erase(): void {
        this.lines[this.row] = (this.lines[this.row] ?? "").slice(0, this.column);
    }
}
