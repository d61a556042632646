import type { BuildRecord, BuildState } from "../build";
import type { StreamedMessage } from "./kafkaStream";
import { buildNumber, dataOf, isShuttle } from "./payload";

/** Where messages go when no setting says otherwise; the build shuttle's is the one that it has (logs.js). */
const usualTopic = "ke1-builds";
const shuttleTopic = "alamobuildlogs";

/** Puts a build's log and changes into messages. All of a build have its id as their key, so that their order is kept. */
export class BuildMessages {
    private readonly topic: string;
    private readonly isShuttle: boolean;

    public constructor(
        private readonly record: BuildRecord,
        topic: string | undefined,
    ) {
        this.isShuttle = isShuttle(record);
        this.topic = topic ?? (this.isShuttle ? shuttleTopic : usualTopic);
    }

    public line(line: string): StreamedMessage {
        const { id } = this.record;
        return this.message(
            this.isShuttle ? this.shuttle(line) : { type: "log", build: id, at: new Date().toISOString(), line },
        );
    }

    /** The shuttle tells of a build's end, and of no other change. */
    public state(record: BuildRecord, state: BuildState, at: string): readonly StreamedMessage[] {
        if (!this.isShuttle) {
            return [this.message({ type: "state", build: record.id, at, ...dataOf(record, state) })];
        }
        const ended = state !== "queued" && state !== "running";
        return ended ? [this.message(this.shuttle("Build finished"))] : [];
    }

    private message(value: unknown): StreamedMessage {
        const { topic } = this;
        const { id } = this.record;
        return { topic, key: id, value: JSON.stringify(value), instead: (count) => this.dropped(count) };
    }

    private dropped(count: number): string {
        const what = count === 1 ? "1 message was" : `${count} messages were`;
        return JSON.stringify(
            this.isShuttle
                ? this.shuttle(`(${what} not sent)`)
                : { type: "dropped", build: this.record.id, at: new Date().toISOString(), messages: count },
        );
    }

    private shuttle(message: string) {
        const { app = "", space = "" } = this.record.request.labels;
        const build = buildNumber(this.record);
        return { metadata: `${app}-${space}`, build, job: String(build), message };
    }
}
