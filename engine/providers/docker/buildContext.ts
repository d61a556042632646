import { createHash } from "node:crypto";
import {
    createReadStream,
    existsSync,
    lstatSync,
    readdirSync,
    readFileSync,
    readlinkSync,
    realpathSync,
    type Stats,
} from "node:fs";
import { join, posix, relative, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { pack, type Pack } from "tar-stream";

/** A file of a build context, by its path in it. */
interface ContextFile {
    readonly path: string;
    readonly absolute: string;
    readonly stats: Stats;
}

/** A build context on this machine. */
export interface BuildContext {
    /** As the program gives them, relative to `base`. */
    readonly directory: string;
    readonly dockerfile: string;
    /** Absolute. */
    readonly base: string;
}

/**
 * Hashes a context as `hashContext` of pulumi-docker does (provider/provider.go), so that both engines see the same: of the
 * Dockerfile, under the name it always has, and of each file that is not ignored, its path, its mode as Go writes it, and
 * the SHA-256 of its content, or of where it leads, for a link.
 */
export async function hashContext(context: BuildContext): Promise<string> {
    const root = resolve(context.base, context.directory);
    const hash = createHash("sha256");
    const add = (path: string, mode: string, content: Buffer): void => {
        hash.update(posix.normalize(path)).update(mode).update(content).update("\0");
    };
    add("Dockerfile", "----------", await hashFile(resolve(context.base, context.dockerfile)));
    for (const { path, absolute, stats } of listFiles(root, ignorePatterns(context))) {
        add(path, formatMode(stats), await hashContent(context, absolute, stats));
    }
    return hash.digest("hex");
}

/** The context as a tar stream; `dockerfileName` is the Dockerfile's path in it. */
export function packContext(context: BuildContext): {
    readonly stream: Pack;
    readonly dockerfileName: string;
    readonly done: Promise<void>;
} {
    const root = resolve(context.base, context.directory);
    const dockerfile = resolve(context.base, context.dockerfile);
    const inside = relative(root, dockerfile);
    const isInside = !inside.startsWith("..");
    // What the daemon needs goes along even if it is ignored.
    const dockerfileName = isInside ? inside.split("\\").join("/") : ".ke1.Dockerfile";
    const stream = pack();
    const done = (async () => {
        const patterns = [...ignorePatterns(context), ...(isInside ? [`!${dockerfileName}`] : [])];
        for (const file of listFiles(root, patterns, true)) {
            await addEntry(stream, file);
        }
        if (!isInside) {
            stream.entry({ name: dockerfileName, mode: 0o600 }, readFileSync(dockerfile));
        }
        stream.finalize();
    })();
    done.catch((error: unknown) => stream.destroy(error as Error));
    return { stream, dockerfileName, done };
}

async function addEntry(stream: Pack, { path, absolute, stats }: ContextFile): Promise<void> {
    const header = { name: path, mode: stats.mode & 0o7777, mtime: stats.mtime, uid: 0, gid: 0 };
    if (stats.isDirectory()) {
        stream.entry({ ...header, type: "directory" });
    } else if (stats.isSymbolicLink()) {
        stream.entry({ ...header, type: "symlink", linkname: readlinkSync(absolute) });
    } else if (stats.isFile()) {
        await pipeline(createReadStream(absolute), stream.entry({ ...header, size: stats.size }));
    }
}

/** `<Dockerfile>.dockerignore`, else `.dockerignore` of the context. */
function ignorePatterns({ base, directory, dockerfile }: BuildContext): readonly string[] {
    const file = [`${resolve(base, dockerfile)}.dockerignore`, resolve(base, directory, ".dockerignore")].find((path) =>
        existsSync(path),
    );
    return file === undefined ? [] : parseIgnoreFile(readFileSync(file, "utf8"));
}

/** As moby's `ignorefile.ReadAll`. */
export function parseIgnoreFile(content: string): readonly string[] {
    return content
        .replace(/^\uFEFF/, "")
        .split(/\r?\n/)
        .filter((line) => !line.startsWith("#"))
        .map((line) => line.trim())
        .filter((line) => line !== "")
        .map((line) => {
            const isException = line.startsWith("!");
            const path = posix.normalize(isException ? line.slice(1).trim() : line).replace(/(?<=.)\/$/, "");
            const rooted = path.length > 1 ? path.replace(/^\//, "") : path;
            return isException ? `!${rooted}` : rooted;
        });
}

/** Whether the last pattern that matches a path, or a directory above it, is one that ignores. */
export function createIgnore(patterns: readonly string[]): (path: string) => boolean {
    const rules = patterns.map((pattern) => {
        const isException = pattern.startsWith("!");
        return { isException, expression: toExpression(isException ? pattern.slice(1) : pattern) };
    });
    return (path) => {
        const parts = path.split("/");
        const above = parts.map((_, index) => parts.slice(0, index + 1).join("/"));
        let ignored = false;
        for (const { isException, expression } of rules) {
            if (ignored === isException && above.some((candidate) => expression.test(candidate))) {
                ignored = !isException;
            }
        }
        return ignored;
    };
}

/** As moby's patternmatcher: `**` goes across directories, `*` and `?` do not. */
function toExpression(pattern: string): RegExp {
    let source = "";
    for (let index = 0; index < pattern.length; index++) {
        const character = pattern.charAt(index);
        if (character === "*" && pattern[index + 1] === "*") {
            index++;
            const slash = pattern[index + 1] === "/";
            index += slash ? 1 : 0;
            source += index + 1 >= pattern.length ? ".*" : "(.*/)?";
        } else if (character === "*") {
            source += "[^/]*";
        } else if (character === "?") {
            source += "[^/]";
        } else if (character === "[") {
            const end = pattern.indexOf("]", index);
            source += end < 0 ? "\\[" : pattern.slice(index, end + 1).replace(/^\[!/, "[^");
            index = end < 0 ? index : end;
        } else if (character === "\\" && index + 1 < pattern.length) {
            source += escape(pattern.charAt(++index));
        } else {
            source += escape(character);
        }
    }
    return new RegExp(`^${source}$`, "s");
}

function escape(character: string): string {
    return character.replace(/[.+^$(){}|\\/[\]*?]/g, "\\$&");
}

/** Files in the order of their names, directory by directory; directories themselves only for a tar. */
function* listFiles(root: string, patterns: readonly string[], withDirectories = false): Generator<ContextFile> {
    const isIgnored = createIgnore(patterns);
    const hasExceptions = patterns.some((pattern) => pattern.startsWith("!"));
    function* visit(directory: string): Generator<ContextFile> {
        const names = readdirSync(join(root, directory)).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        for (const name of names) {
            const path = directory === "" ? name : `${directory}/${name}`;
            const absolute = join(root, path);
            const stats = lstatSync(absolute);
            const ignored = isIgnored(path);
            if (stats.isDirectory()) {
                if (withDirectories && !ignored) {
                    yield { path, absolute, stats };
                }
                // An exception may bring back something below an ignored directory.
                if (!ignored || hasExceptions) {
                    yield* visit(path);
                }
            } else if (!ignored) {
                yield { path, absolute, stats };
            }
        }
    }
    yield* visit("");
}

async function hashContent({ base, directory }: BuildContext, absolute: string, stats: Stats): Promise<Buffer> {
    if (stats.isSymbolicLink()) {
        const target = realpathSync(absolute);
        const isRelative = !directory.startsWith("/") && !readlinkSync(absolute).startsWith("/");
        return createHash("sha256")
            .update(isRelative ? relative(realpathSync(base), target) : target)
            .digest();
    }
    return stats.isFile() ? hashFile(absolute) : createHash("sha256").digest();
}

async function hashFile(path: string): Promise<Buffer> {
    const hash = createHash("sha256");
    await pipeline(createReadStream(path), hash);
    return hash.digest();
}

/** Go's `fs.FileMode.String()`. */
export function formatMode(
    stats: Pick<Stats, "mode" | "isSymbolicLink" | "isFIFO" | "isSocket" | "isBlockDevice" | "isCharacterDevice">,
): string {
    const flags: readonly (readonly [boolean, string])[] = [
        [stats.isSymbolicLink(), "L"],
        [stats.isBlockDevice() || stats.isCharacterDevice(), "D"],
        [stats.isFIFO(), "p"],
        [stats.isSocket(), "S"],
        [(stats.mode & 0o4000) !== 0, "u"],
        [(stats.mode & 0o2000) !== 0, "g"],
        [stats.isCharacterDevice(), "c"],
        [(stats.mode & 0o1000) !== 0, "t"],
    ];
    const prefix = flags.filter(([isSet]) => isSet).map(([, letter]) => letter);
    const bits = Array.from("rwxrwxrwx", (letter, index) => ((stats.mode & (1 << (8 - index))) === 0 ? "-" : letter));
    return (prefix.join("") || "-") + bits.join("");
}
