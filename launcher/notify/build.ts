import type { SourceIdentity } from "../../contract/manifest";
import type { Outcome } from "../../contract/outcome";

/** A build, as those see it who are told of it. */
export interface NotifiedBuild {
    readonly buildTag: string;
    /** Which step of a pipeline; absent for a build that is none. */
    readonly step?: string;
    readonly namespace: string;
    /** The build's Job; where it has several, the first. */
    readonly job: string;
    /** The Pulumi stack; with the namespace it tells what belongs together on a Pushgateway. */
    readonly stack?: string;
    readonly source: SourceIdentity;
    readonly command: readonly string[];
    readonly startedAt: Date;
}

/** How a build ended. What is not known is absent. */
export interface NotifiedEnding {
    readonly outcome: Outcome;
    readonly endedAt: Date;
    /** Why, in one line; not needed for a success. */
    readonly message?: string;
    /** The Job that decided, where the build had several. */
    readonly job?: string;
    readonly exitCode?: number;
    readonly attempt?: number;
    readonly durations?: { readonly buildSeconds: number; readonly exportSeconds: number };
    /** How many artifacts are stored. */
    readonly artifacts?: number;
    readonly logUrl?: string;
    readonly manifestUrl?: string;
}

/** The text with everything on one line, and not more than `limit` bytes of UTF-8. */
export function oneLine(text: string, limit: number): string {
    const line = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
    if (Buffer.byteLength(line) <= limit) {
        return line;
    }
    const ellipsis = "…";
    const cut = Buffer.from(line).subarray(0, limit - Buffer.byteLength(ellipsis));
    // A character that was cut in two comes back as U+FFFD.
    return cut.toString("utf8").replace(/\ufffd$/, "") + ellipsis;
}
