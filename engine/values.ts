/**
 * Property values, in the one form that the engine uses throughout: the JSON form of Pulumi's wire protocol. Plain JSON,
 * but for these, which are marked by a signature or a sentinel:
 *
 * - a secret is `{ <sig>: secretSig, value }`; in a checkpoint `{ <sig>: secretSig, ciphertext }`;
 * - a value not known in a preview is the string `unknown`;
 * - assets, archives and resource references are objects with a signature of their own.
 *
 * The constants are those of `@pulumi/pulumi/runtime/rpc` (sdk/go/common/resource/properties.go).
 */
export type Value = null | boolean | number | string | readonly Value[] | PropertyMap;

/** A resource's inputs or outputs, or any nested object. */
export interface PropertyMap {
    readonly [key: string]: Value;
}

export const signatureKey = "4dabf18193072939515e22adb298388d";
const secretSignature = "1b47061264138c4ac30d75fd1eb44270";
const resourceSignature = "5cf8f73096256a8f31e491e813e4eb8e";
const assetSignature = "c44067f5952c0a294b673a41bacd8c17";
const archiveSignature = "0def7320c3a5731c473e5ecbe6d01bc7";

/** Stands for a value that is not known yet. */
export const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

export interface Secret extends PropertyMap {
    readonly value: Value;
}

export function isObject(value: Value | undefined): value is PropertyMap {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isArray(value: Value | undefined): value is readonly Value[] {
    return Array.isArray(value);
}

/** A string, or undefined for anything else and for an unknown. */
export function asString(value: Value | undefined): string | undefined {
    const plain = unwrap(value);
    return typeof plain === "string" && plain !== unknown ? plain : undefined;
}

export function isSecret(value: Value | undefined): value is Secret {
    return isObject(value) && value[signatureKey] === secretSignature;
}

export function secret(value: Value): Value {
    return isSecret(value) ? value : { [signatureKey]: secretSignature, value };
}

/** A secret as a checkpoint has it. */
export function sealed(ciphertext: string): PropertyMap {
    return { [signatureKey]: secretSignature, ciphertext };
}

/** The ciphertext of a checkpoint's secret; the plain text where the checkpoint was exported with its secrets shown. */
export function sealOf(value: PropertyMap): { readonly ciphertext?: string; readonly plaintext?: string } {
    const { ciphertext, plaintext } = value;
    return {
        ...(typeof ciphertext === "string" ? { ciphertext } : {}),
        ...(typeof plaintext === "string" ? { plaintext } : {}),
    };
}

/** A file or text asset, as a checkpoint and the wire have it. */
export function fileAsset(path: string, hash: string): PropertyMap {
    return { [signatureKey]: assetSignature, hash, path };
}

/** An archive made of named assets. */
export function assetArchive(assets: PropertyMap): PropertyMap {
    return { [signatureKey]: archiveSignature, assets };
}

/** The value without the secret around it, if there is one. */
export function unwrap(value: Value | undefined): Value | undefined {
    return isSecret(value) ? unwrap(value.value) : value;
}

/** The object without some of its properties. */
export function omit<T extends object, K extends keyof T>(object: T, ...keys: readonly K[]): Omit<T, K> {
    return Object.fromEntries(
        Object.entries(object).filter(([key]) => !(keys as readonly string[]).includes(key)),
    ) as Omit<T, K>;
}

/** A deep copy with every object's and array's leaves mapped; `map` sees a value before its children. */
export function transform(value: Value, map: (value: Value) => Value | undefined): Value {
    const replaced = map(value);
    if (replaced !== undefined) {
        return replaced;
    }
    if (isArray(value)) {
        return value.map((element) => transform(element, map));
    }
    if (isObject(value)) {
        return mapValues(value, (element) => transform(element, map));
    }
    return value;
}

export function mapValues(object: PropertyMap, map: (value: Value, key: string) => Value): PropertyMap {
    return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value, key)]));
}

/** Without any secret wrappers, at any depth. */
export function withoutSecrets(value: PropertyMap): PropertyMap;
export function withoutSecrets(value: Value): Value;
export function withoutSecrets(value: Value): Value {
    return transform(value, (element) => (isSecret(element) ? withoutSecrets(element.value) : undefined));
}

/** For people to read: `[secret]` for every secret. */
export function redacted(value: Value): Value {
    return transform(value, (element) =>
        isSecret(element) ? "[secret]" : element === unknown ? "[unknown]" : undefined,
    );
}

/** Resource references as providers want them: a custom resource's id, a component's URN. */
export function withoutReferences(value: PropertyMap): PropertyMap {
    return transform(value, (element) => {
        if (!isObject(element) || element[signatureKey] !== resourceSignature) {
            return undefined;
        }
        const { id, urn } = element;
        return id === "" ? unknown : (id ?? urn ?? null);
    }) as PropertyMap;
}

export function some(value: Value | undefined, test: (value: Value) => boolean): boolean {
    if (value === undefined) {
        return false;
    }
    if (test(value)) {
        return true;
    }
    if (isArray(value)) {
        return value.some((element) => some(element, test));
    }
    return isObject(value) && Object.values(value).some((element) => some(element, test));
}

export function containsUnknowns(value: Value | undefined): boolean {
    return some(value, (element) => element === unknown);
}

export function containsSecrets(value: Value | undefined): boolean {
    return some(value, isSecret);
}

