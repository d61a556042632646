/**
 * An error that the person who typed the command can mend: bad usage or configuration, or something missing on the
 * machine. The message is one line that says what is wrong and what to do. The command ends with exit code 2.
 */
export class UserError extends Error {
    public override readonly name = "UserError";
}

/** Whether it is one, from whichever bundle it comes: each has a class of its own. */
export function isUserError(error: unknown): error is UserError {
    return error instanceof UserError || (error instanceof Error && error.name === "UserError");
}

/** The message of anything thrown, without its stack. */
export function messageOf(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}

/** The first line of it: what a person needs, of an error that goes on with details. */
export function firstLineOf(error: unknown): string {
    return messageOf(error).split("\n", 1)[0] ?? "";
}
