import * as fs from "node:fs";
import * as path from "node:path";

/** The names GNU make looks for, in its order (https://www.gnu.org/software/make/manual/make.html#Makefile-Names). */
const makefileNames = ["GNUmakefile", "makefile", "Makefile"];

/**
 * Whether the directory's Makefile, or a file it includes by a plain name, has a rule for `target`. Only reads: running
 * make, even with --dry-run, would run the `$(shell …)` of a tree that nobody has looked at.
 */
export function hasTarget(directory: string, target: string): boolean {
    const first = makefileNames.map((name) => path.join(directory, name)).find((file) => fs.existsSync(file));
    return first !== undefined && fileHasTarget(first, directory, target, new Set());
}

function fileHasTarget(file: string, directory: string, target: string, seen: Set<string>): boolean {
    if (seen.has(file) || !fs.existsSync(file)) {
        return false;
    }
    seen.add(file);
    const lines = fs.readFileSync(file, "utf8").replace(/\\\n/g, " ").split("\n");
    return lines.some((line) => {
        // `a b: c` and `a:: c` are rules; `a := c`, `a ::= c` and recipe lines are not.
        const rule = /^([^\t#=:][^#=:]*)::?(?![:=])/.exec(line);
        if (rule && !/^\s*(\.PHONY|export|override|define)\b/.test(line)) {
            return (rule[1] ?? "").trim().split(/\s+/).includes(target);
        }
        const include = /^\s*[-s]?include\s+(.*)$/.exec(line);
        return (include?.[1] ?? "")
            .split(/\s+/)
            .filter((name) => name !== "" && !name.startsWith("#"))
            .map((name) => name.replace(/^\$\((?:dir \$\(lastword \$\(MAKEFILE_LIST\)\)|CURDIR)\)\/?/, ""))
            .some((name) => fileHasTarget(path.resolve(directory, name), directory, target, seen));
    });
}
