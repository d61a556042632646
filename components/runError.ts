import * as pulumi from "@pulumi/pulumi";

import { UserError } from "../contract/errors";

/**
 * Reads what a program begins with. What the user can mend is shown as one line, without a stack.
 *
 * @throws pulumi.RunError for each UserError
 */
export function orRunError<T>(read: () => T): T {
    try {
        return read();
    } catch (error) {
        throw error instanceof UserError ? new pulumi.RunError(error.message) : error;
    }
}
