import { stripVTControlCharacters, styleText } from "node:util";
import { isDefaultProvider, nameOf, stackType } from "./state";
import type { Change, EngineEvent, StepOp } from "./steps";

/** How an operation is shown: on a terminal, or as plain lines. */
export interface Display {
    handle(event: EngineEvent): void;
    /** Text that is replaced by `[secret]` wherever it would show up. */
    hide(secret: string): void;
    /** Says how it ended; to be called once, last. */
    finish(summary: Summary): void;
}

export interface Summary {
    readonly preview: boolean;
    readonly outcome: "succeeded" | "failed" | "interrupted";
    readonly changes: Changes;
    readonly seconds: number;
}

/** How often each change was made. */
export type Changes = Readonly<Partial<Record<Change, number>>>;

/** The parts of a terminal that the display uses. */
export interface Output {
    readonly isTTY?: boolean;
    readonly columns?: number;
    readonly rows?: number;
    write(text: string): unknown;
}

interface Row {
    readonly urn: string;
    readonly type: string;
    readonly op: StepOp;
    readonly since: number;
    status: "running" | "done" | "failed";
    seconds: number;
    note: string;
}

interface Look {
    readonly symbol: string;
    readonly color: "green" | "yellow" | "red" | "cyan" | "magenta" | "gray";
    readonly doing: string;
    readonly done: string;
    /** In a preview. */
    readonly plan: string;
}

const looks: Readonly<Record<StepOp, Look>> = {
    same: { symbol: " ", color: "gray", doing: "", done: "unchanged", plan: "" },
    create: { symbol: "+", color: "green", doing: "creating", done: "created", plan: "create" },
    update: { symbol: "~", color: "yellow", doing: "updating", done: "updated", plan: "update" },
    delete: { symbol: "-", color: "red", doing: "deleting", done: "deleted", plan: "delete" },
    "create-replacement": { symbol: "+-", color: "magenta", doing: "replacing", done: "replaced", plan: "replace" },
    "delete-replaced": {
        symbol: "--",
        color: "red",
        doing: "deleting original",
        done: "deleted original",
        plan: "delete original",
    },
    read: { symbol: ">", color: "cyan", doing: "reading", done: "read", plan: "read" },
    refresh: { symbol: " ", color: "cyan", doing: "refreshing", done: "refreshed", plan: "refresh" },
    discard: { symbol: "<", color: "gray", doing: "forgetting", done: "forgotten", plan: "forget" },
    "remove-pending-replace": { symbol: "-", color: "gray", doing: "forgetting", done: "forgotten", plan: "forget" },
};

/** The shortest text that is worth hiding: shorter ones are in everything. */
const minimumSecretLength = 4;

/** A step that takes longer than this is announced. */
const slowMilliseconds = 2000;
/** Of an error whose lines have been shown as they came, this many are repeated. */
const repeatedLines = 16;

/** @param all shows what is for the moment too, such as the steps of an image's build, where there is no terminal */
export function createDisplay(output: Output, preview: boolean, color: boolean, all = false): Display {
    return output.isTTY === true
        ? new LiveDisplay(output, preview, color)
        : new PlainDisplay(output, preview, color, all);
}

/** One line per change of state; what others write goes between them whole. */
class PlainDisplay implements Display {
    private readonly secrets = new Set<string>();
    private readonly errors: string[] = [];
    /** By URN: how many lines of a resource have been shown as they came. */
    private readonly shownLive = new Map<string, number>();
    private readonly slow = new Map<string, NodeJS.Timeout>();

    public constructor(
        protected readonly output: Output,
        protected readonly preview: boolean,
        private readonly color: boolean,
        private readonly all = false,
    ) {}

    public handle(event: EngineEvent): void {
        if (event.kind === "log") {
            this.log(event);
            return;
        }
        const { step, phase, found } = event;
        if (step.op === "refresh" && found !== undefined && found !== "same") {
            this.step({ ...event, step: { ...step, op: found } });
            return;
        }
        const isSilent = step.op === "same" || step.op === "refresh" || isDefaultProvider(step.urn);
        if (!isSilent || phase === "failed") {
            this.step(event);
        }
    }

    public hide(secret: string): void {
        for (const text of [secret, ...secret.split("\n")]) {
            if (text.trim().length >= minimumSecretLength) {
                this.secrets.add(text);
            }
        }
    }

    public finish({ outcome, changes, seconds, preview }: Summary): void {
        this.slow.forEach((timer) => clearTimeout(timer));
        if (this.errors.length > 0) {
            this.line(`\n${this.paint("red", "Errors:")}`);
            this.errors.forEach((error) => this.line(error));
        }
        const word = outcome === "succeeded" ? "" : ` ${this.paint("red", outcome)}:`;
        this.line(
            `\n${preview ? "Preview" : "Resources"}:${word} ${describeChanges(changes, preview)}, ${formatSeconds(seconds)}`,
        );
    }

