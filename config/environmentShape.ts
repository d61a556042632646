import { UserError } from "../contract/errors";
import { digestReference, dnsLabel, quantity as quantityPattern, reservedVariable } from "../contract/patterns";
import { amountOf } from "./memory";

/** One of `environments`, as it is written: every key may be absent, and `null` removes what is extended. */
export interface Environment {
    readonly extends?: string;
    readonly image?: string;
    readonly command?: readonly string[];
    readonly args?: readonly string[];
    readonly workingDirectory?: string;
    readonly env?: Readonly<Record<string, string | null>>;
    readonly resources?: {
        readonly cpuRequest?: string;
        readonly cpuLimit?: string;
        readonly memoryRequest?: string;
        readonly memoryLimit?: string;
    };
    readonly volumes?: Readonly<Record<string, EnvironmentVolume | null>>;
    readonly security?: SecuritySettings;
    readonly required?: boolean;
    readonly onBuildEnd?: "file" | "terminate";
}

/** A volume of a pod and where it is mounted. Neither `configMap` nor `secret`: an empty directory that lives with the pod. */
export interface EnvironmentVolume {
    readonly path: string;
    readonly configMap?: string;
    readonly secret?: string;
    readonly sizeLimit?: string;
    readonly readOnly?: boolean;
}

/** What can be made tighter, or another user; nothing here makes a container less than `restricted`. */
export interface SecuritySettings {
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
    readonly readOnlyRootFilesystem?: boolean;
}

type Check<T> = (where: string, value: unknown) => T;

/** Shorter than a label: the volume's name in the pod has a prefix. */
const volumeName = /^[a-z0-9]([-a-z0-9]{0,53}[a-z0-9])?$/;
const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Whatever is in a pod's environment is in the stack's state and in the cluster's records too. */
const credentialName = /(^|_)(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|PRIVATE_KEY|API_?KEY|ACCESS_KEY|CREDENTIALS?)$/i;

const quantity = matching(quantityPattern, "a quantity such as 500m or 2Gi");
const words: Check<readonly string[]> = (where, value) => {
    if (!Array.isArray(value) || value.length === 0 || !value.every((word) => typeof word === "string")) {
        throw new UserError(`${where} must be a list of words; it is ${shown(value)}`);
    }
    return value;
};
const flag: Check<boolean> = (where, value) => {
    if (typeof value !== "boolean") {
        throw new UserError(`${where} must be true or false; it is ${shown(value)}`);
    }
    return value;
};
const id: Check<number> = (where, value) => {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1 || value > 2 ** 31 - 1) {
        throw new UserError(
            `${where} must be a whole number from 1 on, as builds never run as root; it is ${shown(value)}`,
        );
    }
    return value;
};

/** @throws UserError, one line, that names the place, for the first thing that cannot be. */
export function checkedEnvironment(where: string, value: unknown): Environment {
    return shape(where, value, {
        extends: matching(dnsLabel, "the name of another environment"),
        image: matching(digestReference, "an image by digest: repository@sha256:…"),
        command: words,
        args: words,
        workingDirectory: absolutePath,
        env: named(variableName, "the name of a variable", variable),
        resources,
        volumes: named(volumeName, "a name of a-z, 0-9 and -, at most 55", volume),
        security,
        required: flag,
        onBuildEnd: (place, given) => {
            if (given !== "file" && given !== "terminate") {
                throw new UserError(`${place} must be file or terminate; it is ${shown(given)}`);
            }
            return given;
        },
    });
}

function resources(where: string, value: unknown): Environment["resources"] {
    return shape(where, value, {
        cpuRequest: quantity,
        cpuLimit: quantity,
        memoryRequest: quantity,
        memoryLimit: quantity,
    });
}

/** @throws UserError where an environment, with all that it extends, asks for more than it may have, or for one place twice. */
export function checkWhole(where: string, { resources: asked = {}, volumes = {} }: Environment): void {
    for (const [request, limit] of [
        ["cpuRequest", "cpuLimit"],
        ["memoryRequest", "memoryLimit"],
    ] as const) {
        const [least, most] = [asked[request], asked[limit]];
        if (least !== undefined && most !== undefined && amountOf(least) > amountOf(most)) {
            throw new UserError(`${where}.resources.${request} (${least}) must not be more than ${limit} (${most})`);
        }
    }
    const mounted = new Map<string, string>();
    for (const [name, given] of Object.entries(volumes)) {
        const before = given && mounted.get(given.path);
        if (before !== undefined && before !== null) {
            throw new UserError(`${where}.volumes.${name}.path is that of the volume ${before} too`);
        }
        if (given) {
            mounted.set(given.path, name);
        }
    }
}

