import { messageOf, UserError } from "../contract/errors";
import { ProviderRegistry } from "./providerRegistry";
import type { ProviderPackage } from "./providers/provider";
import type { SnapshotManager } from "./snapshot";
import {
    dependenciesOf,
    type Goal,
    isProviderType,
    packageOf,
    providerTypeOf,
    type ResourceState,
    type Snapshot,
    stackType,
} from "./state";
import { type ExecutorOptions, StepExecutor } from "./stepExecutor";
import { StepGenerator } from "./stepGenerator";
import { DeploymentStopped, type Step } from "./steps";
import { equal, type PropertyMap, secret, unknown, withoutReferences } from "./values";

export interface DeploymentOptions extends ExecutorOptions {
    readonly stack: string;
    readonly project: string;
    readonly packages: ReadonlyMap<string, ProviderPackage>;
    /** Values of the configuration by `<package>:<name>`: what default providers are configured with. */
    readonly config: Readonly<Record<string, string>>;
    readonly secretKeys: readonly string[];
}

/** A registration as the monitor passes it on: the program may leave the provider to us. */
export interface Registration {
    readonly goal: Goal;
    /** The package's version, which names the default provider. */
    readonly version?: string;
    /** Providers by package, which a component passes on to what is in it. */
    readonly providers: Readonly<Record<string, string>>;
}

/**
 * One deployment of a stack: takes what the program registers, has the steps for it decided on and done, and in the end
 * deletes what is no more. One `Deployment` is used for one command.
 */
export class Deployment {
    public readonly executor: StepExecutor;
    private readonly generator: StepGenerator;
    private readonly registry: ProviderRegistry;
    private readonly base: Snapshot;
    /** The resources that have been registered, as they are now. */
    private readonly news = new Map<string, ResourceState>();
    private readonly componentProviders = new Map<string, Readonly<Record<string, string>>>();
    private readonly defaultProviders = new Map<string, Promise<string>>();

    /** @param snapshot keeps the state; in a preview it is only read. */
    public constructor(
        private readonly options: DeploymentOptions,
        private readonly snapshot: SnapshotManager,
    ) {
        this.base = snapshot.base;
        this.registry = new ProviderRegistry(options.packages, options.environment, (urn, id) =>
            this.base.resources.find((resource) => resource.urn === urn && resource.id === id),
        );
        this.executor = new StepExecutor(options, options.preview ? undefined : snapshot, this.registry);
        const { stack, project } = options;
        this.generator = new StepGenerator(stack, project, this.base, this.registry, this.executor);
    }

    /** The stack's own resource, once the program has registered it. */
    public get root(): ResourceState | undefined {
        return [...this.news.values()].find(({ type }) => type === stackType);
    }

    /** Does what a registration asks for, and answers with the resource as it is then. */
    public async register(registration: Registration): Promise<ResourceState> {
        const goal = await this.withProvider(registration);
        const urn = this.generator.urnOf(goal);
        const state = await this.perform(urn, () => this.generator.generate(goal));
        if (!goal.custom) {
            this.componentProviders.set(state.urn, registration.providers);
        }
        return state;
    }

    /** Reads a resource that is not of this stack (`.get`). */
    public async read(registration: Registration, id: string): Promise<ResourceState> {
        const goal = await this.withProvider(registration);
        const urn = this.generator.urnOf(goal);
        return this.perform(urn, () => Promise.resolve([this.generator.generateRead(goal, id)]));
    }

    /** What a component, or the stack, says it has brought about. */
    public async registerOutputs(urn: string, outputs: PropertyMap): Promise<void> {
        const state = this.news.get(urn);
        if (state === undefined) {
            throw new UserError(`Outputs were registered for ${urn}, which is not a resource of the program.`);
        }
        if (equal(state.outputs, outputs)) {
            return;
        }
        const now = { ...state, outputs };
        if (!this.options.preview) {
            await this.snapshot.change({ mark: { old: state, now } });
        }
        this.executor.supersede(state, now);
        this.news.set(urn, now);
    }

    /** The resource of a reference, for the program (`pulumi:pulumi:getResource`). */
    public resource(urn: string): ResourceState | undefined {
        return this.news.get(urn);
    }

