import * as fs from "node:fs";

import { messageOf } from "../contract/errors";
import type { OutcomeFile } from "../contract/outcomeFile";
import { outcomeFileVariable } from "../contract/outcomeFile";

/** Leaves a build's outcome where whoever runs `ke1 up` wants it, if anybody does. */
export function writeOutcome(
    outcome: OutcomeFile,
    environment: NodeJS.ProcessEnv = process.env,
    say: (text: string) => void = (text) => process.stderr.write(text),
): void {
    const file = environment[outcomeFileVariable] ?? "";
    if (file === "") {
        return;
    }
    try {
        fs.writeFileSync(`${file}.part`, JSON.stringify(outcome), { mode: 0o600 });
        fs.renameSync(`${file}.part`, file);
    } catch (error) {
        // The build has ended, whoever wants to know of it.
        say(`warning: ${file} cannot be written: ${messageOf(error)}\n`);
    }
}
