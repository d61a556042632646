/** At most this much of what builds print is shown by `up`, in characters: the engine keeps what is shown in its state. */
export const liveLogLimit = 48 * 1024;
/** Of a longer log, this many lines are shown once more at the end of a failed build. */
const lastLines = 25;

/** Shows a log as it comes, up to a limit, and keeps its end. */
export class LimitedLog {
    private shown = 0;
    private cut = false;
    private last: string[] = [];

    public constructor(
        private readonly buildTag: string,
        private readonly show: (text: string) => void,
    ) {}

    public line(line: string): void {
        if (!this.cut && this.shown + line.length < liveLogLimit) {
            this.shown += line.length + 1;
            this.show(`${line}\n`);
            return;
        }
        if (!this.cut) {
            this.cut = true;
            this.show(`(the log goes on: ke1 logs ${this.buildTag} --follow)\n`);
        }
        this.last.push(line);
        if (this.last.length > 2 * lastLines) {
            this.last = this.last.slice(-lastLines);
        }
    }

    /** The log's last lines, when they were not shown as they came. */
    public unshown(): readonly string[] {
        return this.last.slice(-lastLines);
    }
}