    public async invoke(
        token: string,
        args: PropertyMap,
        provider: string,
        version: string | undefined,
    ): Promise<PropertyMap> {
        const found = this.registry.requireType(token);
        const reference = provider || (await this.defaultProvider(packageOf(token), version));
        const instance = this.registry.get(reference);
        if (!found.supports(token) || instance.invoke === undefined) {
            throw new UserError(
                `The function ${token} is not supported by the embedded engine: use the Pulumi CLI for this program.`,
            );
        }
        const urn = this.root?.urn ?? "";
        return instance.invoke(this.executor.context({ urn, type: token }), token, withoutReferences(args));
    }

    /** Deletes whatever is left of the state that was not registered: after the program, or without one. */
    public async deleteRest(): Promise<void> {
        let steps: readonly Step[];
        try {
            steps = this.generator.generateDeletes();
        } catch (error) {
            this.executor.fail(undefined, error);
            throw new DeploymentStopped(messageOf(error), { cause: error });
        }
        await this.inReverse(steps);
    }

    /** Reads every resource of the state, and forgets those that are gone. */
    public async refresh(): Promise<void> {
        const steps = this.base.resources
            .filter(({ delete: condemned }) => !condemned)
            .map((old): Step => ({ op: "refresh", urn: old.urn, type: old.type, old }));
        const results = await Promise.allSettled(steps.map((step) => this.executor.run(step)));
        const gone = new Set(
            steps.filter(({ old }) => old && this.executor.live(old) === undefined).map(({ urn }) => urn),
        );
        if (gone.size > 0 && !this.options.preview) {
            await this.forgetDependencies(gone);
        }
        this.throwStopped(results);
    }

    /**
     * Deals with operations that were under way when an earlier process ended. One that was to create something is looked
     * for: where it is there, it becomes a resource of the state. Of the others, the resource is read anew, since there is
     * no telling how far they came.
     */
    public async resolvePending(): Promise<void> {
        const pending = [...this.base.pendingOperations.entries()];
        await Promise.all(
            pending.map(([index, { type, resource }]) =>
                type === "creating" ? this.resolveCreation(index, resource) : this.resolveChange(index, resource),
            ),
        );
    }

    private async resolveCreation(index: number, resource: ResourceState): Promise<void> {
        const provider = this.executor.providerOf(resource);
        const context = this.executor.context(resource);
        const found = provider?.recover ? await provider.recover(context, resource.inputs) : "unknown";
        if (found === "unknown") {
            context.log(
                "warning",
                "An earlier run was interrupted while it created this resource; it is created again.",
            );
        }
        if (found === undefined || found === "unknown") {
            await this.snapshot.resolveEarlier(index, {});
            return;
        }
        const { id, outputs } = found;
        const adopted: ResourceState = { ...resource, id, outputs, created: new Date().toISOString() };
        const old = this.generator.old(resource.urn);
        // It was to replace one that is still in the state: that one is deleted at the end, unless it is gone already.
        const isGone = old === undefined || old.pendingReplacement === true || old.id === id;
        const replaced = isGone ? undefined : { ...old, delete: true };
        await this.snapshot.resolveEarlier(index, {
            put: adopted,
            ...(old === undefined ? {} : replaced === undefined ? { drop: old } : { mark: { old, now: replaced } }),
        });
        if (old !== undefined) {
            this.executor.supersede(old, replaced);
        }
        this.generator.adopt(adopted);
    }

    private async resolveChange(index: number, resource: ResourceState): Promise<void> {
        const { urn, type } = resource;
        const old = this.base.resources.find((candidate) => candidate.urn === urn && candidate.id === resource.id);
        if (old !== undefined && !old.pendingReplacement) {
            const now = await this.executor.run({ op: "refresh", urn, type, old });
            if (!old.delete) {
                this.generator.adopt(now, urn);
            }
        }
        await this.snapshot.resolveEarlier(index, {});
    }

    public close(): void {
        this.registry.close();
    }

    private async perform(urn: string, generate: () => Promise<readonly Step[]>): Promise<ResourceState> {
        if (this.executor.stopped) {
            throw new DeploymentStopped("The deployment is ending.");
        }
        let steps: readonly Step[];
        try {
            steps = await generate();
        } catch (error) {
            this.executor.fail(urn, error);
            throw new DeploymentStopped(messageOf(error), { cause: error });
        }
        let state: ResourceState | undefined;
        for (const step of steps) {
            state = await this.executor.run(step);
        }
        if (state === undefined) {
            throw new Error(`No step for ${urn} makes a resource.`);
        }
        this.news.set(state.urn, state);
        return state;
    }

