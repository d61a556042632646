import { UserError } from "../contract/errors";
import type { DiffResult, Provider } from "./providers/provider";
import type { ProviderRegistry } from "./providerRegistry";
import {
    type Alias,
    dependenciesOf,
    type Goal,
    isProviderType,
    makeUrn,
    nameOf,
    providerUrnOf,
    qualifiedTypeOf,
    type ResourceState,
    type Snapshot,
    stackType,
    typeOf,
} from "./state";
import type { StepExecutor } from "./stepExecutor";
import type { Step } from "./steps";
import {
    diffPaths,
    equal,
    omit,
    parsePath,
    pathContains,
    type PropertyDiff,
    type PropertyMap,
    resetPath,
    unknown,
} from "./values";

/** What a resource changes to be the root of: a diff that replaces for a reason of the engine's own. */
function replacedBecauseOf(reason: string): DiffResult {
    return { paths: new Map<string, PropertyDiff>([[reason, { kind: "update", replace: true }]]) };
}

/**
 * Decides what is to be done for a resource that the program registers, from what it asks for and what the state has; and
 * in the end, what is to be deleted. The rules are those of the CLI (pkg/resource/deploy/step_generator.go).
 */
export class StepGenerator {
    /** The resources of the state, by URN, but for those that only wait for their deletion. */
    private readonly olds = new Map<string, ResourceState>();
    /** URNs that have been registered, and the URNs that they had before. */
    private readonly registered = new Map<string, Goal>();
    private readonly aliased = new Map<string, string>();
    private readonly formerUrn = new Map<string, string>();
    /** Old URNs for which steps have been decided on. */
    private readonly operatedOn = new Set<string>();
    private readonly replaced = new Set<string>();
    /** Deleted because something they depend on is deleted before it is replaced; to be created again. */
    private readonly condemned = new Set<string>();
    private readonly providers = new Map<string, ResourceState>();

    /** Old resources that are not in the base: found when the deployment began. */
    private readonly adopted: ResourceState[] = [];

    public constructor(
        private readonly stack: string,
        private readonly project: string,
        private readonly base: Snapshot,
        private readonly registry: ProviderRegistry,
        private readonly executor: StepExecutor,
    ) {
        for (const resource of base.resources) {
            if (!resource.delete) {
                this.olds.set(resource.urn, resource);
            }
        }
    }

    public old(urn: string): ResourceState | undefined {
        return this.olds.get(urn);
    }

    /** Takes a resource for the old one of its URN that was found, or found to be gone, before the program began. */
    public adopt(state: ResourceState | undefined, urn = state?.urn ?? ""): void {
        const before = this.olds.get(urn);
        if (state === undefined) {
            this.olds.delete(urn);
        } else if (state !== before) {
            this.olds.set(urn, state);
            this.adopted.push(state);
        }
    }

    public urnOf(goal: Pick<Goal, "parent" | "type" | "name">): string {
        return makeUrn(this.stack, this.project, goal.parent, goal.type, goal.name);
    }

    /** The steps for a registration; more than one where something is replaced. */
    public async generate(asked: Goal): Promise<readonly Step[]> {
        const goal = this.inherit(asked);
        const urn = this.urnOf(goal);
        if (this.registered.has(urn)) {
            throw new UserError(`Duplicate resource URN '${urn}': try giving it a unique name.`);
        }
        this.registered.set(urn, goal);
        const old = this.findOld(urn, goal);
        const { type } = goal;
        const draft = draftOf(urn, goal, old);
        if (isProviderType(type)) {
            this.providers.set(urn, draft);
        }
        const provider = this.executor.providerOf(draft);
        if (provider !== undefined && !isProviderType(type)) {
            this.registry.requireType(type);
        }
        if (old === undefined) {
            const checked = await this.check(provider, draft, undefined, goal.inputs);
            return [{ op: "create", urn, type, new: checked }];
        }
        this.operatedOn.add(old.urn);
        const fresh = (): Promise<ResourceState> => this.check(provider, draft, undefined, goal.inputs);
        if (this.condemned.has(old.urn)) {
            return [{ op: "create-replacement", urn, type, old, new: await fresh() }];
        }
        if (old.external) {
            return [{ op: "create-replacement", urn, type, old, new: await fresh() }];
        }
        const inputs = this.ignoreChanges(goal, old);
        const checked = await this.check(provider, draft, old.inputs, inputs);
        const diff = await this.diff(provider, goal, old, checked);
        if (this.condemned.has(old.urn)) {
            // Something else has been decided on while the provider was asked.
            return [{ op: "create-replacement", urn, type, old, new: await fresh() }];
        }
        const replace = old.pendingReplacement === true || [...diff.paths.values()].some((change) => change.replace);
        if (replace) {
            return this.replace(goal, old, await fresh(), diff);
        }
        if (diff.paths.size > 0 || (old.initErrors ?? []).length > 0) {
            return [{ op: "update", urn, type, old, new: checked, diff }];
        }
        return [{ op: "same", urn, type, old, new: checked }];
    }