    protected step({ phase, step, seconds }: EngineEvent & { kind: "step" }): void {
        const { symbol, color, doing, done, plan } = looks[step.op];
        const what = `${this.paint(color, symbol.padEnd(2))} ${step.type} ${nameOf(step.urn)}`;
        if (this.preview) {
            if (phase === "done") {
                this.line(`${what} ${plan}${describeDiff(step.diff?.paths)}`);
            }
        } else if (phase === "start") {
            // Most steps are done before anybody could read that they began.
            this.slow.set(step.urn, setTimeout(() => this.line(`${what} ${doing}`), slowMilliseconds).unref());
        } else {
            clearTimeout(this.slow.get(step.urn));
            // A component has no life of its own: its children tell.
            if (phase === "done" && (step.new ?? step.old)?.custom === false) {
                return;
            }
            this.line(`${what} ${phase === "done" ? done : this.paint("red", "failed")} (${formatSeconds(seconds)})`);
        }
    }

    protected log(event: EngineEvent & { kind: "log" }): void {
        const { severity, urn, ephemeral } = event;
        const message = this.presentable(event.message).trimEnd();
        if (severity === "debug" || (ephemeral && !this.all)) {
            return;
        }
        if (ephemeral) {
            message.split("\n").forEach((line) => this.line(line));
            return;
        }
        const name = urn === undefined || urn.includes(`::${stackType}::`) ? "" : nameOf(urn);
        if (severity === "error") {
            const subject =
                urn === undefined || name === "" ? "" : `${urn.split("::")[2]?.split("$").at(-1) ?? ""} ${name}: `;
            this.errors.push(`  ${this.paint("red", "error:")} ${subject}${indented(this.unshown(message, urn))}`);
            return;
        }
        const prefix = name === "" ? "" : `${this.paint("gray", `${name}:`)} `;
        if (urn !== undefined) {
            this.shownLive.set(urn, (this.shownLive.get(urn) ?? 0) + message.split("\n").length);
        }
        const label = severity === "warning" && name !== "" ? this.paint("yellow", "warning: ") : "";
        message.split("\n").forEach((line) => this.line(`${prefix}${label}${line}`));
    }

    /** A command's error repeats all that it printed: of what has been shown as it came, only the end is worth a second look. */
    private unshown(message: string, urn: string | undefined): string {
        const lines = message.split("\n");
        if (lines.length <= repeatedLines + 2 || (this.shownLive.get(urn ?? "") ?? 0) < repeatedLines) {
            return message;
        }
        const left = lines.length - 1 - repeatedLines;
        return [lines[0], `(${left} lines, shown above)`, ...lines.slice(-repeatedLines)].join("\n");
    }

    protected line(text: string): void {
        this.output.write(`${text}\n`);
    }

    /** Text of others as it may be shown: without secrets, and with nothing for the terminal in it but colors where it has them. */
    protected presentable(text: string): string {
        const parts = text.split(/(\x1b\[[0-9;]*m)/);
        let masked = parts
            .map((part, index) => (index % 2 === 0 ? stripVTControlCharacters(part) : this.color ? part : ""))
            .join("");
        for (const secret of this.secrets) {
            masked = masked.replaceAll(secret, "[secret]");
        }
        return masked;
    }

    protected paint(color: Look["color"], text: string): string {
        return this.color ? styleText(color, text, { validateStream: false }) : text;
    }
}

/** How often the tree is drawn anew, at most. */
const frameMilliseconds = 100;

/** A tree of what is being done, drawn over itself at the bottom of the terminal; log lines go above it. */
class LiveDisplay extends PlainDisplay {
    private readonly rows = new Map<string, Row>();
    private drawn = 0;
    private frame: NodeJS.Timeout | undefined;
    private readonly ticker: NodeJS.Timeout;

    public constructor(output: Output, preview: boolean, color: boolean) {
        super(output, preview, color);
        // Elapsed times go on when nothing happens.
        this.ticker = setInterval(() => this.schedule(), 1000).unref();
    }

    public override finish(summary: Summary): void {
        clearInterval(this.ticker);
        clearTimeout(this.frame);
        this.redraw(true);
        this.drawn = 0;
        super.finish(summary);
    }

    protected override step({ phase, step, seconds }: EngineEvent & { kind: "step" }): void {
        const { urn, type, op } = step;
        const previous = this.rows.get(urn);
        const status = phase === "start" ? "running" : phase;
        if (previous?.op === op) {
            previous.status = status;
            previous.seconds = seconds;
        } else {
            // A replaced resource is one row: its old self's deletion shows under the same name.
            this.rows.set(urn, {
                urn,
                type,
                op,
                since: performance.now(),
                status,
                seconds,
                note: describeDiff(step.diff?.paths),
            });
        }
        this.schedule();
    }

