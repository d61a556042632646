/**
 * BuildKit takes the build argument SOURCE_DATE_EPOCH for the time of the directories that WORKDIR makes. With the commit's
 * time, all that comes after the first WORKDIR would be built anew for each commit, and no cache would help
 * (frontend/dockerfile/dockerfile2llb/convert.go, dispatchWorkdir). A default value of the stage's own ARG is read by what
 * asks for it, and by nothing else.
 */
export const epochArgument = "SOURCE_DATE_EPOCH";

const plain = /^[ \t]*ARG[ \t]+SOURCE_DATE_EPOCH[ \t]*$/i;

/** The same for sed(1). */
export const plainForSed = "^[[:blank:]]*[Aa][Rr][Gg][[:blank:]][[:blank:]]*SOURCE_DATE_EPOCH[[:blank:]]*$";

/** Whether a Dockerfile asks for the argument only in lines of their own, after its first FROM, or not at all. */
export function asksPlainlyForEpoch(dockerfile: string): boolean {
    const lines = dockerfile.split(/\r?\n/);
    const from = lines.findIndex((line) => /^\s*FROM\s/i.test(line));
    return lines.every(
        (line, index) =>
            !/\bARG\b.*\bSOURCE_DATE_EPOCH\b/i.test(line) ||
            (index > from && from >= 0 && plain.test(line) && !continues(lines[index - 1])),
    );
}

function continues(line: string | undefined): boolean {
    return line?.trimEnd().endsWith("\\") ?? false;
}
