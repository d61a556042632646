import { styleText } from "node:util";

/** Stable, by a step's place in the pipeline. Red is for what went wrong. */
const colours = ["cyan", "yellow", "magenta", "green", "blue", "cyanBright", "yellowBright", "magentaBright"] as const;

/** Of a log that is not shown whole, so many lines are shown of its end when its step has failed. */
const lastLines = 25;

export interface MultiplexerOptions {
    readonly write: (text: string) => void;
    readonly color: boolean;
    /** All that write lines, in the pipeline's order: `stage/step`. */
    readonly sources: readonly string[];
    /** How many characters of all logs are shown as they come: the engine keeps what is shown in its state. */
    readonly limit: number;
    /** What shows the whole of a source's log. */
    readonly more: (source: string) => string;
}

/**
 * One log of several: whole lines, in the order in which they come, each with its source before it. Every source has the
 * same share of what may be shown, so that none is silent because another is loud.
 */
export class Multiplexer {
    private readonly width: number;
    private readonly shares = new Map<string, SourceShare>();
    private tailLeft: number;

    public constructor(private readonly options: MultiplexerOptions) {
        this.width = Math.max(...options.sources.map((source) => source.length), 0);
        // A quarter is for the ends of those that fail.
        const share = Math.floor((options.limit * 0.75) / Math.max(options.sources.length, 1));
        options.sources.forEach((source) => this.shares.set(source, { left: share, unshown: 0, last: [] }));
        this.tailLeft = Math.floor(options.limit / 4);
    }

    /** A line of a build's log, safe to show. */
    public line(source: string, line: string): void {
        const share = this.shares.get(source);
        const needed = this.width + line.length + 4;
        if (!share || (share.unshown === 0 && share.left >= needed)) {
            if (share) {
                share.left -= needed;
            }
            this.write(source, line);
            return;
        }
        if (share.unshown === 0) {
            this.write(source, `(the log goes on: ${this.options.more(source)} --follow)`);
        }
        share.unshown += 1;
        share.last.push(line);
        if (share.last.length > 2 * lastLines) {
            share.last = share.last.slice(-lastLines);
        }
    }

    /** What is said of a source, and not by it. */
    public note(source: string, text: string): void {
        this.write(source, this.options.color ? styleText("bold", text, { validateStream: false }) : text);
    }

    /** A source has ended: of one that failed, the end of its log is shown, if it was not. */
    public end(source: string, failed: boolean): void {
        const share = this.shares.get(source);
        if (!share || share.unshown === 0) {
            return;
        }
        const last: string[] = [];
        for (const line of failed ? share.last.slice(-lastLines).reverse() : []) {
            const needed = this.width + line.length + 4;
            if (needed > this.tailLeft) {
                break;
            }
            this.tailLeft -= needed;
            last.unshift(line);
        }
        this.write(source, `(${share.unshown - last.length} lines not shown: ${this.options.more(source)})`);
        last.forEach((line) => this.write(source, line));
    }

    private write(source: string, line: string): void {
        const prefix = `${source.padEnd(this.width)} |`;
        const colour = colours[this.options.sources.indexOf(source) % colours.length] ?? "white";
        const painted = this.options.color ? styleText(colour, prefix, { validateStream: false }) : prefix;
        this.options.write(`${painted} ${line}`.trimEnd() + "\n");
    }
}

interface SourceShare {
    left: number;
    unshown: number;
    last: string[];
}