function security(where: string, value: unknown): SecuritySettings {
    return shape(where, value, { runAsUser: id, runAsGroup: id, readOnlyRootFilesystem: flag });
}

function variable(where: string, value: unknown): string {
    const name = where.slice(where.lastIndexOf(".") + 1);
    if (reservedVariable.test(name)) {
        throw new UserError(`${where} cannot be set: builds are given it`);
    }
    if (credentialName.test(name)) {
        throw new UserError(
            `${where} looks like a credential: it would be in the stack's state and for all to see in the cluster; ` +
                "mount a Secret instead (volumes), in an init container or a sidecar",
        );
    }
    if (typeof value !== "string" || value.includes("\0")) {
        throw new UserError(`${where} must be text (in quotes, if it looks like a number); it is ${shown(value)}`);
    }
    return value;
}

function volume(where: string, value: unknown): EnvironmentVolume {
    const read = shape(where, value, {
        path: absolutePath,
        configMap: matching(dnsLabel, "the name of a ConfigMap in the namespace"),
        secret: matching(dnsLabel, "the name of a Secret in the namespace"),
        sizeLimit: quantity,
        readOnly: flag,
    });
    if (read.path === undefined) {
        throw new UserError(`${where}.path is not set; it must be where the volume is mounted`);
    }
    const kinds = [read.configMap, read.secret, read.sizeLimit].filter((kind) => kind !== undefined);
    if (kinds.length > 1) {
        throw new UserError(`${where} must be one of configMap, secret, or an empty directory with a sizeLimit`);
    }
    return { ...read, path: read.path };
}

/** Not where the system's own files or the program's volumes are. */
function absolutePath(where: string, value: unknown): string {
    const isPath = typeof value === "string" && /^(\/[^/\0:]+)+$/.test(value) && !/\/\.\.?(\/|$)/.test(value);
    if (!isPath || /^\/(ke1|proc|sys|dev)(\/|$)/.test(value)) {
        throw new UserError(
            `${where} must be an absolute path, without \`..\`, and not in /ke1, /proc, /sys or /dev; it is ${shown(value)}`,
        );
    }
    return value;
}

function matching(pattern: RegExp, meaning: string): Check<string> {
    return (where, value) => {
        if (typeof value !== "string" || !pattern.test(value)) {
            throw new UserError(`${where} must be ${meaning}; it is ${shown(value)}`);
        }
        return value;
    };
}

/** An object with these keys and no others; none of them is needed. */
function shape<T extends Readonly<Record<string, unknown>>>(
    where: string,
    value: unknown,
    checks: { readonly [K in keyof T]: Check<T[K]> },
): { readonly [K in keyof T]?: T[K] } {
    const read: { [K in keyof T]?: T[K] } = {};
    for (const [key, given] of Object.entries(objectOf(where, value))) {
        if (!Object.hasOwn(checks, key)) {
            throw new UserError(`${where}.${key} is no key; there are ${Object.keys(checks).join(", ")}`);
        }
        read[key as keyof T] = checks[key as keyof T](`${where}.${key}`, given);
    }
    return read;
}

/** An object whose keys are names of one kind; `null` stands for what is to be removed. */
function named<T>(pattern: RegExp, meaning: string, check: Check<T>): Check<Readonly<Record<string, T | null>>> {
    return (where, value) =>
        Object.fromEntries(
            Object.entries(objectOf(where, value)).map(([name, given]) => {
                if (!pattern.test(name)) {
                    throw new UserError(`${where}.${name} must be ${meaning}`);
                }
                return [name, given === null ? null : check(`${where}.${name}`, given)];
            }),
        );
}

function objectOf(where: string, value: unknown): Readonly<Record<string, unknown>> {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw new UserError(`${where} must be an object; it is ${shown(value)}`);
    }
    return value as Readonly<Record<string, unknown>>;
}

function shown(value: unknown): string {
    const text = JSON.stringify(value);
    return `\`${text.length > 100 ? `${text.slice(0, 100)}…` : text}\``;
}
