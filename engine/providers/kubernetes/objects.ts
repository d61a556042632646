import { randomBytes } from "node:crypto";
import {
    annotateSecrets,
    asString,
    containsUnknowns,
    diffPaths,
    equal,
    isArray,
    isObject,
    isSecret,
    mapValues,
    omit,
    parsePath,
    pathContains,
    type PathElement,
    type PropertyDiff,
    type PropertyMap,
    secret,
    unknown,
    unwrap,
    type Value,
    withoutSecrets,
} from "../../values";
import { forceNewPaths } from "./forceNew";

/** A Kubernetes object, or the inputs for one; no secret is marked in it. */
export type KubeObject = PropertyMap;

const autonamed = "pulumi.com/autonamed";

export function metadataOf(object: PropertyMap): PropertyMap {
    const metadata = unwrap(object.metadata);
    return isObject(metadata) ? metadata : {};
}

export function nameOfObject(object: PropertyMap): string | undefined {
    return asString(metadataOf(object).name);
}

export function namespaceOf(object: PropertyMap): string | undefined {
    return asString(metadataOf(object).namespace) || undefined;
}

export function kindOf(object: PropertyMap): { readonly apiVersion: string; readonly kind: string } {
    return { apiVersion: asString(object.apiVersion) ?? "", kind: asString(object.kind) ?? "" };
}

export function annotationOf(object: PropertyMap, name: string): string | undefined {
    const annotations = unwrap(metadataOf(object).annotations);
    return isObject(annotations) ? asString(annotations[name]) : undefined;
}

/** `<namespace>/<name>`, or the name alone of what is in no namespace. */
export function idOf(object: PropertyMap): string {
    const namespace = namespaceOf(object);
    const name = nameOfObject(object) ?? "";
    return namespace === undefined ? name : `${namespace}/${name}`;
}

export function parseId(id: string): { readonly namespace?: string; readonly name: string } {
    const separator = id.indexOf("/");
    return separator < 0 ? { name: id } : { namespace: id.slice(0, separator), name: id.slice(separator + 1) };
}

export function withMetadata(object: PropertyMap, changes: PropertyMap): PropertyMap {
    return { ...object, metadata: { ...metadataOf(object), ...changes } };
}

/**
 * An object that is not named gets a name: that of the one there is, if that was made up too, else `<resource>-<8 hex>`.
 * The annotation says so, since such an object can be replaced without deleting the old one first.
 */
export function withName(news: PropertyMap, olds: PropertyMap | undefined, resourceName: string): PropertyMap {
    const metadata = unwrap(news.metadata);
    if (metadata === unknown || (isObject(metadata) && unwrap(metadata.name))) {
        return news;
    }
    const given = metadataOf(news);
    const adopted = olds && isAutonamed(olds) ? nameOfObject(olds) : undefined;
    const annotations = unwrap(given.annotations);
    return withMetadata(news, {
        name: adopted ?? `${resourceName}-${randomBytes(4).toString("hex")}`,
        ...(annotations === unknown
            ? {}
            : { annotations: { ...(isObject(annotations) ? annotations : {}), [autonamed]: "true" } }),
    });
}

export function isAutonamed(object: PropertyMap): boolean {
    return annotationOf(object, autonamed) === "true";
}

/** Fields that only the server sets. */
const serverFields = new Set([
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
]);

/** What to send to the server. */
export function toApply(inputs: PropertyMap): KubeObject {
    const object = omit(renameKeys(withoutSecrets(inputs), /^x_kubernetes_/, "_", "-") as PropertyMap, "status");
    return { ...object, metadata: withoutServerFields(metadataOf(object)) };
}

function withoutServerFields(metadata: PropertyMap): PropertyMap {
    return Object.fromEntries(Object.entries(metadata).filter(([key]) => !serverFields.has(key)));
}

