import type { Rgb, Style } from "./styles";
import { hex, indexedColour, mix, paneBackground, paneText, readable } from "./styles";

/** How many looks are told apart; hostile output could ask for millions. What is beyond looks plain. */
const mostStyles = 4096;

/** All looks of one log, by number; 0 is plain. */
export class StyleTable {
    private readonly styles: Style[] = [{}];
    private readonly numbers = new Map<string, number>([["", 0]]);

    public get(number: number): Style {
        return this.styles[number] ?? {};
    }

    /** @param key the same for what looks the same */
    public numberOf(key: string, make: () => Style): number {
        const known = this.numbers.get(key);
        if (known !== undefined) {
            return known;
        }
        if (this.styles.length >= mostStyles) {
            return 0;
        }
        this.numbers.set(key, this.styles.length);
        this.styles.push(make());
        return this.styles.length - 1;
    }
}

type Colour = { readonly index: number } | { readonly rgb: Rgb };

/** What a terminal writes with: changed by SGR sequences (ECMA-48, 8.3.117), and kept from line to line. */
export class Pen {
    /** The look's number in the table. */
    public style = 0;
    private bold = false;
    private dim = false;
    private italic = false;
    private underline = false;
    private strike = false;
    private inverse = false;
    private colour: Colour | undefined;
    private background: Colour | undefined;

    public constructor(private readonly table: StyleTable) {}

    public copy(): Pen {
        return Object.assign(new Pen(this.table), this);
    }

    /** @param parameters what is between `ESC [` and `m` */
    public select(parameters: string): void {
        // `38:2::r:g:b` is the standard's way; `38;2;r;g;b` is what nearly all programs write.
        const parts = parameters
            .replace(/([34]8):2:[^:;]*:(\d+:\d+:\d+)/g, "$1:2:$2")
            .split(/[;:]/)
            .map((part) => (part === "" ? 0 : Number(part)));
        for (let at = 0; at < parts.length; at += 1) {
            const part = parts[at] ?? 0;
            if (part === 38 || part === 48) {
                const [colour, length] = extended(parts, at + 1);
                at += length;
                if (part === 38) {
                    this.colour = colour ?? this.colour;
                } else {
                    this.background = colour ?? this.background;
                }
            } else {
                this.selectOne(part);
            }
        }
        this.style = this.table.numberOf(this.key(), () => this.look());
    }

    private selectOne(part: number): void {
        if (part === 0) {
            this.bold = this.dim = this.italic = this.underline = this.strike = this.inverse = false;
            this.colour = this.background = undefined;
        } else if (part === 1) {
            this.bold = true;
        } else if (part === 2) {
            this.dim = true;
        } else if (part === 22) {
            this.bold = this.dim = false;
        } else if (part === 3 || part === 23) {
            this.italic = part === 3;
        } else if (part === 4 || part === 21 || part === 24) {
            this.underline = part !== 24;
        } else if (part === 7 || part === 27) {
            this.inverse = part === 7;
        } else if (part === 9 || part === 29) {
            this.strike = part === 9;
        } else if (part >= 30 && part <= 37) {
            this.colour = { index: part - 30 };
        } else if (part >= 90 && part <= 97) {
            this.colour = { index: part - 90 + 8 };
        } else if (part === 39) {
            this.colour = undefined;
        } else if (part >= 40 && part <= 47) {
            this.background = { index: part - 40 };
        } else if (part >= 100 && part <= 107) {
            this.background = { index: part - 100 + 8 };
        } else if (part === 49) {
            this.background = undefined;
        }
    }

    private key(): string {
        const flags = [this.bold, this.dim, this.italic, this.underline, this.strike, this.inverse];
        const text = flags.map((flag) => (flag ? "1" : "0")).join("");
        const name = (colour: Colour | undefined) =>
            colour === undefined ? "" : "index" in colour ? String(colour.index) : hex(colour.rgb);
        const key = `${text} ${name(this.colour)} ${name(this.background)}`;
        return key === "000000  " ? "" : key;
    }

    private look(): Style {
        let front = this.colour === undefined ? paneText : rgbOf(this.colour);
        let back = this.background === undefined ? paneBackground : rgbOf(this.background);
        if (this.inverse) {
            [front, back] = [back, front];
        }
        const hasBack = this.background !== undefined || this.inverse;
        const hasFront = this.colour !== undefined || hasBack || this.dim;
        const shade = readable(this.dim ? mix(front, back, 0.35) : front, back);
        return {
            ...(hasFront && { colour: hex(shade) }),
            ...(hasBack && { background: hex(back) }),
            ...(this.bold && { bold: true }),
            ...(this.italic && { italic: true }),
            ...(this.underline && { underline: true }),
            ...(this.strike && { strike: true }),
        };
    }
}

function rgbOf(colour: Colour): Rgb {
    return "index" in colour ? indexedColour(colour.index) : colour.rgb;
}

/** The colour of `38` or `48`, and how many parameters say it. */
function extended(parts: readonly number[], at: number): readonly [Colour | undefined, number] {
    const byte = (offset: number) => Math.min(255, Math.max(0, parts[at + offset] ?? 0));
    if (parts[at] === 5) {
        return [{ index: byte(1) }, 2];
    }
    return parts[at] === 2 ? [{ rgb: [byte(1), byte(2), byte(3)] }, 4] : [undefined, parts.length];
}
