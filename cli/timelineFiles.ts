import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";

import { messageOf } from "../contract/errors";
import type { BuildTimeline } from "../contract/timings";
import { timingsVariable } from "../contract/timings";

/** Leaves a build's timeline where `ke1 up --timings` wants it, if that is what runs. */
export function writeTimeline(
    timeline: BuildTimeline,
    environment: NodeJS.ProcessEnv = process.env,
    say: (text: string) => void = (text) => process.stderr.write(text),
): void {
    const directory = environment[timingsVariable] ?? "";
    if (directory === "") {
        return;
    }
    try {
        fs.writeFileSync(path.join(directory, `${randomUUID()}.json`), JSON.stringify(timeline), { mode: 0o600 });
    } catch (error) {
        // The build has ended, whoever wants to know how long it took.
        say(`warning: the build's timings cannot be kept: ${messageOf(error)}\n`);
    }
}

/** Where the commands of one operation leave their timelines: a directory that is there for as long as it runs. */
export class TimelineFiles {
    private readonly directory = fs.mkdtempSync(path.join(tmpdir(), "ke1-timings-"));
    private readonly atExit = () => fs.rmSync(this.directory, { recursive: true, force: true });

    public constructor() {
        // Whoever interrupts twice waits for nothing else.
        process.once("exit", this.atExit);
    }

    /** For the environment of the stack's commands. */
    public get variables(): NodeJS.ProcessEnv {
        return { [timingsVariable]: this.directory };
    }

    public read(): readonly BuildTimeline[] {
        return fs.readdirSync(this.directory).flatMap((file) => {
            try {
                return [JSON.parse(fs.readFileSync(path.join(this.directory, file), "utf8")) as BuildTimeline];
            } catch {
                // Of a command that was killed while it wrote.
                return [];
            }
        });
    }

    public remove(): void {
        process.off("exit", this.atExit);
        this.atExit();
    }
}
