/** At most this much is shown as it comes, in characters: the engine keeps what is shown in its state. */
const liveLimit = 16 * 1024;
/** Of what a failed build printed, so many lines are always shown. */
const lastLines = 30;
/** How far a transfer has got, how long each thing took, and the frames around errors: nothing that says what goes on. */
const noise =
    /^#\d+ (sha256:|transferring |extracting |exporting |rewriting |pushing |sending |writing |preparing |resolve |DONE|\.\.\.)|^-+$|^ > importing cache manifest|^\s*$/;
const noCacheYet = /^#\d+ ERROR: failed to configure registry cache importer: (\S+): not found$/;

/** What BuildKit prints, as far as it is news to a person. */
export class ImageLog {
    private shown = 0;
    private cut = false;
    private last: string[] = [];
    private error = "";

    public constructor(private readonly write: (line: string) => void) {}

    public phase(text: string): void {
        this.write(text);
    }

    public line(printed: string): void {
        const [, cache] = noCacheYet.exec(printed) ?? [];
        // Not an error: the first build of all has none.
        const line = cache === undefined ? printed : `there is no layer cache yet (${cache})`;
        if (noise.test(line)) {
            return;
        }
        this.error = /^error: (.+)$/.exec(line)?.[1] ?? this.error;
        if (!this.cut && this.shown + line.length < liveLimit) {
            this.shown += line.length + 1;
            this.write(line);
            return;
        }
        if (!this.cut) {
            this.cut = true;
            this.write("(the log of the image's build goes on; its end is shown if it fails)");
        }
        this.last.push(line);
        if (this.last.length > 2 * lastLines) {
            this.last = this.last.slice(-lastLines);
        }
    }

    /** What buildctl said last was wrong; empty when it said nothing. */
    public get lastError(): string {
        return this.error;
    }

    /** Shows the last lines, when they were not shown as they came: the error is there. */
    public showEnd(): void {
        this.last.slice(-lastLines).forEach((line) => this.write(line));
    }
}