export function isUnsupportedValue(value: Value): boolean {
    const signature = isObject(value) ? value[signatureKey] : undefined;
    const known = [secretSignature, resourceSignature, assetSignature, archiveSignature];
    return signature !== undefined && !(typeof signature === "string" && known.includes(signature));
}

/** Structural equality; an absent property and one that is undefined are the same. */
export function equal(a: Value | undefined, b: Value | undefined): boolean {
    if (a === b) {
        return true;
    }
    if (isArray(a)) {
        return isArray(b) && a.length === b.length && a.every((element, index) => equal(element, b[index]));
    }
    if (!isObject(a) || !isObject(b)) {
        return false;
    }
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => key in b && equal(a[key], b[key]));
}

/** How one property differs; replacing it needs a new resource. */
export interface PropertyDiff {
    readonly kind: "add" | "delete" | "update";
    readonly replace?: boolean;
}

export type PathElement = string | number;

/**
 * The differences between two values, by path (`a.b[0]`). Secretness alone makes no difference, and neither does null
 * beside absent, as in the CLI.
 */
export function diffPaths(olds: PropertyMap, news: PropertyMap): ReadonlyMap<string, PropertyDiff> {
    const found = new Map<string, PropertyDiff>();
    const visit = (before: Value | undefined, after: Value | undefined, path: readonly PathElement[]): void => {
        const [a, b] = [unwrap(before) ?? undefined, unwrap(after) ?? undefined];
        if (a === undefined || b === undefined) {
            if (a !== b) {
                found.set(formatPath(path), { kind: a === undefined ? "add" : "delete" });
            }
        } else if (isArray(a) && isArray(b)) {
            for (let index = 0; index < Math.max(a.length, b.length); index++) {
                visit(a[index], b[index], [...path, index]);
            }
        } else if (isObject(a) && isObject(b)) {
            for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
                visit(a[key], b[key], [...path, key]);
            }
        } else if (a !== b || a === unknown) {
            found.set(formatPath(path), { kind: "update" });
        }
    };
    visit(olds, news, []);
    return found;
}

export function formatPath(path: readonly PathElement[]): string {
    return path.reduce<string>((text, element) => {
        if (typeof element === "number") {
            return `${text}[${element}]`;
        }
        if (/^[^.[\]"]+$/.test(element)) {
            return text === "" ? element : `${text}.${element}`;
        }
        return `${text}[${JSON.stringify(element)}]`;
    }, "");
}

/** Parses `root.nested["name.with.dots"][0].*`; undefined where it is no property path. */
export function parsePath(text: string): readonly PathElement[] | undefined {
    const path: PathElement[] = [];
    const pattern = /\.?([^.[\]"]+)|\[(\d+|\*)\]|\["((?:[^"\\]|\\.)*)"\]/y;
    while (pattern.lastIndex < text.length) {
        const match = pattern.exec(text);
        if (!match) {
            return undefined;
        }
        const [, name, index, quoted] = match;
        path.push(
            name ?? (index === undefined ? (quoted ?? "").replace(/\\(.)/g, "$1") : index === "*" ? "*" : +index),
        );
    }
    return path;
}

/** Whether `path` is at or below `pattern`, in which `*` stands for any one element. */
export function pathContains(pattern: readonly PathElement[], path: readonly PathElement[]): boolean {
    return (
        pattern.length <= path.length &&
        pattern.every((element, i) => element === "*" || String(element) === String(path[i]))
    );
}

/**
 * `news` with everything at `path` set back to what it is in `olds`: the rule of `ignoreChanges`. Elements that only one
 * of the two has cannot be set back where a container on the way is missing; those stay as they are.
 */
export function resetPath(
    olds: Value | undefined,
    news: Value | undefined,
    path: readonly PathElement[],
): Value | undefined {
    const [head, ...rest] = path;
    if (head === undefined) {
        return olds;
    }
    if (isSecret(news)) {
        const inner = resetPath(unwrap(olds), news.value, path);
        return inner === undefined ? undefined : secret(inner);
    }
    const before = unwrap(olds);
    if (isArray(news) && isArray(before)) {
        return news.map((element, index) =>
            head === "*" || Number(head) === index ? (resetPath(before[index], element, rest) ?? element) : element,
        );
    }
    if (isObject(news) && isObject(before)) {
        const keys = head === "*" ? new Set([...Object.keys(news), ...Object.keys(before)]) : [String(head)];
        const result: Record<string, Value> = { ...news };
        for (const key of keys) {
            if (rest.length > 0 && !(key in before)) {
                continue;
            }
            const value = resetPath(before[key], news[key], rest);
            if (value === undefined) {
                Reflect.deleteProperty(result, key);
            } else {
                result[key] = value;
            }
        }
        return result;
    }
    return news;
}

/** `outputs` with those marked secret whose inputs are. */
export function annotateSecrets(outputs: PropertyMap, inputs: PropertyMap): PropertyMap {
    return mapValues(outputs, (output, key) => {
        const input = inputs[key];
        if (isObject(output) && isObject(input) && !isSecret(output) && !isSecret(input)) {
            return annotateSecrets(output, input);
        }
        return containsSecrets(input) && output !== null ? secret(output) : output;
    });
}

/** Every text that is secret, at any depth. */
export function secretTexts(value: PropertyMap): readonly string[] {
    const texts: string[] = [];
    some(value, (element) => {
        if (isSecret(element)) {
            some(element.value, (inner) => {
                if (typeof inner === "string" && inner !== unknown) {
                    texts.push(inner);
                }
                return false;
            });
        }
        return false;
    });
    return texts;
}
