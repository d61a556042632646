import type { Outcome } from "./outcome";

/** The environment variable that names the file in which the launcher leaves how a build ended, for whoever runs `ke1 up`. */
export const outcomeFileVariable = "KE1_OUTCOME_FILE";

/** What is in it: JSON. */
export interface OutcomeFile {
    readonly buildTag: string;
    readonly outcome: Outcome;
    /** One line, of a build that did not succeed. */
    readonly message?: string;
    readonly exitCode?: number;
    readonly attempt?: number;
    readonly logUrl?: string;
    readonly job?: string;
}
