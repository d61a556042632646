import * as fs from "node:fs";
import * as path from "node:path";

/** The names GNU make looks for, in its order (https://www.gnu.org/software/make/manual/make.html#Makefile-Names). */
const makefileNames = ["GNUmakefile", "makefile", "Makefile"];

/** A larger one is no text of a person's; in bytes. */
const largestFile = 1024 ** 2;

/** Whether a Makefile has a target; `unknown` where only make itself could tell. */
export type Finding = "yes" | "no" | "unknown";

/**
 * Looks for a rule for `target` in the directory's Makefile and the files it includes by plain names. Only reads: running
 * make, even with --dry-run, would run the `$(shell …)` of a tree that nobody has looked at. Hence `unknown` for a Makefile
 * that includes by pattern or variable or from outside of the directory, or makes its rules with variables, patterns or
 * `eval`.
 */
export function findTarget(directory: string, target: string): Finding {
    const first = makefileNames.map((name) => path.join(directory, name)).find((file) => fs.existsSync(file));
    return first === undefined ? "no" : findInFile(first, fs.realpathSync(directory), target, new Set());
}

/** @param directory without links */
function findInFile(name: string, directory: string, target: string, seen: Set<string>): Finding {
    if (!fs.existsSync(name)) {
        return "no";
    }
    const file = fs.realpathSync(name);
    if (seen.has(file)) {
        return "no";
    }
    seen.add(file);
    // What is elsewhere on this machine is not the source's, and reading a device or a named pipe may never end.
    const stat = fs.statSync(file);
    if (!file.startsWith(path.join(directory, path.sep)) || !stat.isFile() || stat.size > largestFile) {
        return "unknown";
    }
    const lines = fs.readFileSync(file, "utf8").replace(/\\\n/g, " ").split("\n");
    const findings = lines.map((line) => findInLine(line, directory, target, seen));
    return strongest(findings);
}

function findInLine(line: string, directory: string, target: string, seen: Set<string>): Finding {
    if (/^\s*\$[({](eval|call|foreach)\b/.test(line)) {
        return "unknown";
    }
    const include = /^\s*[-s]?include\s+([^#]*)/.exec(line);
    if (include) {
        const names = (include[1] ?? "").split(/\s+/).filter((name) => name !== "");
        if (names.some((name) => /[$*?[%]/.test(name))) {
            return "unknown";
        }
        const findings = names.map((name) => findInFile(path.resolve(directory, name), directory, target, seen));
        return strongest(findings);
    }
    // `a b: c` and `a:: c` are rules; `a := c`, `a ::= c` and recipe lines are not.
    const rule = /^([^\t#=:][^#=:]*)::?(?![:=])/.exec(line);
    if (!rule || /^\s*(\.PHONY|export|override|define)\b/.test(line)) {
        return "no";
    }
    const targets = (rule[1] ?? "").trim().split(/\s+/);
    if (targets.includes(target)) {
        return "yes";
    }
    return targets.some((name) => name.includes("$") || name === "%") ? "unknown" : "no";
}

/** Of several places to look: found in one is found, and what one leaves open stays open. */
function strongest(findings: readonly Finding[]): Finding {
    return findings.includes("yes") ? "yes" : findings.includes("unknown") ? "unknown" : "no";
}
