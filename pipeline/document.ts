import type { Document } from "yaml";
import { isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";

/** Where in a document something is: keys and indexes from its top. */
export type Place = readonly (string | number)[];

/** A YAML file that knows where each of its values stands. */
export class PositionedDocument {
    /** What is wrong with it as YAML, in the file's order. */
    public readonly problems: readonly Problem[];
    private readonly document: Document;
    private readonly lines = new LineCounter();

    public constructor(
        private readonly file: string,
        content: string,
    ) {
        this.document = parseDocument(content, { lineCounter: this.lines, prettyErrors: false });
        this.problems = this.document.errors.map((error) => ({
            offset: error.pos[0],
            text: `${this.positionOf(error.pos[0])}: ${error.message.split("\n", 1)[0] ?? ""}`,
        }));
    }

    /** The values, as JSON has them; undefined for an empty file. */
    public values(): unknown {
        return this.document.toJS() as unknown;
    }

    /** A problem with the value at a place or, with `key`, with that key of the mapping there. */
    public problem(place: Place, text: string, key?: string): Problem {
        const offset = this.offsetOf(place, key);
        return { offset, text: `${this.positionOf(offset)}: ${text}` };
    }

    private offsetOf(place: Place, key: string | undefined): number {
        // What is missing is said of what it is missing from.
        for (let length = place.length; length >= 0; length--) {
            const node = this.document.getIn(place.slice(0, length), true);
            if (key !== undefined && length === place.length && isMap(node)) {
                const found = node.items.find((item) => isScalar(item.key) && String(item.key.value) === key);
                if (isScalar(found?.key) && found.key.range) {
                    return found.key.range[0];
                }
            }
            if (isNode(node) && node.range) {
                return node.range[0];
            }
        }
        return 0;
    }

    private positionOf(offset: number): string {
        const { line, col } = this.lines.linePos(offset);
        return `${this.file}:${Math.max(line, 1)}:${Math.max(col, 1)}`;
    }
}

/** One line on what is wrong, and where: for the file's order. */
export interface Problem {
    readonly offset: number;
    readonly text: string;
}
