import { UserError } from "../contract/errors";
import { digestReference, dnsLabel, quantity, reservedVariable } from "../contract/patterns";
import type { Reader } from "./reader";

/** A server that builds are tested with: a message broker, an object store. */
export interface Dependency {
    /** By digest. */
    readonly image: string;
    /** Instead of what the image runs. */
    readonly command: readonly string[];
    /** At least one; the first is told as `KE1_DEPENDENCY_<NAME>_PORT`. */
    readonly ports: readonly number[];
    readonly env: Readonly<Record<string, string>>;
    /** What ends with 0 once it is ready; empty: it is when its first port takes connections. */
    readonly readiness: readonly string[];
    readonly cpu: string;
    readonly memory: string;
}

export interface DependencySettings {
    /** By name. */
    readonly dependencies: Readonly<Record<string, Dependency>>;
    /** Those that a single build has while it runs. */
    readonly needs: readonly string[];
}

/** A part of the names of a Deployment and a variable. */
const namePattern = /^[a-z][a-z0-9-]{0,29}$/;
const keys = ["image", "command", "ports", "env", "readiness", "cpu", "memory"];

/** @throws UserError, one line */
export function readDependencies(read: Reader): DependencySettings {
    let given: unknown;
    try {
        given = JSON.parse(read.text("dependencies", "{}"));
    } catch {
        given = undefined;
    }
    if (!isMapping(given)) {
        throw new UserError("dependencies must be a mapping of names to {image, ports, ...}");
    }
    const dependencies = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, readOne(name, value)]));
    const needs = read.listMatching("needs", dnsLabel, "the name of one of dependencies");
    checkNeeds("needs", needs, dependencies);
    return { dependencies, needs };
}

/** @throws UserError for a name that is no dependency's */
export function checkNeeds(
    where: string,
    needs: readonly string[],
    dependencies: DependencySettings["dependencies"],
): void {
    const unknown = needs.find((name) => !Object.hasOwn(dependencies, name));
    if (unknown !== undefined) {
        const known = Object.keys(dependencies).join(", ") || "none";
        throw new UserError(`${where} names ${unknown}, which is none of dependencies; there are: ${known}`);
    }
}

function readOne(name: string, value: unknown): Dependency {
    const where = `dependencies: ${name}`;
    if (!namePattern.test(name)) {
        throw new UserError(`${where} is no name for a dependency: a-z, 0-9 and -, at most 30, a letter first`);
    }
    if (!isMapping(value)) {
        throw new UserError(`${where} must be a mapping with image and ports`);
    }
    const unknown = Object.keys(value).find((key) => !keys.includes(key));
    if (unknown !== undefined) {
        throw new UserError(`${where} has no key ${unknown}; it may have: ${keys.join(", ")}`);
    }
    const { image, ports, env = {}, cpu = "50m", memory = "256Mi" } = value;
    if (typeof image !== "string" || !digestReference.test(image)) {
        throw new UserError(`${where}: image must be by digest: repository@sha256:…`);
    }
    const isPort = (port: unknown) => typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65_536;
    if (!Array.isArray(ports) || ports.length === 0 || !ports.every(isPort)) {
        throw new UserError(`${where}: ports must be a list of one or more numbers from 1 to 65535`);
    }
    if (!isMapping(env) || Object.entries(env).some(([key, text]) => reservedVariable.test(key) || !isScalar(text))) {
        throw new UserError(`${where}: env must be a mapping of names, none of them ke1's own, to texts`);
    }
    for (const amount of [cpu, memory]) {
        if (typeof amount !== "string" || !quantity.test(amount)) {
            throw new UserError(`${where}: cpu and memory must be quantities such as 100m and 256Mi`);
        }
    }
    return {
        image,
        command: words(value["command"], `${where}: command`),
        ports: ports as readonly number[],
        env: Object.fromEntries(Object.entries(env).map(([key, text]) => [key, String(text)])),
        readiness: words(value["readiness"], `${where}: readiness`),
        cpu: String(cpu),
        memory: String(memory),
    };
}

function words(value: unknown, where: string): readonly string[] {
    if (value === undefined) {
        return [];
    }
    if (!Array.isArray(value) || value.length === 0 || !value.every((word) => typeof word === "string")) {
        throw new UserError(`${where} must be a list of words`);
    }
    return value;
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isScalar(value: unknown): value is string | number | boolean {
    return ["string", "number", "boolean"].includes(typeof value);
}
