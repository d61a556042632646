/** How a run of characters looks. Colours are `#rrggbb`, and readable on what is behind them. */
export interface Style {
    readonly colour?: string;
    readonly background?: string;
    readonly bold?: true;
    readonly italic?: true;
    readonly underline?: true;
    readonly strike?: true;
}

/** A colour as its three parts, 0 to 255. */
export type Rgb = readonly [number, number, number];

/** Of the pane that the log is shown in; page.css has the same. */
export const paneBackground: Rgb = [0x14, 0x18, 0x1f];
export const paneText: Rgb = [0xd7, 0xdc, 0xe3];

/** The 16 colours by number: black, red, green, yellow, blue, magenta, cyan, white, and the bright ones. */
const palette: readonly Rgb[] = [
    [0x6b, 0x74, 0x80],
    [0xff, 0x7b, 0x72],
    [0x56, 0xc2, 0x6a],
    [0xd9, 0xa8, 0x3c],
    [0x6c, 0xb0, 0xff],
    [0xd0, 0x95, 0xf5],
    [0x4c, 0xc3, 0xcb],
    [0xc2, 0xc9, 0xd1],
    [0x8b, 0x94, 0x9e],
    [0xff, 0xa1, 0x98],
    [0x7e, 0xe0, 0x8c],
    [0xf0, 0xcb, 0x5e],
    [0x9d, 0xcb, 0xff],
    [0xe2, 0xbc, 0xff],
    [0x7d, 0xe0, 0xe6],
    [0xff, 0xff, 0xff],
];

/** What WCAG 2.2 asks of text (https://www.w3.org/TR/WCAG22/#contrast-minimum). */
const enoughContrast = 4.5;

/** One of the 256 colours of xterm: 16 of the palette, a cube of 6×6×6, 24 greys. */
export function indexedColour(index: number): Rgb {
    if (index < 16) {
        return palette[index] ?? paneText;
    }
    if (index < 232) {
        const level = (part: number) => (part === 0 ? 0 : 55 + part * 40);
        const cube = index - 16;
        return [level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)];
    }
    const grey = 8 + (index - 232) * 10;
    return [grey, grey, grey];
}

/** The colour, or as much lighter or darker a one as can be read on the background. */
export function readable(colour: Rgb, background: Rgb): Rgb {
    if (contrast(colour, background) >= enoughContrast) {
        return colour;
    }
    const white: Rgb = [255, 255, 255];
    const black: Rgb = [0, 0, 0];
    const end = contrast(white, background) >= contrast(black, background) ? white : black;
    for (let share = 0.1; share < 1; share += 0.1) {
        const mixed = mix(colour, end, share);
        if (contrast(mixed, background) >= enoughContrast) {
            return mixed;
        }
    }
    return end;
}

export function mix(from: Rgb, to: Rgb, share: number): Rgb {
    const part = (index: 0 | 1 | 2) => Math.round(from[index] + (to[index] - from[index]) * share);
    return [part(0), part(1), part(2)];
}

export function hex(colour: Rgb): string {
    return `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

/** WCAG's ratio, 1 to 21. */
export function contrast(one: Rgb, other: Rgb): number {
    const [a, b] = [luminance(one), luminance(other)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

function luminance(colour: Rgb): number {
    const linear = (part: number) => {
        const share = part / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2]);
}
