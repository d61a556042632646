import { messageOf } from "../contract/errors";
import { type CallContext, type OldState, PartialFailure, type Provider, type ReadResult } from "./providers/provider";
import type { ProviderRegistry } from "./providerRegistry";
import type { SnapshotManager } from "./snapshot";
import { isProviderType, nameOf, type ResourceState } from "./state";
import { DeploymentStopped, type EngineEvent, type Finding, type Step } from "./steps";
import { annotateSecrets, diffPaths, equal, omit, type PropertyMap, secret, secretTexts, unknown } from "./values";

export interface ExecutorOptions {
    readonly preview: boolean;
    /** How many calls of providers may be under way at once. */
    readonly parallel: number;
    readonly directory: string;
    readonly environment: NodeJS.ProcessEnv;
    readonly emit: (event: EngineEvent) => void;
    /** Told every secret text, so that it can be kept out of what is shown. */
    readonly hide?: (secret: string) => void;
}

/** Does steps: calls the providers and keeps the state. After a failure it does no more, but ends what is under way. */
export class StepExecutor {
    private readonly controller = new AbortController();
    private readonly waiting: (() => void)[] = [];
    private readonly successors = new Map<ResourceState, ResourceState | undefined>();
    private readonly idle: (() => void)[] = [];
    private running = 0;
    private calls = 0;
    private stopReason: string | undefined;
    private notifyStopped: () => void = () => undefined;
    /** Resolves when no step starts any more. */
    public readonly whenStopped = new Promise<void>((resolve) => (this.notifyStopped = resolve));

    public constructor(
        private readonly options: ExecutorOptions,
        /** Absent in a preview. */
        private readonly snapshot: SnapshotManager | undefined,
        private readonly registry: ProviderRegistry,
    ) {}

    public get stopped(): boolean {
        return this.stopReason !== undefined;
    }

    /** No step starts from now on. */
    public stop(reason: string): void {
        this.stopReason ??= reason;
        this.notifyStopped();
    }

    /** Asks the providers to end what they are doing as well. */
    public abort(reason: string): void {
        this.stop(reason);
        this.controller.abort();
    }

    /** Resolves when no step is under way. */
    public settled(): Promise<void> {
        return this.running === 0 ? Promise.resolve() : new Promise((resolve) => this.idle.push(resolve));
    }

    /** The resource as the state has it now; undefined where it is gone. */
    public live(state: ResourceState): ResourceState | undefined {
        let now: ResourceState | undefined = state;
        while (now !== undefined && this.successors.has(now)) {
            now = this.successors.get(now);
        }
        return now;
    }

    /** A resource that was changed otherwise than by a step. */
    public supersede(state: ResourceState, now: ResourceState | undefined): void {
        this.successors.set(state, now);
    }

    public providerOf(state: ResourceState): Provider | undefined {
        if (isProviderType(state.type)) {
            return this.registry;
        }
        return state.custom && state.provider ? this.registry.get(state.provider) : undefined;
    }

    public context(state: Pick<ResourceState, "urn" | "type">, timeout?: number): CallContext {
        const { preview, directory, environment, emit } = this.options;
        return {
            urn: state.urn,
            type: state.type,
            name: nameOf(state.urn),
            preview,
            signal: this.controller.signal,
            ...(timeout === undefined ? {} : { timeout }),
            directory,
            environment,
            log: (severity, message, ephemeral = false) =>
                emit({ kind: "log", severity, urn: state.urn, message, ephemeral }),
        };
    }