    /** The step for a resource that the program only reads. */
    public generateRead(goal: Goal, id: string): Step {
        const urn = this.urnOf(goal);
        if (this.registered.has(urn)) {
            throw new UserError(`Duplicate resource URN '${urn}': try giving it a unique name.`);
        }
        this.registered.set(urn, goal);
        this.registry.requireType(goal.type);
        const old = this.findOld(urn, goal);
        const draft: ResourceState = { ...draftOf(urn, goal, old), id, external: true };
        if (old === undefined) {
            return { op: "read", urn, type: goal.type, new: draft };
        }
        this.operatedOn.add(old.urn);
        // One of ours that had this name is replaced: it is deleted at the end.
        return { op: "read", urn, type: goal.type, old, new: draft, pendingDelete: !old.external && old.id !== id };
    }

    /**
     * What the program has not registered, and what was replaced.
     *
     * @throws UserError where one of them is protected; nothing has been deleted then.
     */
    public generateDeletes(): readonly Step[] {
        const steps: Step[] = [];
        const seen = new Set<ResourceState>();
        for (const resource of [...this.base.resources, ...this.adopted]) {
            const state = this.executor.live(resource);
            if (state === undefined || seen.has(state)) {
                continue;
            }
            seen.add(state);
            if (this.operatedOn.has(resource.urn) && !state.delete) {
                continue;
            }
            const { urn, type } = state;
            if (state.pendingReplacement) {
                steps.push({ op: "remove-pending-replace", urn, type, old: resource });
            } else {
                steps.push({
                    op: state.external ? "discard" : state.delete ? "delete-replaced" : "delete",
                    urn,
                    type,
                    old: resource,
                });
            }
        }
        const kept = steps.filter(({ op, old }) => op === "delete" && old?.protect === true).map(({ urn }) => urn);
        if (kept.length > 0) {
            throw new UserError(
                `${kept.join(", ")}: cannot be deleted because it is protected; remove \`protect\` from it in the program and run \`up\` first.`,
            );
        }
        return steps;
    }

    /** Whether the resource goes when another one goes (`deletedWith`), which is among `deleted`. */
    public static goesWith(state: ResourceState, deleted: ReadonlySet<string>): boolean {
        return state.deletedWith !== undefined && deleted.has(state.deletedWith);
    }

    private inherit(goal: Goal): Goal {
        const parent = goal.parent === undefined ? undefined : this.registered.get(goal.parent);
        if (parent === undefined) {
            return goal;
        }
        const { protect, retainOnDelete, deletedWith } = { ...parent, ...definedOnly(goal) };
        return {
            ...goal,
            ...(protect === undefined ? {} : { protect }),
            ...(retainOnDelete === undefined ? {} : { retainOnDelete }),
            ...(deletedWith === undefined ? {} : { deletedWith }),
        };
    }

    private findOld(urn: string, goal: Goal): ResourceState | undefined {
        const claimed = this.aliased.get(urn);
        if (claimed !== undefined) {
            throw new UserError(`Duplicate resource '${urn}': it is an alias of '${claimed}' already.`);
        }
        const direct = this.olds.get(urn);
        if (direct !== undefined) {
            return direct;
        }
        for (const alias of this.aliasesOf(goal)) {
            const old = this.olds.get(alias);
            if (old === undefined) {
                continue;
            }
            if (this.registered.has(alias) || this.aliased.has(alias)) {
                throw new UserError(
                    `Duplicate resource alias '${alias}' of '${urn}': another resource has it already.`,
                );
            }
            this.aliased.set(alias, urn);
            this.formerUrn.set(urn, alias);
            return old;
        }
        return undefined;
    }

    /** The URNs that the resource may have had: its own aliases, and those that follow from an alias of its parent. */
    private aliasesOf(goal: Goal): ReadonlySet<string> {
        const { parent, type, name } = goal;
        const aliases = new Set(goal.aliases.map((alias) => this.aliasUrn(goal, alias)));
        const formerParent = parent === undefined ? undefined : this.formerUrn.get(parent);
        if (parent !== undefined && formerParent !== undefined) {
            for (const urn of [makeUrn(this.stack, this.project, parent, type, name), ...aliases]) {
                const childName = nameOf(urn);
                const [parentName, formerName] = [nameOf(parent), nameOf(formerParent)];
                const renamed = childName.startsWith(parentName)
                    ? formerName + childName.slice(parentName.length)
                    : childName;
                aliases.add(makeUrn(this.stack, this.project, formerParent, typeOf(urn), renamed));
            }
        }
        return aliases;
    }

