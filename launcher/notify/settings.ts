import { readFileSync } from "node:fs";

import { UserError } from "../../contract/errors";
import type { NotifierOptions } from "./notifier";

/**
 * Who is to be told, from the environment that the program gives to `ke1 await`: KE1_PUSHGATEWAY, KE1_WEBHOOK, and the
 * webhook's secret in KE1_WEBHOOK_SECRET, or in the file that KE1_WEBHOOK_SECRET_FILE names. It is never an argument.
 *
 * @throws UserError when the file cannot be read
 */
export function notifierSettings(
    environment: NodeJS.ProcessEnv = process.env,
    say: (text: string) => void = (text) => process.stderr.write(text),
): NotifierOptions {
    const file = environment["KE1_WEBHOOK_SECRET_FILE"];
    return {
        pushgateway: environment["KE1_PUSHGATEWAY"] || undefined,
        webhook: environment["KE1_WEBHOOK"] || undefined,
        webhookSecret: environment["KE1_WEBHOOK_SECRET"] || (file ? secretIn(file) : undefined),
        debug: environment["KE1_DEBUG"] ? (line) => say(`debug: ${line}\n`) : undefined,
    };
}

function secretIn(file: string): string {
    try {
        return readFileSync(file, "utf8").trim();
    } catch (error) {
        throw new UserError(
            `KE1_WEBHOOK_SECRET_FILE: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? "error"})`,
        );
    }
}