    /**
     * Does one step.
     *
     * @returns the resource as it is then; undefined where it is gone.
     * @throws DeploymentStopped where the deployment does no more steps; the failure of the step itself has been shown then.
     */
    public async run(step: Step): Promise<ResourceState | undefined> {
        const slot = step.op === "same" ? undefined : await this.acquire();
        this.running++;
        const started = performance.now();
        const report = (phase: "start" | "done" | "failed", found?: Finding): void =>
            this.options.emit({
                kind: "step",
                phase,
                step,
                seconds: (performance.now() - started) / 1000,
                ...(found === undefined ? {} : { found }),
            });
        try {
            if (this.stopped) {
                throw new DeploymentStopped(this.stopReason);
            }
            this.hideSecrets(step.new);
            report("start");
            const before = step.old && this.live(step.old);
            const result = await this.apply(step);
            this.hideSecrets(result);
            report("done", step.op === "refresh" || step.op === "read" ? findingOf(before, result) : undefined);
            return result;
        } catch (error) {
            if (error instanceof DeploymentStopped) {
                throw error;
            }
            this.fail(step.urn, error);
            report("failed");
            throw new DeploymentStopped(messageOf(error), { cause: error });
        } finally {
            slot?.();
            this.running--;
            if (this.running === 0) {
                this.idle.splice(0).forEach((resolve) => resolve());
            }
        }
    }

    /** Shows why a resource failed and stops the deployment. */
    public fail(urn: string | undefined, error: unknown): void {
        this.stop(messageOf(error));
        const message =
            error instanceof TypeError || error instanceof RangeError
                ? (error.stack ?? error.message)
                : messageOf(error);
        this.options.emit({ kind: "log", severity: "error", ...(urn ? { urn } : {}), message, ephemeral: false });
    }

    private apply(step: Step): Promise<ResourceState | undefined> {
        switch (step.op) {
            case "same":
                return this.same(required(step.old), required(step.new));
            case "create":
            case "create-replacement":
                return this.create(required(step.new), step.old, step.pendingDelete === true);
            case "update":
                return this.update(required(step.old), required(step.new));
            case "read":
                return this.read(required(step.new), step.old, step.pendingDelete === true);
            case "refresh":
                return this.refresh(required(step.old));
            case "delete":
            case "delete-replaced":
                return this.delete(required(step.old), step);
            case "discard":
            case "remove-pending-replace":
                return this.forget(required(step.old));
        }
    }

    private async same(old: ResourceState, draft: ResourceState): Promise<ResourceState> {
        const inputs = equal(old.inputs, draft.inputs) ? old.inputs : draft.inputs;
        const { id, outputs, created, modified } = old;
        const state = { ...draft, inputs, outputs, ...(id ? { id } : {}), created, modified } as ResourceState;
        if (isProviderType(state.type)) {
            this.registry.configure(`${state.urn}::${id ?? ""}`, state.type, old.inputs);
        }
        await this.snapshot?.keep(required(this.live(old)), state);
        this.successors.set(old, state);
        return state;
    }

    private async create(
        draft: ResourceState,
        old: ResourceState | undefined,
        pendingDelete: boolean,
    ): Promise<ResourceState> {
        const before = old && this.live(old);
        const replaced: ResourceState | undefined = pendingDelete && before ? { ...before, delete: true } : undefined;
        const finish = (
            state: ResourceState,
        ): { put: ResourceState; drop?: ResourceState; mark?: { old: ResourceState; now: ResourceState } } => {
            if (old !== undefined) {
                this.successors.set(old, replaced);
            }
            return {
                put: state,
                ...(before && replaced ? { mark: { old: before, now: replaced } } : before ? { drop: before } : {}),
            };
        };
        const provider = this.providerOf(draft);
        if (provider === undefined) {
            const state = { ...draft, created: now(), modified: now() };
            await this.snapshot?.change(finish(state));
            return state;
        }
        const context = this.context(draft, draft.customTimeouts?.create);
        const operation = await this.snapshot?.begin("creating", draft);
        try {
            const { id, outputs } = await provider.create(context, draft.inputs);
            const state = { ...withOutputs(draft, outputs), ...(id ? { id } : {}), created: now(), modified: now() };
            await this.end(operation, finish(state));
            return state;
        } catch (error) {
            if (error instanceof PartialFailure) {
                const { id, outputs, reasons } = error;
                const state = {
                    ...withOutputs(draft, outputs),
                    id,
                    initErrors: reasons,
                    created: now(),
                    modified: now(),
                };
                await this.end(operation, finish(state));
            } else if (!this.controller.signal.aborted) {
                await this.end(operation, {});
            }
            // A creation that was cut off stays recorded as pending: it may have come to something.
            throw error;
        }
    }

