import * as fs from "node:fs";

import { firstLineOf } from "../../contract/errors";
import type { BuildRecord } from "../build";
import type { JobBuilds } from "./builds";
import type { JobLog } from "./jobLog";
import type { StateFile } from "./state";

/** As long as a log has more than this to give, it is read on at once, in bytes. */
const large = 1024 * 1024;

export interface CopyContext {
    readonly builds: JobBuilds;
    readonly state: StateFile;
    readonly say: (line: string) => void;
}

/**
 * What a job's log takes over from its build: what the launcher says until the build begins, then the build's log, byte for
 * byte. Where it is in the latter is known from the length of the job's log, so that the next process goes on there.
 */
export class BuildLogCopy {
    private launcherOffset: number | undefined;
    private nextPump = 0;
    private lastSaid = "";

    public constructor(
        private readonly log: JobLog,
        private readonly context: CopyContext,
    ) {}

    /** Takes over what is new; of a new attempt from its beginning. */
    public async next(record: BuildRecord, toTheEnd: boolean): Promise<void> {
        const { builds, state, say } = this.context;
        try {
            const name = await builds.logName(record);
            let { following } = state.job();
            if (name === undefined) {
                if (!following) {
                    this.launcher(builds.launcherLog(record));
                }
                return;
            }
            if (following?.name !== name) {
                this.log.append(following ? "\n~~~ Started again in a new pod\n" : "+++ Log\n");
                following = { name, base: this.log.size };
                state.changeJob({ following });
            }
            for (let more = true; more && !this.log.full;) {
                const bytes = await builds.log(record, name, this.log.size - following.base);
                this.log.append(bytes);
                this.pump();
                more = bytes.length > 0 && (toTheEnd || bytes.length > large);
            }
        } catch (error) {
            // A store that does not answer is asked again; at the end, the log's address has to do.
            const line = `the log of build ${record.id} cannot be read: ${firstLineOf(error)}`;
            if (line !== this.lastSaid) {
                say(line);
            }
            this.lastSaid = line;
        }
    }

    /** Sends what is there, as often as the server wants it. */
    public pump(): void {
        if (Date.now() >= this.nextPump) {
            this.nextPump = Date.now() + this.context.state.job().chunkSeconds * 1000;
            this.log.pump();
        }
    }

    /** Whole lines. What an earlier process has seen of it is not shown again. */
    private launcher(file: string): void {
        const bytes = fs.existsSync(file) ? fs.readFileSync(file) : Buffer.alloc(0);
        const end = bytes.lastIndexOf("\n") + 1;
        this.launcherOffset ??= this.log.resumed ? end : 0;
        if (end > this.launcherOffset) {
            this.log.append(bytes.subarray(this.launcherOffset, end));
            this.launcherOffset = end;
        }
    }
}
