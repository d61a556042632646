import type { PropertyMap, Value } from "./values";

/** Kept by the engine for each resource: a checkpoint's `resources[]` (apitype.ResourceV3), secrets in the clear. */
export interface ResourceState {
    readonly urn: string;
    readonly type: string;
    readonly custom: boolean;
    readonly id?: string;
    readonly inputs: PropertyMap;
    readonly outputs: PropertyMap;
    readonly parent?: string;
    readonly provider?: string;
    readonly dependencies?: readonly string[];
    readonly propertyDependencies?: Readonly<Record<string, readonly string[]>>;
    /** Replaced, and to be deleted. */
    readonly delete?: boolean;
    /** Deleted, and to be created again. */
    readonly pendingReplacement?: boolean;
    readonly protect?: boolean;
    readonly retainOnDelete?: boolean;
    /** Read by `.get`: not ours to change or delete. */
    readonly external?: boolean;
    readonly deletedWith?: string;
    readonly initErrors?: readonly string[];
    readonly additionalSecretOutputs?: readonly string[];
    readonly ignoreChanges?: readonly string[];
    readonly replaceOnChanges?: readonly string[];
    readonly customTimeouts?: CustomTimeouts;
    readonly created?: string;
    readonly modified?: string;
    /** Whatever else the CLI has put there; carried along untouched. */
    readonly [other: string]: unknown;
}

/** Seconds. */
export interface CustomTimeouts {
    readonly create?: number;
    readonly update?: number;
    readonly delete?: number;
}

export type OperationType = "creating" | "updating" | "deleting" | "reading";

/** An operation that was under way when its process ended. */
export interface PendingOperation {
    readonly type: OperationType;
    readonly resource: ResourceState;
}

/** A stack's state after a deployment: its resources in dependency order. */
export interface Snapshot {
    readonly resources: readonly ResourceState[];
    readonly pendingOperations: readonly PendingOperation[];
}

export const stackType = "pulumi:pulumi:Stack";
const providerPrefix = "pulumi:providers:";

export function isProviderType(type: string): boolean {
    return type.startsWith(providerPrefix);
}

/** Whether a provider is one that the program does not declare. */
export function isDefaultProvider(urn: string): boolean {
    return isProviderType(typeOf(urn)) && nameOf(urn).startsWith("default");
}

/** `kubernetes` for `pulumi:providers:kubernetes` and for `kubernetes:core/v1:Pod`. */
export function packageOf(type: string): string {
    return isProviderType(type) ? type.slice(providerPrefix.length) : (type.split(":")[0] ?? type);
}

export function providerTypeOf(packageName: string): string {
    return providerPrefix + packageName;
}

/** `urn:pulumi:<stack>::<project>::<qualified type>::<name>`, the qualified type being the parents' types joined by `$`. */
export function makeUrn(
    stack: string,
    project: string,
    parent: string | undefined,
    type: string,
    name: string,
): string {
    const parentType = parent === undefined ? "" : qualifiedTypeOf(parent);
    const qualified = parentType === "" || parentType === stackType ? type : `${parentType}$${type}`;
    return `urn:pulumi:${stack}::${project}::${qualified}::${name}`;
}

export function qualifiedTypeOf(urn: string): string {
    return urn.split("::")[2] ?? "";
}

export function typeOf(urn: string): string {
    return qualifiedTypeOf(urn).split("$").at(-1) ?? "";
}

export function nameOf(urn: string): string {
    return urn.split("::").slice(3).join("::");
}

/** The URN in a provider reference, `<urn>::<id>`. */
export function providerUrnOf(reference: string): string {
    return reference.slice(0, reference.lastIndexOf("::"));
}

/** The URNs that a resource must not outlive: what it depends on in any way. */
export function dependenciesOf(state: ResourceState): ReadonlySet<string> {
    const urns = new Set(state.dependencies ?? []);
    for (const dependencies of Object.values(state.propertyDependencies ?? {})) {
        dependencies.forEach((urn) => urns.add(urn));
    }
    for (const urn of [state.parent, state.deletedWith, state.provider && providerUrnOf(state.provider)]) {
        if (urn) {
            urns.add(urn);
        }
    }
    urns.delete(state.urn);
    return urns;
}

/** What a program asks for: a `RegisterResource` request. */
export interface Goal {
    readonly type: string;
    readonly name: string;
    readonly custom: boolean;
    readonly parent?: string;
    readonly inputs: PropertyMap;
    readonly provider?: string;
    readonly dependencies: readonly string[];
    readonly propertyDependencies: Readonly<Record<string, readonly string[]>>;
    readonly protect?: boolean;
    readonly retainOnDelete?: boolean;
    readonly deleteBeforeReplace?: boolean;
    readonly deletedWith?: string;
    readonly ignoreChanges: readonly string[];
    readonly replaceOnChanges: readonly string[];
    readonly additionalSecretOutputs: readonly string[];
    readonly aliases: readonly Alias[];
    readonly customTimeouts?: CustomTimeouts;
}

/** A URN that a resource had before, whole or by what of it was different. */
export type Alias =
    | { readonly urn: string }
    | {
          readonly name?: string;
          readonly type?: string;
          readonly stack?: string;
          readonly project?: string;
          readonly parent?: string;
          readonly noParent?: boolean;
      };

export type Outputs = Readonly<Record<string, Value>>;
