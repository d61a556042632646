import { randomUUID } from "node:crypto";
import { UserError } from "../contract/errors";
import {
    unsupported,
    type CallContext,
    type CheckResult,
    type CreateResult,
    type DiffResult,
    type OldState,
} from "./providers/provider";
import type { Provider, ProviderPackage, ReadResult } from "./providers/provider";
import { nameOf, packageOf, providerUrnOf, type ResourceState } from "./state";
import {
    containsUnknowns,
    diffPaths,
    mapValues,
    type PropertyDiff,
    type PropertyMap,
    unknown,
    withoutSecrets,
} from "./values";

/**
 * The providers of a deployment. A provider is a resource of its own (`pulumi:providers:<package>`), whose inputs are its
 * configuration; this is what creates, changes and deletes such resources, and finds the provider for a reference
 * `<urn>::<id>`.
 */
export class ProviderRegistry implements Provider {
    private readonly instances = new Map<string, Provider>();

    public constructor(
        private readonly packages: ReadonlyMap<string, ProviderPackage>,
        private readonly environment: NodeJS.ProcessEnv,
        /** Looks a provider resource up in the state. */
        private readonly stateOf: (urn: string, id: string) => ResourceState | undefined,
    ) {}

    /** @throws UserError where the type is not one of those that the engine has. */
    public requireType(token: string): ProviderPackage {
        const found = this.packages.get(packageOf(token));
        if (found === undefined || !(token.startsWith("pulumi:providers:") || found.supports(token))) {
            throw unsupported(`The resource type or function ${token}`);
        }
        return found;
    }

    /** The provider of a resource; of one in the state, with the configuration that the state has. */
    public get(reference: string): Provider {
        const found = this.instances.get(reference);
        if (found !== undefined) {
            return found;
        }
        const urn = providerUrnOf(reference);
        const id = reference.slice(urn.length + 2);
        const state = this.stateOf(urn, id);
        if (state === undefined) {
            throw new UserError(
                `There is no provider ${nameOf(urn)} for the reference ${reference} in the program or the state.`,
            );
        }
        return this.configure(reference, state.type, state.inputs);
    }

    /** Makes the provider of a resource known under its reference. */
    public configure(reference: string, type: string, inputs: PropertyMap): Provider {
        this.instances.get(reference)?.close?.();
        const provider = this.requireType(type).open(withoutSecrets(configOf(inputs)), this.environment);
        this.instances.set(reference, provider);
        return provider;
    }

    public close(): void {
        this.instances.forEach((provider) => provider.close?.());
        this.instances.clear();
    }

    public check(context: CallContext, olds: PropertyMap | undefined, news: PropertyMap): Promise<CheckResult> {
        const found = this.requireType(context.type);
        const failures = found.checkConfig?.(withoutSecrets(configOf(news))) ?? [];
        // What the CLI's own provider has put there stays: it may be of another build than the one that is known here.
        const added = mapValues(found.addedConfig ?? {}, (value, key) => olds?.[key] ?? value);
        return Promise.resolve({ inputs: { ...news, ...added }, failures });
    }

    public diff(context: CallContext, old: OldState, news: PropertyMap): Promise<DiffResult> {
        const paths = new Map<string, PropertyDiff>(diffPaths(configOf(old.inputs), configOf(news)));
        for (const path of this.replacing(context.type, old.inputs, news)) {
            paths.set(path, { kind: "update", replace: true });
        }
        return Promise.resolve({ paths });
    }

    /** The properties that make another provider of this one, so that its resources must be replaced. */
    public replacing(type: string, olds: PropertyMap, news: PropertyMap): readonly string[] {
        const [before, after] = [withoutSecrets(configOf(olds)), withoutSecrets(configOf(news))];
        return diffPaths(before, after).size === 0
            ? []
            : (this.requireType(type).replacingConfig?.(before, after) ?? []);
    }

    public create(context: CallContext, inputs: PropertyMap): Promise<CreateResult> {
        const id = context.preview ? unknown : randomUUID();
        this.configure(`${context.urn}::${id}`, context.type, inputs);
        return Promise.resolve({ ...(context.preview ? {} : { id }), outputs: configOf(inputs) });
    }

    public update(context: CallContext, old: OldState, news: PropertyMap): Promise<{ readonly outputs: PropertyMap }> {
        this.configure(`${context.urn}::${old.id}`, context.type, news);
        return Promise.resolve({ outputs: configOf(news) });
    }

    public delete(): Promise<void> {
        return Promise.resolve();
    }

    public read(_context: CallContext, old: OldState): Promise<ReadResult> {
        return Promise.resolve(old);
    }
}

/** The configuration proper: `__internal` is the engine's. */
function configOf(inputs: PropertyMap): PropertyMap {
    return Object.fromEntries(Object.entries(inputs).filter(([key]) => key !== "__internal"));
}

/** Whether a provider cannot be asked yet, in a preview, because its configuration is not known. */
export function isUnconfigured(inputs: PropertyMap): boolean {
    return containsUnknowns(inputs);
}