    private async update(old: ResourceState, draft: ResourceState): Promise<ResourceState> {
        const before = required(this.live(old));
        const { id, created } = before;
        const provider = this.providerOf(draft);
        const base = { ...draft, ...(id ? { id } : {}), created, modified: now() } as ResourceState;
        if (provider === undefined || id === undefined) {
            await this.snapshot?.change({ drop: before, put: base });
            this.successors.set(old, base);
            return base;
        }
        const context = this.context(draft, draft.customTimeouts?.update);
        const operation = await this.snapshot?.begin("updating", before);
        try {
            const { outputs } = await provider.update(context, oldState(before), draft.inputs);
            const state = withOutputs(base, outputs);
            await this.end(operation, { drop: before, put: state });
            this.successors.set(old, state);
            return state;
        } catch (error) {
            if (error instanceof PartialFailure) {
                const state = { ...withOutputs(base, error.outputs), initErrors: error.reasons };
                await this.end(operation, { drop: before, put: state });
                this.successors.set(old, state);
            } else if (!this.controller.signal.aborted) {
                await this.end(operation, {});
            }
            throw error;
        }
    }

    private async delete(old: ResourceState, { pendingReplacement, withoutProvider }: Step): Promise<undefined> {
        const before = required(this.live(old));
        if (this.options.preview) {
            return undefined;
        }
        const marked: ResourceState | undefined = pendingReplacement
            ? { ...before, pendingReplacement: true }
            : undefined;
        const change = marked ? { mark: { old: before, now: marked } } : { drop: before };
        const left = before.external || before.retainOnDelete || withoutProvider;
        const provider = left ? undefined : this.providerOf(before);
        if (provider === undefined || isProviderType(before.type)) {
            await this.snapshot?.change(change);
        } else {
            const context = this.context(before, before.customTimeouts?.delete);
            const operation = await this.snapshot?.begin("deleting", before);
            try {
                await provider.delete(context, oldState(before));
            } catch (error) {
                await this.end(operation, {});
                throw error;
            }
            await this.end(operation, change);
        }
        this.successors.set(old, marked);
        return undefined;
    }

    private async forget(old: ResourceState): Promise<undefined> {
        await this.snapshot?.change({ drop: required(this.live(old)) });
        this.successors.set(old, undefined);
        return undefined;
    }

    private async read(
        draft: ResourceState,
        old: ResourceState | undefined,
        pendingDelete: boolean,
    ): Promise<ResourceState> {
        let state = draft;
        if (draft.id !== unknown) {
            const found = await required(this.providerOf(draft)).read(
                this.context(draft),
                oldState({ ...draft, outputs: draft.inputs }),
            );
            if (found === undefined) {
                throw new Error(`The resource '${draft.id ?? ""}' does not exist.`);
            }
            state = { ...withOutputs(draft, found.outputs), id: found.id };
        }
        const before = old && this.live(old);
        if (before === undefined) {
            await this.snapshot?.change({ put: state });
            return state;
        }
        if (pendingDelete) {
            const replaced = { ...before, delete: true };
            await this.snapshot?.change({ put: state, mark: { old: before, now: replaced } });
            this.successors.set(required(old), replaced);
            return state;
        }
        const { created, modified } = before;
        const kept = { ...state, ...(created ? { created } : {}), ...(modified ? { modified } : {}) };
        await this.snapshot?.keep(before, kept);
        this.successors.set(required(old), kept);
        return kept;
    }

