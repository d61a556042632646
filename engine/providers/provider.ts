import { UserError } from "../../contract/errors";
import type { PropertyDiff, PropertyMap } from "../values";

export type Severity = "debug" | "info" | "warning" | "error";

/** What a call of a provider is about, and what it may use. */
export interface CallContext {
    readonly urn: string;
    readonly type: string;
    readonly name: string;
    /** Nothing may be changed; inputs may contain unknowns. */
    readonly preview: boolean;
    /** Aborted when the user wants the deployment to end. */
    readonly signal: AbortSignal;
    /** Seconds, from `customTimeouts`. */
    readonly timeout?: number;
    /** The project's directory: what relative paths are relative to. */
    readonly directory: string;
    readonly environment: NodeJS.ProcessEnv;
    /** A line for the user; an ephemeral one may be lost. */
    log(severity: Severity, message: string, ephemeral?: boolean): void;
}

export interface CheckFailure {
    readonly property?: string;
    readonly reason: string;
}

export interface CheckResult {
    readonly inputs: PropertyMap;
    readonly failures?: readonly CheckFailure[];
}

export interface DiffResult {
    /** By property path; those that need a new resource say so. Empty where there is nothing to do. */
    readonly paths: ReadonlyMap<string, PropertyDiff>;
    readonly deleteBeforeReplace?: boolean;
}

export interface OldState {
    readonly id: string;
    readonly inputs: PropertyMap;
    readonly outputs: PropertyMap;
}

export interface CreateResult {
    /** Absent in a preview. */
    readonly id?: string;
    readonly outputs: PropertyMap;
}

export interface ReadResult {
    readonly id: string;
    readonly inputs: PropertyMap;
    readonly outputs: PropertyMap;
}

/** What manages the resources of a package; after `pulumi.dynamic.ResourceProvider`. Inputs come with their secrets marked. */
export interface Provider {
    /** @param olds the inputs of the resource there is; undefined for a new one. */
    check(context: CallContext, olds: PropertyMap | undefined, news: PropertyMap): Promise<CheckResult>;
    diff(context: CallContext, old: OldState, news: PropertyMap): Promise<DiffResult>;
    create(context: CallContext, inputs: PropertyMap): Promise<CreateResult>;
    update(context: CallContext, old: OldState, news: PropertyMap): Promise<{ readonly outputs: PropertyMap }>;
    delete(context: CallContext, old: OldState): Promise<void>;
    /** The resource as it is now; undefined where there is none. */
    read(context: CallContext, old: OldState): Promise<ReadResult | undefined>;
    invoke?(context: CallContext, token: string, args: PropertyMap): Promise<PropertyMap>;
    /**
     * Looks for a resource whose creation was interrupted before its id was known.
     *
     * @returns undefined where it was not created; `"unknown"` where there is no telling.
     */
    recover?(context: CallContext, inputs: PropertyMap): Promise<ReadResult | undefined | "unknown">;
    close?(): void;
}

/** A package of resource types. */
export interface ProviderPackage {
    /** Whether the package has this type; `token` is a resource type or a function. */
    supports(token: string): boolean;
    checkConfig?(config: PropertyMap): readonly CheckFailure[];
    /** What the package's own provider adds to its configuration in the state. */
    readonly addedConfig?: PropertyMap;
    /** The properties of the configuration whose change means that everything is elsewhere now. */
    replacingConfig?(olds: PropertyMap, news: PropertyMap): readonly string[];
    open(config: PropertyMap, environment: NodeJS.ProcessEnv): Provider;
}

/** The resource is there, but did not become ready: it is kept in the state, with its error. */
export class PartialFailure extends Error {
    public override readonly name = "PartialFailure";

    public constructor(
        public readonly id: string,
        public readonly outputs: PropertyMap,
        public readonly reasons: readonly string[],
    ) {
        super(reasons.join("\n"));
    }
}

export function unsupported(what: string): UserError {
    return new UserError(`${what} is not supported by the embedded engine: use the Pulumi CLI for this program.`);
}
