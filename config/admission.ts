import * as fs from "node:fs";
import * as os from "node:os";

import { syntaxError } from "../admission/cel";
import type { UserRule } from "../admission/judge";
import { nodesOf, parseNodeSize } from "../admission/nodeSizes";
import { UserError } from "../contract/errors";
import type { Reader } from "./reader";

/** What is turned away before it runs. */
export interface AdmissionSettings {
    /** Whether the stack declares the rules in the cluster too, which takes rights on all of it. */
    readonly inCluster: boolean;
    /** As the rules take it; empty where it is not known what the cluster's nodes offer. */
    readonly nodes: string;
    readonly rules: readonly UserRule[];
}

/** @param isEmbedded whether the cluster is the embedded platform's: the user is its administrator, and this machine its node */
export function readAdmission(read: Reader, isEmbedded: boolean): AdmissionSettings {
    const sizes = read.list("nodeSizes").map(parseNodeSize);
    const known = sizes.length > 0 ? sizes : isEmbedded ? [thisMachine()] : [];
    return {
        inCluster: read.flag("admission", isEmbedded),
        nodes: nodesOf(known),
        rules: readRules(read),
    };
}

/** What kubelet finds on this machine (https://github.com/google/cadvisor/blob/master/machine/info.go). */
function thisMachine(): Readonly<Record<string, string>> {
    const [, kibibytes = String(Math.floor(os.totalmem() / 1024))] =
        /^MemTotal:\s*(\d+) kB$/m.exec(fs.readFileSync("/proc/meminfo", "utf8")) ?? [];
    return { cpu: String(os.cpus().length), memory: `${kibibytes}Ki` };
}

function readRules(read: Reader): readonly UserRule[] {
    const value = read.text("admissionRules", "[]");
    const items = parsed(value);
    if (!Array.isArray(items)) {
        throw new UserError(`admissionRules must be a list of {expression, message}; it is \`${value}\``);
    }
    return items.map((item: unknown, index) => readRule(item, `admissionRules[${index}]`));
}

function readRule(item: unknown, name: string): UserRule {
    const { expression, message, ...more } = (item ?? {}) as Readonly<Record<string, unknown>>;
    if (!isLine(expression, 16_384) || !isLine(message, 5_120) || Object.keys(more).length > 0) {
        throw new UserError(
            `${name} must have an \`expression\` in CEL and a \`message\` that says what is wrong and what to do, of one line each, and nothing else`,
        );
    }
    const wrong = syntaxError(expression);
    if (wrong !== undefined) {
        throw new UserError(`${name} is no expression in CEL: ${wrong}: \`${expression}\``);
    }
    return { expression, message };
}

function isLine(value: unknown, longest: number): value is string {
    return typeof value === "string" && value.trim() !== "" && value.length <= longest && !/[\n\r]/.test(value);
}

function parsed(text: string): unknown {
    try {
        return JSON.parse(text) as unknown;
    } catch {
        return undefined;
    }
}
