import { StringDecoder } from "node:string_decoder";

/** Where in an escape sequence the view is (ECMA-48, https://ecma-international.org/publications-and-standards/standards/ecma-48/). */
type State = "text" | "escape" | "intermediate" | "control" | "string" | "stringEscape";

/** The longest control sequence that is looked at, in characters; any that is longer is none that a build should use. */
const longestSequence = 64;

/** What a text must have to be worth a look at each of its characters. */
const suspicious = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

/**
 * A log as it may be shown on a terminal: text, line ends, tabs, carriage returns, and colours. What else could steer the
 * terminal (move the cursor, set its title, write to the clipboard, ask it something) is left out, also across chunks.
 */
export class TerminalView {
    private readonly decoder = new StringDecoder("utf8");
    private state: State = "text";
    private sequence = "";
    private isColoured = false;

    /** @returns what to show of a chunk */
    public show(bytes: Buffer): string {
        return this.safe(this.decoder.write(bytes));
    }

    /** @returns what is left to show; colours end here */
    public end(): string {
        const rest = this.safe(this.decoder.end());
        this.state = "text";
        return this.isColoured ? `${rest}\u001b[0m` : rest;
    }

    private safe(text: string): string {
        if (this.state === "text" && !suspicious.test(text)) {
            return text;
        }
        let shown = "";
        for (const character of text) {
            shown += this.next(character);
        }
        return shown;
    }

    private next(character: string): string {
        const code = character.codePointAt(0) ?? 0;
        // A sequence does not go beyond its line: or one that has no end would hide the rest of the log.
        if (this.state !== "text" && (code === 0x0a || code === 0x18 || code === 0x1a)) {
            this.state = "text";
        }
        switch (this.state) {
            case "text":
                return this.text(character, code);
            case "escape":
                return this.escape(character, code);
            case "intermediate":
                this.state = code >= 0x20 && code <= 0x2f ? "intermediate" : "text";
                return "";
            case "control":
                return this.control(character, code);
            case "string":
                if (code === 0x07 || code === 0x9c) {
                    this.state = "text";
                } else if (code === 0x1b) {
                    this.state = "stringEscape";
                }
                return "";
            case "stringEscape":
                // ESC \ ends a string; another escape ends it too, and begins something of its own.
                this.state = "text";
                return character === "\\" ? "" : this.escape(character, code);
        }
    }

    private text(character: string, code: number): string {
        if (code === 0x1b) {
            this.state = "escape";
        } else if (code === 0x9b) {
            this.beginControl();
        } else if ([0x90, 0x98, 0x9d, 0x9e, 0x9f].includes(code)) {
            this.state = "string";
        } else if (code === 0x09 || code === 0x0a || code === 0x0d) {
            return character;
        } else if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) {
            return "\ufffd";
        } else {
            return character;
        }
        return "";
    }

    private escape(character: string, code: number): string {
        if (character === "[") {
            this.beginControl();
        } else if ("]PX^_".includes(character)) {
            this.state = "string";
        } else if (code >= 0x20 && code <= 0x2f) {
            this.state = "intermediate";
        } else {
            this.state = code === 0x1b ? "escape" : "text";
        }
        return "";
    }

    private beginControl(): void {
        this.state = "control";
        this.sequence = "";
    }

    private control(character: string, code: number): string {
        if (code === 0x1b) {
            this.state = "escape";
            return "";
        }
        if (code < 0x40 || code > 0x7e) {
            this.sequence += this.sequence.length < longestSequence ? character : "";
            return "";
        }
        this.state = "text";
        if (character !== "m" || !/^[0-9;:]*$/.test(this.sequence)) {
            return "";
        }
        this.isColoured = !/^0*$/.test(this.sequence);
        return `\u001b[${this.sequence}m`;
    }
}
