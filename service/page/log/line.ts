import type { Pen } from "./pen";

/** A line as it is shown: its text, and where which look begins (offset, look, offset, look, ...; none is all plain). */
export interface Line {
    readonly text: string;
    readonly looks?: readonly number[];
}

/** The longest line that is kept whole, in characters. What is beyond is in the log itself. */
export const longestLine = 4096;

// What makes a line more than its text: control characters, and characters that turn the direction of writing, by which
// text could be made to look like another (https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters).
const special = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/;
const direction = /[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/;

/** `ESC [ parameters intermediates final`, at most 64 characters of it. */
const control = /(?:\u001b\[|\u009b)([0-?]{0,64})[ -/]{0,8}([@-~])/y;
/** Titles, links, and what else is a string: up to its end, or to the line's. */
const string = /(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c|$)?/y;
const escape = /\u001b[ -/]{0,8}[0-~]?/y;

/**
 * Writes what is between two line feeds as a terminal would: carriage returns and backspaces write over, colours last,
 * and what else could steer a terminal is left out. All text is hostile; none of it is ever markup.
 */
export function lineOf(raw: string, pen: Pen): Line {
    const source = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (!special.test(source)) {
        return pen.style === 0 || source === "" ? { text: cut(source) } : { text: cut(source), looks: [0, pen.style] };
    }
    const screen = new Row();
    let at = 0;
    while (at < source.length) {
        const character = source.codePointAt(at) ?? 0;
        if (character === 0x1b || (character >= 0x80 && character <= 0x9f)) {
            at = sequence(source, at, pen, screen);
            continue;
        }
        if (character === 0x0d) {
            screen.column = 0;
        } else if (character === 0x08) {
            screen.column = Math.max(0, screen.column - 1);
        } else if (character >= 0x20 || character === 0x09) {
            const text = String.fromCodePoint(character);
            if (character !== 0x7f) {
                screen.write(direction.test(text) ? "\ufffd" : text, pen.style);
            }
        }
        at += character > 0xffff ? 2 : 1;
    }
    return screen.line();
}

/** @returns where the text goes on */
function sequence(source: string, at: number, pen: Pen, screen: Row): number {
    control.lastIndex = at;
    const found = control.exec(source);
    if (found) {
        const [all, parameters = "", final] = found;
        if (final === "m" && /^[\d;:]*$/.test(parameters)) {
            pen.select(parameters);
        } else if (final === "K") {
            screen.erase(Number(parameters) || 0);
        } else if (final === "G") {
            screen.column = Math.min(longestLine, Math.max(0, (Number(parameters) || 1) - 1));
        } else if (final === "C" || final === "D") {
            const step = (Number(parameters) || 1) * (final === "C" ? 1 : -1);
            screen.column = Math.min(longestLine, Math.max(0, screen.column + step));
        }
        return at + all.length;
    }
    for (const pattern of [string, escape]) {
        pattern.lastIndex = at;
        const other = pattern.exec(source);
        if (other) {
            return at + other[0].length;
        }
    }
    return at + 1;
}

/** One row of a terminal, as wide as a line may be. */
class Row {
    public column = 0;
    private readonly characters: string[] = [];
    private readonly styles: number[] = [];
    private isCut = false;

    public write(character: string, style: number): void {
        if (this.column >= longestLine) {
            this.isCut = true;
            return;
        }
        while (this.characters.length < this.column) {
            this.characters.push(" ");
            this.styles.push(0);
        }
        this.characters[this.column] = character;
        this.styles[this.column] = style;
        this.column += 1;
    }

    /** `EL`: 0 to the end, 1 to the beginning, 2 all of the line. */
    public erase(what: number): void {
        if (what === 1) {
            const end = Math.min(this.column + 1, this.characters.length);
            this.characters.fill(" ", 0, end);
            this.styles.fill(0, 0, end);
        } else {
            this.characters.length = this.styles.length = Math.min(
                this.characters.length,
                what === 2 ? 0 : this.column,
            );
        }
    }

    public line(): Line {
        const looks: number[] = [];
        let style = 0;
        let offset = 0;
        this.characters.forEach((character, index) => {
            const own = this.styles[index] ?? 0;
            if (own !== style) {
                looks.push(offset, own);
                style = own;
            }
            offset += character.length;
        });
        const text = this.characters.join("") + (this.isCut ? "…" : "");
        return looks.length === 0 ? { text } : { text, looks };
    }
}

function cut(text: string): string {
    return text.length <= longestLine ? text : `${text.slice(0, longestLine)}…`;
}
