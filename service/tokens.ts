import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import { messageOf, UserError } from "../contract/errors";
import type { Scope } from "./scopes";
import { scopes } from "./scopes";

/** One line of the file of tokens: only the hash of a token is kept. */
export interface TokenEntry {
    readonly name: string;
    /** SHA-256. */
    readonly hash: Buffer;
    readonly scopes: ReadonlySet<Scope>;
}

/** Reads a file of lines `<name> <SHA-256 of the token, hexadecimal> <scope>[,<scope>...]`; `#` begins a remark. */
export function readTokens(file: string): readonly TokenEntry[] {
    let stat: fs.Stats;
    try {
        stat = fs.statSync(file);
    } catch {
        throw new UserError(`there is no ${file}; make it with \`ke1 token add NAME --scope builds:write\``);
    }
    // In a pod, such a file is root's, and is read through the pod's group.
    const others = stat.uid === process.getuid?.() ? 0o077 : 0o037;
    if ((stat.mode & others) !== 0) {
        throw new UserError(`${file} can be read by others; chmod 600 ${file}`);
    }
    return fs
        .readFileSync(file, "utf8")
        .split("\n")
        .map((line, index) => ({ line: line.trim(), number: index + 1 }))
        .filter(({ line }) => line !== "" && !line.startsWith("#"))
        .map(({ line, number }) => {
            const [name = "", hash = "", given = ""] = line.split(/\s+/);
            const known = knownScopes(given);
            if (reservedNames.includes(name)) {
                throw new UserError(`${file}, line ${number}: ${name} is the service's own name; take another`);
            }
            if (!/^[0-9a-f]{64}$/.test(hash) || !known) {
                throw new UserError(
                    `${file}, line ${number}: it must be \`<name> <SHA-256 of the token> <scopes>\`; ` +
                        `the scopes are ${scopes.join(", ")}`,
                );
            }
            return { name, hash: Buffer.from(hash, "hex"), scopes: known };
        });
}

/** Names by which the service itself asks for builds: whoever had one could end those. */
const reservedNames = ["watch", "triggers", "shuttle"];

/** A file of tokens that may change: one that was taken out of it is nobody's from the next request on. */
export class TokenFile {
    private read: readonly TokenEntry[];
    private version: string;

    /** @throws UserError as `readTokens` does */
    public constructor(private readonly file: string) {
        this.version = versionOf(file);
        this.read = readTokens(file);
    }

    /** Those of the file as it is; a file that cannot be read any more lets nobody in. */
    public entries(): readonly TokenEntry[] {
        const version = versionOf(this.file);
        if (version !== this.version) {
            this.version = version;
            try {
                this.read = readTokens(this.file);
            } catch (error) {
                this.read = [];
                process.stderr.write(`nobody is let in by a token: ${messageOf(error)}\n`);
            }
        }
        return this.read;
    }
}

/** Changes with the file, also where it is replaced by another. */
function versionOf(file: string): string {
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    return stat ? `${stat.ino} ${stat.mtimeMs} ${stat.size} ${stat.mode}` : "";
}

/**
 * Makes a token and adds its hash to the file.
 *
 * @returns the token: it cannot be had again
 */
export function addToken(file: string, name: string, given: string): string {
    if (!/^[\w.@-]{1,64}$/.test(name)) {
        throw new UserError("a name has at most 64 of A-Z a-z 0-9 _ . @ -");
    }
    if (reservedNames.includes(name)) {
        throw new UserError(`${name} is the service's own name for what it launches; take another`);
    }
    if (!knownScopes(given)) {
        throw new UserError(`--scope ${given}: the scopes are ${scopes.join(", ")}, with commas between`);
    }
    if (fs.existsSync(file) && readTokens(file).some((entry) => entry.name === name)) {
        throw new UserError(`${name} has a token already; remove its line from ${file} first`);
    }
    const token = `ke1_${randomBytes(32).toString("base64url")}`;
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    const hash = createHash("sha256").update(token).digest("hex");
    fs.appendFileSync(file, `${name} ${hash} ${given}\n`, { mode: 0o600 });
    return token;
}

function knownScopes(given: string): ReadonlySet<Scope> | undefined {
    const wanted = given.split(",");
    const known = scopes.filter((scope) => wanted.includes(scope));
    return known.length === wanted.length ? new Set(known) : undefined;
}