    private async refresh(old: ResourceState): Promise<ResourceState | undefined> {
        const before = required(this.live(old));
        const provider = isProviderType(before.type) || before.pendingReplacement ? undefined : this.providerOf(before);
        if (provider === undefined) {
            return before;
        }
        let found: ReadResult | undefined;
        let initErrors: readonly string[] | undefined;
        const context = this.context(before);
        try {
            found = await provider.read(context, oldState(before));
        } catch (error) {
            if (!(error instanceof PartialFailure)) {
                throw error;
            }
            found = { id: error.id, inputs: before.inputs, outputs: error.outputs };
            initErrors = error.reasons;
            context.log("warning", `The refreshed resource is in an unhealthy state: ${error.reasons.join("; ")}`);
        }
        if (found === undefined) {
            await this.snapshot?.change({ drop: before });
            this.successors.set(old, undefined);
            return undefined;
        }
        const { outputs } = withOutputs(before, found.outputs);
        if (equal(outputs, before.outputs) && equal(found.inputs, before.inputs) && initErrors === before.initErrors) {
            return before;
        }
        const changed = diffPaths(before.outputs, outputs).size > 0 || diffPaths(before.inputs, found.inputs).size > 0;
        const state: ResourceState = {
            ...(omit(before, "initErrors") as ResourceState),
            id: found.id,
            inputs: found.inputs,
            outputs,
            ...(initErrors ? { initErrors } : {}),
            ...(changed ? { modified: now() } : {}),
        };
        await this.snapshot?.change({ mark: { old: before, now: state } });
        this.successors.set(old, state);
        return state;
    }

    private async end(operation: number | undefined, change: Parameters<SnapshotManager["end"]>[1]): Promise<void> {
        if (operation !== undefined) {
            await this.snapshot?.end(operation, change);
        }
    }

    private hideSecrets(state: ResourceState | undefined): void {
        const { hide } = this.options;
        if (hide !== undefined && state !== undefined) {
            // A provider's own copy of the inputs can be marked as a whole; what is secret of it is marked in the inputs.
            const outputs = omit(state.outputs, "__inputs");
            [...secretTexts(state.inputs), ...secretTexts(outputs)].forEach((text) => hide(text));
        }
    }

    /** Waits for one of the parallel calls to be free; the result gives it back. */
    private async acquire(): Promise<() => void> {
        if (this.calls >= this.options.parallel) {
            await new Promise<void>((resolve) => this.waiting.push(resolve));
        } else {
            this.calls++;
        }
        return () => {
            const next = this.waiting.shift();
            if (next === undefined) {
                this.calls--;
            } else {
                next();
            }
        };
    }
}

/** Outputs whose inputs are secret, and those that the program named, are secret too. */
function withOutputs(draft: ResourceState, outputs: PropertyMap): ResourceState {
    const annotated: Record<string, PropertyMap[string]> = { ...annotateSecrets(outputs, draft.inputs) };
    for (const key of draft.additionalSecretOutputs ?? []) {
        const value = annotated[key];
        if (value !== undefined) {
            annotated[key] = secret(value);
        }
    }
    return { ...draft, outputs: annotated };
}

/** What others own is compared by what it is; what is ours, by what it would have to be asked for to become that. */
function findingOf(before: ResourceState | undefined, now: ResourceState | undefined): Finding {
    if (now === undefined) {
        return "delete";
    }
    if (before === undefined || before === now) {
        return "same";
    }
    const key = now.external ? "outputs" : "inputs";
    return diffPaths(before[key], now[key]).size === 0 ? "same" : "update";
}

function oldState({ id, inputs, outputs }: ResourceState): OldState {
    return { id: id ?? "", inputs, outputs };
}

function now(): string {
    return new Date().toISOString();
}

function required<T>(value: T | undefined): T {
    if (value === undefined) {
        throw new Error("A step lacks the resource it is about.");
    }
    return value;
}
