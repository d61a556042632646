import { createHash } from "node:crypto";
import { UserError } from "../contract/errors";
import { organization, type StackReference } from "./backend";
import type { Crypter } from "./secrets";
import type { CustomTimeouts, OperationType, PendingOperation, ResourceState, Snapshot } from "./state";
import {
    containsSecrets,
    equal,
    isSecret,
    type PropertyMap,
    sealed,
    sealOf,
    secret,
    transform,
    type Value,
    withoutSecrets,
} from "./values";

/** The version of the Pulumi SDK whose state format this is; it goes into the checkpoint's manifest. */
export const formatVersion = "v3.270.0";

/** A checkpoint file (apitype.VersionedCheckpoint with CheckpointV3), as far as the engine looks at it. */
interface VersionedCheckpoint {
    readonly version: number;
    readonly features?: readonly string[];
    readonly checkpoint: { readonly stack: string; readonly latest?: Deployment };
}

/** What `pulumi stack export` prints (apitype.UntypedDeployment). */
export interface ExportedDeployment {
    readonly version: number;
    readonly features?: readonly string[];
    readonly deployment?: Deployment;
}

export interface Deployment {
    readonly manifest?: unknown;
    readonly secrets_providers?: { readonly type: string; readonly state?: { readonly salt?: string } };
    readonly resources?: readonly SerializedResource[];
    readonly pending_operations?: readonly { readonly resource: SerializedResource; readonly type: OperationType }[];
    readonly [other: string]: unknown;
}

/** A resource in JSON: its secrets sealed, its empty fields left out. */
export type SerializedResource = Readonly<Record<string, unknown>> & { readonly urn: string; readonly type: string };

/**
 * Reads a checkpoint file.
 *
 * @throws UserError where its version or a feature it uses is not supported.
 */
export function parseCheckpoint(content: string): Deployment {
    const { version, features, checkpoint } = JSON.parse(content) as VersionedCheckpoint;
    requireSupported(version, features);
    return checkpoint.latest ?? {};
}

export function requireSupported(version: number, features: readonly string[] | undefined): void {
    if (version < 3 || version > 4 || (version === 4 && (features ?? []).length > 0)) {
        const used = (features ?? []).length > 0 ? ` with ${(features ?? []).join(", ")}` : "";
        throw new UserError(
            `The stack's state has format version ${version}${used}, which the embedded engine does not support: use the Pulumi CLI.`,
        );
    }
}

export function formatCheckpoint({ project, stack }: StackReference, deployment: Deployment): string {
    const versioned: VersionedCheckpoint = {
        version: 3,
        checkpoint: { stack: `${organization}/${project}/${stack}`, latest: deployment },
    };
    return JSON.stringify(versioned);
}

export function formatDeployment(
    salt: string | undefined,
    resources: readonly SerializedResource[],
    pending: readonly { readonly resource: SerializedResource; readonly type: OperationType }[],
): Deployment {
    return {
        manifest: {
            time: new Date().toISOString(),
            magic: createHash("sha256").update(formatVersion).digest("hex"),
            version: formatVersion,
        },
        ...(salt === undefined ? {} : { secrets_providers: { type: "passphrase", state: { salt } } }),
        ...(resources.length > 0 ? { resources } : {}),
        ...(pending.length > 0 ? { pending_operations: pending } : {}),
        metadata: {},
    };
}

/** Whether reading the deployment needs the stack's passphrase. */
export function hasCiphertexts(content: string): boolean {
    return content.includes('"ciphertext"');
}

/**
 * Seals and unseals the secrets of resources. A secret that has not changed keeps the ciphertext it was read with, so that
 * a state does not change where nothing did.
 */
export class ResourceCodec {
    private readonly ciphertexts = new WeakMap<object, string>();

    private opened: Crypter | undefined;

    /** @param unlock derives the key; called once, when the first secret is to be sealed or unsealed. */
    public constructor(private readonly unlock: () => Promise<Crypter>) {}

    /** To be awaited before secrets of a checkpoint are decoded; without it, they stay sealed. */
    public async open(): Promise<void> {
        this.opened ??= await this.unlock();
    }