    private async withProvider({ goal, version, providers }: Registration): Promise<Goal> {
        if (!goal.custom) {
            return goal;
        }
        const inputs = withoutReferences(goal.inputs);
        if (isProviderType(goal.type)) {
            // The key and the version are what the CLI puts there.
            return { ...goal, inputs: { ...inputs, __internal: {}, ...(version ? { version } : {}) } };
        }
        const packageName = packageOf(goal.type);
        const inherited =
            goal.parent === undefined ? undefined : this.componentProviders.get(goal.parent)?.[packageName];
        const provider =
            goal.provider ?? providers[packageName] ?? inherited ?? (await this.defaultProvider(packageName, version));
        return { ...goal, inputs, provider };
    }

    /** A provider that the program does not declare is made from the configuration of its package. */
    private async defaultProvider(packageName: string, version: string | undefined): Promise<string> {
        const name = version ? `default_${version.replace(/[^A-Za-z0-9]/g, "_")}` : "default";
        const key = `${packageName}::${name}`;
        let reference = this.defaultProviders.get(key);
        if (reference === undefined) {
            reference = this.registerDefaultProvider(packageName, name, version);
            this.defaultProviders.set(key, reference);
        }
        return reference;
    }

    private async registerDefaultProvider(
        packageName: string,
        name: string,
        version: string | undefined,
    ): Promise<string> {
        const prefix = `${packageName}:`;
        const config = Object.entries(this.options.config)
            .filter(([key]) => key.startsWith(prefix))
            .map(([key, value]) => [
                key.slice(prefix.length),
                this.options.secretKeys.includes(key) ? secret(value) : value,
            ]);
        const goal: Goal = {
            type: providerTypeOf(packageName),
            name,
            custom: true,
            inputs: Object.fromEntries(config) as PropertyMap,
            dependencies: [],
            propertyDependencies: {},
            ignoreChanges: [],
            replaceOnChanges: [],
            additionalSecretOutputs: [],
            aliases: [],
        };
        const { urn, id } = await this.register({ goal, providers: {}, ...(version ? { version } : {}) });
        return `${urn}::${id ?? unknown}`;
    }

    /** Runs deletions, each when all that depends on it is gone. */
    private async inReverse(steps: readonly Step[]): Promise<void> {
        const deleted = new Set(steps.map(({ urn }) => urn));
        const dependents = new Map<string, Promise<unknown>[]>();
        const runs: Promise<unknown>[] = [];
        // In the state, what a resource depends on comes before it; so its dependents are behind it.
        for (const step of [...steps].reverse()) {
            const withoutProvider = step.old !== undefined && StepGenerator.goesWith(step.old, deleted);
            const before = Promise.all(dependents.get(step.urn) ?? []);
            const run = before.then(() => this.executor.run(withoutProvider ? { ...step, withoutProvider } : step));
            runs.push(run);
            for (const urn of step.old ? dependenciesOf(step.old) : []) {
                const waiting = dependents.get(urn);
                if (waiting === undefined) {
                    dependents.set(urn, [run]);
                } else {
                    waiting.push(run);
                }
            }
        }
        this.throwStopped(await Promise.allSettled(runs));
    }

    /** Drops dependencies on resources that a refresh found to be gone. */
    private async forgetDependencies(gone: ReadonlySet<string>): Promise<void> {
        const keep = (urns: readonly string[]): readonly string[] => urns.filter((urn) => !gone.has(urn));
        for (const resource of this.base.resources) {
            const state = this.executor.live(resource);
            if (state === undefined || ![...dependenciesOf(state)].some((urn) => gone.has(urn))) {
                continue;
            }
            const { deletedWith, ...rest } = state;
            const propertyDependencies = Object.fromEntries(
                Object.entries(state.propertyDependencies ?? {}).map(([key, urns]) => [key, keep(urns)]),
            );
            const now = {
                ...rest,
                dependencies: keep(state.dependencies ?? []),
                propertyDependencies,
                ...(deletedWith && !gone.has(deletedWith) ? { deletedWith } : {}),
            } as ResourceState;
            await this.snapshot.change({ mark: { old: state, now } });
            this.executor.supersede(resource, now);
        }
    }

    private throwStopped(results: readonly PromiseSettledResult<unknown>[]): void {
        const failed = results.find((result) => result.status === "rejected");
        if (failed !== undefined) {
            throw failed.reason;
        }
    }
}