/** The schema extensions of a CRD have dashes that the property names of the SDK cannot have. */
function renameKeys(value: Value, pattern: RegExp, from: string, to: string): Value {
    if (isArray(value)) {
        return value.map((element) => renameKeys(element, pattern, from, to));
    }
    if (!isObject(value)) {
        return value;
    }
    return Object.fromEntries(
        Object.entries(value).map(([key, element]) => [
            pattern.test(key) ? key.replaceAll(from, to) : key,
            renameKeys(element, pattern, from, to),
        ]),
    );
}

/**
 * A resource's outputs: the live object, what was applied under `__inputs`, by which the next difference is found, and the
 * field manager. The data of Secrets are secret, and whatever is secret in the inputs.
 */
export function toOutputs(inputs: PropertyMap, live: KubeObject, fieldManager: string): PropertyMap {
    const metadata = omit(metadataOf(live), "managedFields");
    const object = renameKeys({ ...live, metadata }, /^x-kubernetes-/, "-", "_") as PropertyMap;
    return {
        ...withSecretData(annotateSecrets(object, inputs)),
        __inputs: withSecretData(inputs),
        __initialApiVersion: asString(inputs.apiVersion) ?? "",
        __fieldManager: fieldManager,
    };
}

/** The data of a Secret are secret, however it was declared. */
export function withSecretData(object: PropertyMap): PropertyMap {
    if (kindOf(object).kind !== "Secret") {
        return object;
    }
    return mapValues(object, (value, key) => (key === "data" || key === "stringData" ? secret(value) : value));
}

/** The inputs that were applied last. */
export function appliedInputs(old: { readonly inputs: PropertyMap; readonly outputs: PropertyMap }): PropertyMap {
    const applied = unwrap(old.outputs.__inputs);
    return withoutSecrets(isObject(applied) ? applied : old.inputs);
}

/**
 * Inputs as they would be, had they brought about the live object: where a value has changed since it was applied, the live
 * one. Values that the server merely writes in another way stay as they were given.
 */
export function liveInputs(inputs: PropertyMap, before: KubeObject, live: KubeObject): PropertyMap {
    const visit = (input: Value, then: Value | undefined, now: Value | undefined): Value | undefined => {
        if (isSecret(input)) {
            const inner = visit(input.value, unwrap(then), unwrap(now));
            return inner === undefined ? undefined : secret(inner);
        }
        const [was, is] = [unwrap(then), unwrap(now)];
        if (is === undefined) {
            // What the server never shows, such as `stringData`, cannot be seen to have changed.
            return was === undefined ? input : undefined;
        }
        if (isObject(input) && isObject(is)) {
            const fields = Object.entries(input).flatMap(([key, element]): [string, Value][] => {
                const value = visit(element, isObject(was) ? was[key] : undefined, is[key]);
                return value === undefined ? [] : [[key, value]];
            });
            return Object.fromEntries(fields);
        }
        if (isArray(input) && isArray(is) && input.length === is.length) {
            return input.map(
                (element, index) => visit(element, isArray(was) ? was[index] : undefined, is[index]) ?? element,
            );
        }
        return was !== undefined && diffPaths({ value: was }, { value: is }).size === 0 ? input : is;
    };
    return visit(inputs, before, live) as PropertyMap;
}

/** The differences between what was applied and what is to be, with those that need a new object. */
export function diffInputs(
    olds: PropertyMap,
    news: PropertyMap,
    mutable: { configMap: boolean; secret: boolean },
): ReadonlyMap<string, PropertyDiff> {
    if (equal(olds, news) && !containsUnknowns(news)) {
        return new Map();
    }
    const [before, after] = [normalized(olds), normalized(news)];
    const patterns = forceNewPaths(kindOf(after), mutable, after.immutable === true || before.immutable === true).map(
        (text) => parsePath(text.slice(1)) ?? [],
    );
    const result = new Map<string, PropertyDiff>();
    for (const [text, change] of diffPaths(before, after)) {
        const path = parsePath(text) ?? [];
        const replaces = patterns.some((pattern) => pathContains(pattern, path) || holds(before, after, pattern, path));
        result.set(text, replaces ? { ...change, replace: true } : change);
    }
    return result;
}