    private aliasUrn(goal: Goal, alias: Alias): string {
        if ("urn" in alias) {
            return alias.urn;
        }
        const asked = alias.parent ?? goal.parent;
        const parent =
            asked === undefined ? undefined : alias.parent === undefined ? asked : (this.formerUrn.get(asked) ?? asked);
        const above =
            alias.noParent === true || (parent !== undefined && qualifiedTypeOf(parent) === stackType)
                ? undefined
                : parent;
        return makeUrn(
            alias.stack ?? this.stack,
            alias.project ?? this.project,
            above,
            alias.type ?? goal.type,
            alias.name ?? goal.name,
        );
    }

    private async check(
        provider: Provider | undefined,
        draft: ResourceState,
        olds: PropertyMap | undefined,
        news: PropertyMap,
    ): Promise<ResourceState> {
        if (provider === undefined) {
            return { ...draft, inputs: news };
        }
        const { inputs, failures } = await provider.check(this.executor.context(draft), olds, news);
        if (failures !== undefined && failures.length > 0) {
            const reasons = failures.map(({ property, reason }) =>
                property ? `property ${property}: ${reason}` : reason,
            );
            throw new UserError(reasons.join("\n"));
        }
        const checked = { ...draft, inputs };
        if (isProviderType(draft.type)) {
            this.providers.set(draft.urn, checked);
        }
        return checked;
    }

    private ignoreChanges(goal: Goal, old: ResourceState): PropertyMap {
        let inputs = goal.inputs;
        for (const text of goal.ignoreChanges) {
            const path = parsePath(text);
            if (path === undefined) {
                throw new UserError(`ignoreChanges of ${goal.name}: ${JSON.stringify(text)} is not a property path.`);
            }
            inputs = (resetPath(old.inputs, inputs, path) ?? {}) as PropertyMap;
        }
        return inputs;
    }

    private async diff(
        provider: Provider | undefined,
        goal: Goal,
        old: ResourceState,
        checked: ResourceState,
    ): Promise<DiffResult> {
        if (goal.deletedWith !== undefined && this.replaced.has(goal.deletedWith)) {
            return replacedBecauseOf("deletedWith");
        }
        if (old.type !== goal.type || old.custom !== goal.custom) {
            return replacedBecauseOf("type");
        }
        if (this.providerChanged(old, checked)) {
            return replacedBecauseOf("provider");
        }
        if (provider === undefined) {
            return { paths: equal(old.inputs, checked.inputs) ? new Map() : diffPaths(old.inputs, checked.inputs) };
        }
        const asked = await provider.diff(this.executor.context(checked), oldState(old), checked.inputs);
        return this.applyOptions(goal.ignoreChanges, goal.replaceOnChanges, asked);
    }

    private applyOptions(ignored: readonly string[], replacing: readonly string[], diff: DiffResult): DiffResult {
        const patterns = (texts: readonly string[]): (readonly (string | number)[])[] =>
            texts.map((text) => parsePath(text)).filter((path) => path !== undefined);
        const [ignore, replace] = [patterns(ignored), patterns(replacing)];
        const paths = new Map<string, PropertyDiff>();
        for (const [text, change] of diff.paths) {
            const path = parsePath(text) ?? [text];
            if (!ignore.some((pattern) => pathContains(pattern, path))) {
                const force = replace.some((pattern) => pathContains(pattern, path));
                paths.set(text, force ? { ...change, replace: true } : change);
            }
        }
        return { ...diff, paths };
    }

    /** Another provider means another place, unless the two differ in what does not matter: their version, say. */
    private providerChanged(old: ResourceState, checked: ResourceState): boolean {
        if (old.provider === checked.provider || (!old.provider && !checked.provider)) {
            return false;
        }
        if (!old.provider || !checked.provider) {
            return true;
        }
        const [before, after] = [providerUrnOf(old.provider), providerUrnOf(checked.provider)];
        if (this.aliased.get(before) === after) {
            return false;
        }
        const [oldProvider, newProvider] = [this.olds.get(before), this.providers.get(after)];
        return (
            oldProvider === undefined ||
            newProvider === undefined ||
            this.registry.replacing(newProvider.type, oldProvider.inputs, newProvider.inputs).length > 0
        );
    }

