import type { ImageSettings } from "../config/image";

/** Without a use of its own: a value that changes makes the builder run again what comes after it. */
export const cacheArgument = "KE1_NO_CACHE";

/** The names of the arguments that an image is given beside what its Dockerfile declares itself. */
export function argumentNames({ buildArgs, noCache }: Pick<ImageSettings, "buildArgs" | "noCache">): readonly string[] {
    return [...Object.keys(buildArgs), ...(noCache ? [cacheArgument] : [])];
}

/**
 * A Dockerfile that declares these arguments in each of its stages, right after `FROM`
 * (https://docs.docker.com/reference/dockerfile/#understand-how-arg-and-from-interact).
 */
export function withArguments(dockerfile: string, names: readonly string[]): string {
    if (names.length === 0) {
        return dockerfile;
    }
    const declared = names.map((name) => `ARG ${name}`);
    const lines: string[] = [];
    let isFrom = false;
    let end = "";
    for (const line of dockerfile.split("\n")) {
        lines.push(line);
        if (end !== "") {
            // In a here-document nothing is an instruction.
            end = line.trim() === end ? "" : end;
            continue;
        }
        const continued = /\\\s*$/.test(line);
        isFrom = isFrom || /^\s*FROM\s/i.test(line);
        if (isFrom && !continued && !/^\s*#/.test(line)) {
            lines.push(...declared);
            isFrom = false;
        }
        end = isFrom ? "" : (/^\s*(?:RUN|COPY|ADD)\b.*<<-?["']?(\w+)["']?/i.exec(line)?.[1] ?? "");
    }
    return lines.join("\n");
}
