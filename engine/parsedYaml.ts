import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse } from "yaml";

/** A YAML file that has been parsed beforehand: this project's Pulumi.yaml, by `make` (bundle/command.ts). */
export interface ParsedYaml {
    /** Of the text. */
    readonly sha256: string;
    readonly document: unknown;
}

/** Beside what the command is bundled to. */
const parsedFile = resolve(__dirname, "..", "dist", "Pulumi.json");

/** Parsing a text of this length takes longer than reading what may have been parsed of it. */
const worthwhile = 4096;

/**
 * The same as `parse`. With its five hundred lines of descriptions Pulumi.yaml takes a twentieth of a second, which each
 * command would wait for.
 *
 * @throws as `parse` does
 */
export function parseYaml(text: string, parsed = parsedFile): unknown {
    return (text.length < worthwhile ? undefined : known(text, parsed)) ?? parse(text);
}

export function parsedYaml(text: string): ParsedYaml {
    return { sha256: digestOf(text), document: parse(text) };
}

function known(text: string, file: string): unknown {
    try {
        const { sha256, document } = JSON.parse(readFileSync(file, "utf8")) as ParsedYaml;
        return sha256 === digestOf(text) ? document : undefined;
    } catch {
        // It has not been made, or not wholly.
        return undefined;
    }
}

function digestOf(text: string): string {
    return createHash("sha256").update(text).digest("hex");
}
