import type { Line } from "../log/line";
import type { StyleTable } from "../log/pen";

/** What of a line is marked: offset and end, in turn, and whether it is the match that was gone to. */
export interface Marks {
    readonly places: readonly number[];
    readonly isHere: boolean;
}

/** A line as an element: text nodes and spans. Nothing of the log is ever read as markup. */
export function rowOf(number: number, line: Line, styles: StyleTable, marks: Marks): HTMLElement {
    const row = document.createElement("div");
    row.className = "line";
    const link = document.createElement("a");
    link.href = `#L${number}`;
    link.tabIndex = -1;
    link.textContent = String(number);
    const text = document.createElement("span");
    text.className = "text";
    for (const piece of piecesOf(line, marks.places)) {
        text.append(pieceOf(piece, styles, marks.isHere));
    }
    row.append(link, text);
    return row;
}

interface Piece {
    readonly text: string;
    readonly style: number;
    readonly isMarked: boolean;
}

/** Cuts a line where its look changes, and where a mark begins or ends. */
function piecesOf({ text, looks = [] }: Line, places: readonly number[]): readonly Piece[] {
    const pieces: Piece[] = [];
    let [at, style, look, place] = [0, 0, 0, 0];
    while (at < text.length) {
        while (look < looks.length && (looks[look] ?? 0) <= at) {
            style = looks[look + 1] ?? 0;
            look += 2;
        }
        while (place < places.length && (places[place] ?? 0) <= at) {
            place += 1;
        }
        const end = Math.min(text.length, looks[look] ?? Infinity, places[place] ?? Infinity);
        pieces.push({ text: text.slice(at, end), style, isMarked: place % 2 === 1 });
        at = end;
    }
    return pieces;
}

function pieceOf({ text, style, isMarked }: Piece, styles: StyleTable, isHere: boolean): Node {
    if (isMarked) {
        const mark = document.createElement("mark");
        mark.className = isHere ? "here" : "";
        mark.textContent = text;
        return mark;
    }
    if (style === 0) {
        return document.createTextNode(text);
    }
    const { colour, background, bold, italic, underline, strike } = styles.get(style);
    const span = document.createElement("span");
    span.className = [bold && "b", italic && "i", underline && "u", strike && "s"].filter(Boolean).join(" ");
    span.textContent = text;
    // Set on the element, and not as an attribute: the page's policy has no inline styles.
    span.style.color = colour ?? "";
    span.style.backgroundColor = background ?? "";
    return span;
}