    private async replace(
        goal: Goal,
        old: ResourceState,
        checked: ResourceState,
        diff: DiffResult,
    ): Promise<readonly Step[]> {
        const { urn, type } = checked;
        if (old.protect === true && goal.protect === true) {
            throw new UserError(
                `Unable to replace ${urn}: it is protected; remove \`protect\` from it in the program, and run \`up\`.`,
            );
        }
        this.replaced.add(urn);
        const creation = { op: "create-replacement", urn, type, old, new: checked, diff } as const;
        if (!(goal.deleteBeforeReplace ?? diff.deleteBeforeReplace ?? false)) {
            return [{ ...creation, pendingDelete: !old.pendingReplacement }];
        }
        const steps: Step[] = [];
        for (const dependent of [...(await this.dependentReplacements(old))].reverse()) {
            if (dependent.protect === true) {
                throw new UserError(`Unable to replace ${urn}: ${dependent.urn}, which depends on it, is protected.`);
            }
            this.condemned.add(dependent.urn);
            this.replaced.add(dependent.urn);
            steps.push({
                op: "delete-replaced",
                urn: dependent.urn,
                type: dependent.type,
                old: dependent,
                pendingReplacement: true,
            });
        }
        if (!old.pendingReplacement) {
            steps.push({ op: "delete-replaced", urn: old.urn, type, old, pendingReplacement: true });
        }
        return [...steps, creation];
    }

    /**
     * The resources that must be deleted before `root` can be: those that depend on it and that their provider would replace
     * if what they have from it became something else.
     */
    private async dependentReplacements(root: ResourceState): Promise<readonly ResourceState[]> {
        const affected = new Set([root.urn]);
        const replaced = new Set([root.urn]);
        const found: ResourceState[] = [];
        const resources = this.base.resources;
        for (const resource of resources.slice(resources.indexOf(root) + 1)) {
            const dependencies = dependenciesOf(omit(resource, "parent") as ResourceState);
            if (![...dependencies].some((urn) => affected.has(urn)) || resource.delete || resource.pendingReplacement) {
                continue;
            }
            affected.add(resource.urn);
            if (this.operatedOn.has(resource.urn) || this.condemned.has(resource.urn)) {
                continue;
            }
            if (await this.wouldBeReplaced(resource, replaced)) {
                replaced.add(resource.urn);
                found.push(resource);
            }
        }
        return found;
    }

    private async wouldBeReplaced(resource: ResourceState, replaced: ReadonlySet<string>): Promise<boolean> {
        if (!resource.custom || resource.external) {
            return false;
        }
        if (resource.provider && replaced.has(providerUrnOf(resource.provider))) {
            return true;
        }
        if (StepGenerator.goesWith(resource, replaced)) {
            return true;
        }
        const changing = Object.entries(resource.propertyDependencies ?? {}).filter(([, urns]) =>
            urns.some((urn) => replaced.has(urn)),
        );
        const keys = new Set(changing.map(([key]) => key));
        if (keys.size === 0) {
            return false;
        }
        const inputs = Object.fromEntries(
            Object.entries(resource.inputs).map(([key, value]) => [key, keys.has(key) ? unknown : value]),
        );
        const provider = this.executor.providerOf(resource);
        const asked = await provider?.diff(this.executor.context(resource), oldState(resource), inputs);
        const diff = asked && this.applyOptions(resource.ignoreChanges ?? [], resource.replaceOnChanges ?? [], asked);
        return diff !== undefined && [...diff.paths.values()].some((change) => change.replace);
    }
}

function oldState({ id, inputs, outputs }: ResourceState): { id: string; inputs: PropertyMap; outputs: PropertyMap } {
    return { id: id ?? "", inputs, outputs };
}

function definedOnly(goal: Goal): Partial<Goal> {
    return Object.fromEntries(Object.entries(goal).filter(([, value]) => value !== undefined));
}

/** The state that a goal becomes, but for what only the provider knows. */
function draftOf(urn: string, goal: Goal, old: ResourceState | undefined): ResourceState {
    return {
        urn,
        type: goal.type,
        custom: goal.custom,
        inputs: goal.inputs,
        outputs: {},
        ...(goal.parent ? { parent: goal.parent } : {}),
        ...(goal.provider ? { provider: goal.provider } : {}),
        ...(goal.dependencies.length > 0 ? { dependencies: goal.dependencies } : {}),
        ...(Object.keys(goal.propertyDependencies).length > 0
            ? { propertyDependencies: goal.propertyDependencies }
            : {}),
        ...(goal.protect ? { protect: true } : {}),
        ...(goal.retainOnDelete ? { retainOnDelete: true } : {}),
        ...(goal.deletedWith ? { deletedWith: goal.deletedWith } : {}),
        ...(goal.ignoreChanges.length > 0 ? { ignoreChanges: goal.ignoreChanges } : {}),
        ...(goal.replaceOnChanges.length > 0 ? { replaceOnChanges: goal.replaceOnChanges } : {}),
        ...(goal.additionalSecretOutputs.length > 0 ? { additionalSecretOutputs: goal.additionalSecretOutputs } : {}),
        ...(goal.customTimeouts ? { customTimeouts: goal.customTimeouts } : {}),
        ...(old?.created ? { created: old.created } : {}),
        ...(old?.modified ? { modified: old.modified } : {}),
    };
}
