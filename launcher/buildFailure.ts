import type { Outcome } from "../contract/outcome";

/** A build that did not succeed: what a person needs to know about it. */
export class BuildFailure extends Error {
    public override readonly name = "BuildFailure";

    public constructor(
        public readonly outcome: Outcome,
        message: string,
        public readonly details: {
            /** The Job that was awaited last. */
            readonly job?: string;
            readonly exitCode?: number;
            /** Absent where no exporter has begun one. */
            readonly attempt?: number;
            /** The log's blob path, when there is a log. */
            readonly log?: string;
            readonly events?: readonly string[];
            /** Whether it was the build that ran out of memory, so that more of it may help. */
            readonly wantsMemory?: boolean;
        } = {},
    ) {
        super(message);
    }
}