    /** To be awaited before a resource is encoded. */
    public async prepare(state: ResourceState): Promise<void> {
        if (this.opened === undefined && (containsSecrets(state.inputs) || containsSecrets(state.outputs))) {
            await this.open();
        }
    }

    public decodeSnapshot(deployment: Deployment): Snapshot {
        return {
            resources: (deployment.resources ?? []).map((resource) => this.decode(resource)),
            pendingOperations: (deployment.pending_operations ?? []).map(({ resource, type }): PendingOperation => ({
                type,
                resource: this.decode(resource),
            })),
        };
    }

    public decode(resource: SerializedResource): ResourceState {
        const { inputs, outputs, customTimeouts, ...rest } = resource as SerializedResource & {
            readonly inputs?: PropertyMap;
            readonly outputs?: PropertyMap;
            readonly customTimeouts?: CustomTimeouts;
        };
        return {
            custom: false,
            ...rest,
            inputs: this.unseal(inputs ?? {}) as PropertyMap,
            outputs: this.unseal(outputs ?? {}) as PropertyMap,
            ...(customTimeouts ? { customTimeouts } : {}),
        };
    }

    public encode(state: ResourceState): SerializedResource {
        const entries = Object.entries(state).flatMap(([key, value]): [string, unknown][] => {
            if (key === "inputs" || key === "outputs") {
                const properties = value as PropertyMap;
                return isEmpty(properties) ? [] : [[key, this.seal(properties)]];
            }
            // As the CLI's `omitempty`: `custom` alone is there in any case.
            return key !== "custom" && (!value || isEmpty(value)) ? [] : [[key, value]];
        });
        return Object.fromEntries(entries) as SerializedResource;
    }

    private seal(value: Value): Value {
        if (!containsSecrets(value)) {
            return value;
        }
        return transform(value, (element) => {
            if (!isSecret(element)) {
                return undefined;
            }
            let ciphertext = this.ciphertexts.get(element);
            if (ciphertext === undefined) {
                ciphertext = this.requireCrypter().encrypt(JSON.stringify(withoutSecrets(element.value)));
                this.ciphertexts.set(element, ciphertext);
            }
            return sealed(ciphertext);
        });
    }

    private unseal(value: Value): Value {
        return transform(value, (element) => {
            if (!isSecret(element)) {
                return undefined;
            }
            const { ciphertext, plaintext } = sealOf(element);
            if (plaintext !== undefined) {
                return secret(withoutSeals(JSON.parse(plaintext) as Value));
            }
            const crypter = this.opened;
            if (crypter === undefined || ciphertext === undefined) {
                return element;
            }
            const opened = secret(withoutSeals(JSON.parse(crypter.decrypt(ciphertext)) as Value)) as PropertyMap;
            this.ciphertexts.set(opened, ciphertext);
            return opened;
        });
    }

    private requireCrypter(): Crypter {
        if (this.opened === undefined) {
            throw new Error("A secret was to be stored before the stack's passphrase was known.");
        }
        return this.opened;
    }
}

/** Secrets within a secret are not encrypted again: their `ciphertext` is plain JSON. */
function withoutSeals(value: Value): Value {
    return transform(value, (element) => {
        if (!isSecret(element)) {
            return undefined;
        }
        const { ciphertext, plaintext } = sealOf(element);
        const text = plaintext ?? ciphertext;
        return text === undefined ? null : withoutSeals(JSON.parse(text) as Value);
    });
}

function isEmpty(value: unknown): boolean {
    return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

/** Whether two resources are the same in the file; the order of their fields does not matter. */
export function isSame(a: SerializedResource, b: SerializedResource): boolean {
    return (
        equal(a as PropertyMap, b as PropertyMap) ||
        // What is undefined is not in the file.
        JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
    );
}

function sorted(value: unknown): unknown {
    if (Array.isArray(value)) {
        return value.map(sorted);
    }
    if (typeof value !== "object" || value === null) {
        return value;
    }
    return Object.fromEntries(
        Object.entries(value)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, element]) => [key, sorted(element)]),
    );
}