/**
 * Inputs in the form in which equal ones are the same. The CLI's provider keeps them in the server's form, so a stack that it
 * has made has `data` for `stringData`, and `2Gi` for `2048Mi`.
 */
function normalized(inputs: PropertyMap): PropertyMap {
    const object = withoutStringData(withCanonicalQuantities(withoutSecrets(inputs)) as PropertyMap);
    const metadata = withoutServerFields(metadataOf(object));
    const { namespace, ...rest } = metadata;
    return { ...object, metadata: { ...rest, ...(namespace && namespace !== "default" ? { namespace } : {}) } };
}

/** Whether the change at `path`, of a whole branch, holds something at `pattern`. */
function holds(
    before: PropertyMap,
    after: PropertyMap,
    pattern: readonly PathElement[],
    path: readonly PathElement[],
): boolean {
    if (path.length >= pattern.length || !pathContains(pattern.slice(0, path.length), path)) {
        return false;
    }
    const exists = (value: Value | undefined, rest: readonly PathElement[]): boolean => {
        const [head, ...tail] = rest;
        if (value === undefined) {
            return false;
        }
        if (head === undefined) {
            return true;
        }
        if (isArray(value)) {
            return value.some((element) => exists(element, head === "*" ? tail : rest));
        }
        return isObject(value) && exists(value[String(head)], tail);
    };
    const at = (value: Value | undefined, rest: readonly PathElement[]): Value | undefined =>
        rest.reduce<Value | undefined>((inner, element) => {
            if (isArray(inner)) {
                return inner[Number(element)];
            }
            return isObject(inner) ? inner[String(element)] : undefined;
        }, value);
    const tail = pattern.slice(path.length);
    return exists(at(before, path), tail) || exists(at(after, path), tail);
}

export function isFullyKnown(inputs: PropertyMap): boolean {
    return !containsUnknowns(inputs);
}

function withoutStringData(object: PropertyMap): PropertyMap {
    const { stringData } = object;
    if (kindOf(object).kind !== "Secret" || !isObject(stringData)) {
        return object;
    }
    const encoded = mapValues(stringData, (value) =>
        typeof value === "string" && value !== unknown ? Buffer.from(value).toString("base64") : value,
    );
    return { ...omit(object, "stringData"), data: { ...(isObject(object.data) ? object.data : {}), ...encoded } };
}

/** Fields that are quantities, and those that are maps of them. */
const quantityFields = new Set(["sizeLimit", "divisor", "averageValue"]);
const quantityMaps = new Set([
    ...["limits", "requests", "hard", "capacity", "podFixed"],
    ...["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"],
]);

function withCanonicalQuantities(value: Value): Value {
    if (isArray(value)) {
        return value.map(withCanonicalQuantities);
    }
    if (!isObject(value)) {
        return value;
    }
    return mapValues(value, (element, key) => {
        if (quantityFields.has(key)) {
            return canonicalQuantity(element);
        }
        return quantityMaps.has(key) && isObject(element)
            ? mapValues(element, canonicalQuantity)
            : withCanonicalQuantities(element);
    });
}

const quantityFactors: Readonly<Record<string, number>> = {
    ...{ n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
    ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};

/** `1`, `1000m` and `1e0` are one quantity (k8s.io/apimachinery/pkg/api/resource). */
export function canonicalQuantity(value: Value): Value {
    if (typeof value !== "string" && typeof value !== "number") {
        return value;
    }
    const [, number = "", suffix = ""] =
        /^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$/.exec(`${value}`) ?? [];
    const factor = quantityFactors[suffix];
    // Twelve digits are more than any quantity in use has, and fewer than rounding spoils.
    return number === "" || factor === undefined ? value : String(Number((Number(number) * factor).toPrecision(12)));
}
