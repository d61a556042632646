import { Environment, ParseError } from "@marcbachmann/cel-js";

import { firstLineOf } from "../contract/errors";
import { Quantity } from "../contract/quantity";

/**
 * The language of the cluster's admission rules (https://kubernetes.io/docs/reference/using-api/cel/), evaluated here: what
 * the specification of CEL has, and of Kubernetes' own functions those on quantities, strings and lists. `request`,
 * `authorizer` and `namespaceObject` are the cluster's alone.
 */
const environment = new Environment({ enableOptionalTypes: true, homogeneousAggregateLiterals: false })
    .registerVariable("object", "dyn")
    .registerVariable("oldObject", "dyn")
    .registerVariable("variables", "dyn")
    .registerType("Quantity", Quantity)
    .registerFunction("quantity(string): Quantity", quantity)
    .registerFunction("isQuantity(string): bool", (text: string) => Quantity.parse(text) !== undefined)
    .registerFunction("Quantity.compareTo(Quantity): int", (a: Quantity, b: Quantity) => a.compare(b))
    .registerFunction("Quantity.isLessThan(Quantity): bool", (a: Quantity, b: Quantity) => a.compare(b) < 0n)
    .registerFunction("Quantity.isGreaterThan(Quantity): bool", (a: Quantity, b: Quantity) => a.compare(b) > 0n)
    .registerFunction("Quantity.sign(): int", (a: Quantity) => a.compare(quantity("0")))
    .registerFunction("Quantity.add(Quantity): Quantity", (a: Quantity, b: Quantity) => a.add(b))
    .registerFunction("Quantity.sub(Quantity): Quantity", (a: Quantity, b: Quantity) => a.subtract(b))
    .registerFunction("Quantity.add(int): Quantity", (a: Quantity, b: bigint) => a.add(quantity(String(b))))
    .registerFunction("Quantity.sub(int): Quantity", (a: Quantity, b: bigint) => a.subtract(quantity(String(b))))
    .registerFunction("Quantity.isInteger(): bool", (a: Quantity) => a.asInteger() !== undefined)
    .registerFunction("Quantity.asInteger(): int", (a: Quantity) => a.asInteger() ?? fail("the quantity is not whole"))
    .registerFunction("Quantity.asApproximateFloat(): double", (a: Quantity) => a.asNumber())
    .registerFunction("string.find(string): string", (text: string, regex: string) => text.match(regex)?.[0] ?? "")
    .registerFunction("string.replace(string, string): string", (text: string, from: string, to: string) =>
        text.replaceAll(from, () => to),
    )
    .registerFunction("list.sum(): dyn", (list: readonly (number | bigint)[]) => sum(list))
    .registerFunction("list.min(): dyn", (list: readonly (number | bigint)[]) => least(list, (a, b) => a < b))
    .registerFunction("list.max(): dyn", (list: readonly (number | bigint)[]) => least(list, (a, b) => a > b))
    .registerFunction("list.indexOf(dyn): int", (list: readonly unknown[], what: unknown) => BigInt(list.indexOf(what)))
    .registerFunction("list.isSorted(): bool", (list: readonly (number | bigint | string)[]) =>
        list.every((item, index) => index === 0 || (list[index - 1] ?? item) <= item),
    );

function quantity(text: string): Quantity {
    return Quantity.parse(text) ?? fail(`${JSON.stringify(text)} is no quantity`);
}

function sum(list: readonly (number | bigint)[]): number | bigint {
    return list.every((item) => typeof item === "bigint")
        ? list.reduce((total, item) => total + item, 0n)
        : list.reduce<number>((total, item) => total + Number(item), 0);
}

function least(
    list: readonly (number | bigint)[],
    isBetter: (a: number | bigint, b: number | bigint) => boolean,
): number | bigint {
    const [first = fail("the list is empty"), ...others] = list;
    return others.reduce((best, item) => (isBetter(item, best) ? item : best), first);
}

function fail(message: string): never {
    throw new Error(message);
}

/** What an expression can name. */
export interface Scope {
    readonly object: unknown;
    readonly variables: Readonly<Record<string, unknown>>;
}

/** @throws with the reason in the first line of its message */
export function evaluate(expression: string, scope: Scope): unknown {
    return environment.evaluate(expression, { ...scope, oldObject: null });
}

/** Why the expression cannot be one anywhere; undefined where it is well formed. */
export function syntaxError(expression: string): string | undefined {
    try {
        environment.parse(expression);
        return undefined;
    } catch (error) {
        // What the cluster alone has, such as a function, is no error of syntax.
        return error instanceof ParseError ? firstLineOf(error) : undefined;
    }
}

/** Why the expression cannot be judged here: it names what the cluster alone has. Undefined where it can. */
export function notKnownHere(expression: string): string | undefined {
    const { valid, error } = environment.check(expression);
    return valid ? undefined : firstLineOf(error);
}

/** A value as the cluster's rules see it: whole numbers are `int`, what is undefined is not there. */
export function asCel(value: unknown): unknown {
    if (typeof value === "number") {
        return Number.isSafeInteger(value) ? BigInt(value) : value;
    }
    if (Array.isArray(value)) {
        return value.map(asCel);
    }
    if (typeof value !== "object" || value === null) {
        return value;
    }
    const members = Object.entries(value).filter(([, inner]) => inner !== undefined && inner !== null);
    return Object.fromEntries(members.map(([key, inner]) => [key, asCel(inner)]));
}