    protected override log(event: EngineEvent & { kind: "log" }): void {
        const row = event.urn === undefined ? undefined : this.rows.get(event.urn);
        if (event.ephemeral && row !== undefined) {
            row.note = ` ${this.presentable(event.message).trim().split("\n").at(-1) ?? ""}`;
            this.schedule();
            return;
        }
        super.log(event);
    }

    /** A line that stays: it takes the place of the tree, which is drawn again below it. */
    protected override line(text: string): void {
        this.output.write(`${this.eraser()}${text}\n`);
        this.drawn = 0;
        this.schedule();
    }

    private schedule(): void {
        this.frame ??= setTimeout(() => this.redraw(false), frameMilliseconds).unref();
    }

    private redraw(all: boolean): void {
        this.frame = undefined;
        // A terminal that does not know its size says 0.
        const width = Math.max(20, this.output.columns || 80) - 1;
        const height = Math.max(3, (this.output.rows || 24) - 2);
        const lines = this.tree(all ? Infinity : height).map((line) => truncated(line, width));
        // Terminals that know the mode show the frame at once; others ignore it.
        const body = lines.map((line) => `${line}\x1b[K\n`).join("");
        this.output.write(`\x1b[?2026h${this.eraser()}${body}\x1b[?2026l`);
        this.drawn = all ? 0 : lines.length;
    }

    private eraser(): string {
        return this.drawn === 0 ? "" : `\x1b[${this.drawn}A\r\x1b[J`;
    }

    /** What is under way first, when there is no room for all. */
    private tree(limit: number): readonly string[] {
        const rows = [...this.rows.values()];
        const shown = new Set(
            rows.length <= limit
                ? rows
                : [
                      ...rows.filter(({ status }) => status !== "done"),
                      ...rows.filter(({ status }) => status === "done").reverse(),
                  ].slice(0, limit - 1),
        );
        const lines = rows.filter((row) => shown.has(row)).map((row) => this.row(row));
        return shown.size < rows.length
            ? [...lines, this.paint("gray", `   and ${rows.length - shown.size} more`)]
            : lines;
    }

    private row({ urn, type, op, since, status, seconds, note }: Row): string {
        const { symbol, color, doing, done, plan } = looks[op];
        const depth = (urn.split("::")[2] ?? "").split("$").length;
        const elapsed = status === "running" ? (performance.now() - since) / 1000 : seconds;
        const word = this.preview ? plan : status === "running" ? doing : status === "done" ? done : "failed";
        const time = this.preview ? "" : ` (${formatSeconds(elapsed)})`;
        const painted = status === "failed" ? this.paint("red", word) : this.paint(color, word);
        return `${this.paint(color, symbol.padEnd(2))} ${"  ".repeat(depth - 1)}${nameOf(urn)} ${this.paint("gray", type)} ${painted}${time}${note}`;
    }
}

/** The changes that a summary names, and the steps that they look like: nothing is changed by reading. */
const summarized: readonly (readonly [Change, StepOp])[] = [
    ["create", "create"],
    ["update", "update"],
    ["replace", "create-replacement"],
    ["delete", "delete"],
];

/** `+ 3 created, ~ 1 updated, 7 unchanged`. */
export function describeChanges(changes: Changes, preview: boolean): string {
    const parts = summarized.flatMap(([change, op]) => {
        const { symbol, plan, done } = looks[op];
        const count = changes[change] ?? 0;
        return count > 0 ? [`${symbol} ${count} ${preview ? `to ${plan}` : done}`] : [];
    });
    const same = changes.same ?? 0;
    return [...parts, ...(same > 0 || parts.length === 0 ? [`${same} unchanged`] : [])].join(", ");
}

function describeDiff(paths: ReadonlyMap<string, { readonly replace?: boolean }> | undefined): string {
    const changed = [...(paths ?? [])].map(([path, { replace }]) => (replace ? `${path}!` : path));
    const shown = changed.slice(0, 4).join(", ");
    return changed.length === 0 ? "" : ` [${shown}${changed.length > 4 ? ", ..." : ""}]`;
}

function formatSeconds(seconds: number): string {
    return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} m ${Math.round(seconds % 60)} s`;
}

function indented(message: string): string {
    return message.split("\n").join("\n    ");
}

/** Cut to a width in columns; colors do not count, and end with the line. */
function truncated(line: string, width: number): string {
    if (stripVTControlCharacters(line).length <= width) {
        return line;
    }
    let visible = 0;

    const cut = line.replace(/\x1b\[[0-9;]*m|[^]/gu, (part) =>
        part.startsWith("\x1b") ? part : ++visible < width ? part : "",
    );
    return `${cut}…`;
}
