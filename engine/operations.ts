import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UserError } from "../contract/errors";
import { ke1Home } from "../platform/home";
import { type FileBackend, type StackReference, type UpdateRecord } from "./backend";
import { hasCiphertexts } from "./checkpoint";
import type { Deployment } from "./deployment";
import { loadStackFile, type Project, type StackConfig } from "./project";
import { Program } from "./program";
import type { ProgramBundle } from "./programBundle";
import { recoverCheckpoint, SnapshotManager } from "./snapshot";
import { SocketGate } from "./socketGate";
import {
    codecFor,
    emptyCheckpoint,
    loadConfig,
    openBackend,
    requireStackFile,
    type StackSecrets,
    stackSecrets,
} from "./stack";
import { type Change, changeOf, DeploymentStopped, type EngineEvent } from "./steps";
import type { PropertyMap } from "./values";

export type OperationKind = "up" | "preview" | "refresh" | "destroy";

export interface OperationOptions {
    readonly kind: OperationKind;
    readonly project: Project;
    readonly stack: string;
    /** For the program and the providers. */
    readonly environment: NodeJS.ProcessEnv;
    /** What only the program's has besides. */
    readonly programEnvironment?: NodeJS.ProcessEnv;
    /** How many resources are worked on at once. */
    readonly parallel: number;
    /** The stack's keys, where they are being derived already. */
    readonly secrets?: StackSecrets;
    /** Starts in less time than the program's sources. */
    readonly bundle?: ProgramBundle;
    readonly emit: (event: EngineEvent) => void;
    /** Text that must not be shown. */
    readonly hide?: (secret: string) => void;
    /** Called once the operation can be interrupted; the first call of what it is given ends it gracefully, the next at once. */
    readonly interruptible?: (interrupt: () => void) => void;
}

export interface OperationResult {
    readonly outcome: "succeeded" | "failed" | "interrupted";
    /** How often each change was made. */
    readonly changes: Readonly<Partial<Record<Change, number>>>;
    /** The stack's outputs, with their secrets marked. */
    readonly outputs: PropertyMap;
}

/**
 * Runs one operation on a stack, from the lock to the history.
 *
 * @throws UserError where it cannot start: bad configuration, a lock, a missing stack.
 */
export async function runOperation(asked: OperationOptions): Promise<OperationResult> {
    const { kind, project, stack, environment } = asked;
    const changes: Partial<Record<Change, number>> = {};
    const emit = (event: EngineEvent): void => {
        if (event.kind === "step" && event.phase === "done" && (kind === "refresh" || event.step.op !== "refresh")) {
            const change = changeOf(event.step, event.found);
            if (change !== undefined) {
                changes[change] = (changes[change] ?? 0) + 1;
            }
        }
        asked.emit(event);
    };
    const options = { ...asked, emit };
    const reference: StackReference = { project: project.name, stack };
    const secrets = asked.secrets ?? stackSecrets(project, environment);
    const needsProgram = kind === "up" || kind === "preview";
    const file = needsProgram ? requireStackFile(project, stack) : loadStackFile(project, stack);
    const config =
        needsProgram && file ? await loadConfig(project, stack, file, secrets) : { values: {}, secretKeys: [] };
    config.secretKeys.forEach((key) => options.hide?.(config.values[key] ?? ""));
    const cleanups: (() => void)[] = [];
    try {
        const scratch = mkdtempSync(join(tmpdir(), "ke1-"));
        cleanups.push(() => rmSync(scratch, { recursive: true, force: true }));
        const socket = join(scratch, "monitor");
        const gate = await SocketGate.listen(socket);
        cleanups.push(() => gate.close());
        // The runner takes longest to start, so it goes first; all that it needs is there when it has started.
        const program = needsProgram ? startProgram(options, config, `unix:${socket}`) : undefined;
        cleanups.push(() => program?.kill("SIGKILL"));
        const backend = openBackend(project, environment);
        if (kind !== "preview") {
            cleanups.push(takeLock(backend, reference, options));
        }
        const startTime = Math.round(Date.now() / 1000);
        const snapshot = openSnapshot(backend, reference, secrets, options);
        const deployment = snapshot.then((opened) => loadDeployment(options, config, opened));
        const result = await new Run(options, deployment, program).run(gate);
        if (kind !== "preview") {
            await (await snapshot).close();
            backend.record(reference, recordOf(kind, startTime, { ...result, changes }, config));
        }
        return { ...result, changes };
    } finally {
        for (const cleanup of cleanups.reverse()) {
            cleanup();
        }
    }
}

/** The part of an operation in which things happen. */
class Run {
    private interrupted = false;
    private monitor: { close(): void } | undefined;
    /** The deployment, once it may be registered with: what an earlier one left undone has been dealt with then. */
    private readonly ready: Promise<Deployment>;

    public constructor(
        private readonly options: OperationOptions,
        private readonly deployment: Promise<Deployment>,
        private readonly program: Program | undefined,
    ) {
        this.ready = this.prepare();
        // Whoever awaits it is told.
        this.ready.catch(() => undefined);
    }

    public async run(gate: SocketGate): Promise<Omit<OperationResult, "changes">> {
        const [deployment, monitor] = await Promise.all([
            this.deployment,
            this.program && this.serve(gate, this.program),
        ]);
        this.options.interruptible?.(() => this.interrupt(deployment));
        let outcome: OperationResult["outcome"] = "succeeded";
        try {
            await this.ready;
            if (this.program && monitor) {
                await this.runProgram(deployment, this.program, monitor);
            }
            await (this.options.kind === "refresh" ? deployment.refresh() : deployment.deleteRest());
            await this.endProgram();
        } catch (error) {
            if (!(error instanceof DeploymentStopped)) {
                deployment.executor.fail(undefined, error);
            }
            outcome = "failed";
        } finally {
            await deployment.executor.settled();
            this.program?.kill("SIGTERM");
            this.monitor?.close();
            deployment.close();
        }
        return {
            outcome: this.interrupted ? "interrupted" : outcome,
            outputs: deployment.root?.outputs ?? {},
        };
    }

    private async prepare(): Promise<Deployment> {
        const deployment = await this.deployment;
        if (this.options.kind !== "preview") {
            await deployment.resolvePending();
        }
        return deployment;
    }

    private async serve(
        gate: SocketGate,
        program: Program,
    ): Promise<{ readonly finished: Promise<void>; readonly loggedError: boolean }> {
        const { Monitor } = await import("./monitor");
        const { project, stack, parallel, kind } = this.options;
        const preview = kind === "preview";
        const emit = (event: EngineEvent): void =>
            this.options.emit(event.kind === "log" ? { ...event, message: program.readable(event.message) } : event);
        const monitor = new Monitor({ project: project.name, stack, preview, parallel, emit }, this.ready);
        this.monitor = monitor;
        monitor.serve(gate);
        return monitor;
    }

    /** @throws DeploymentStopped unless the program has registered all it wanted, without an error. */
    private async runProgram(
        deployment: Deployment,
        program: Program,
        monitor: { readonly finished: Promise<void>; readonly loggedError: boolean },
    ): Promise<void> {
        const { executor } = deployment;
        const end = await Promise.race([
            monitor.finished.then(() => "finished" as const),
            executor.whenStopped.then(() => "stopped" as const),
            program.exited.then((verdict) => ({ verdict })),
        ]);
        if (end === "finished" && !monitor.loggedError && !executor.stopped) {
            return;
        }
        if (typeof end === "object" && !monitor.loggedError && !executor.stopped) {
            // Without its word that all is registered, nothing may be deleted.
            throw new UserError(end.verdict ?? "The program ended before it had registered all its resources.");
        }
        executor.stop("The program failed.");
        throw new DeploymentStopped("The program failed.");
    }

    private async endProgram(): Promise<void> {
        const verdict = await this.program?.exited;
        if (verdict !== undefined) {
            throw new UserError(verdict);
        }
    }

    private interrupt(deployment: Deployment): void {
        if (this.interrupted) {
            this.program?.kill("SIGKILL");
            process.exit(130);
        }
        this.interrupted = true;
        this.options.emit({
            kind: "log",
            severity: "warning",
            message: "Ending what is under way; interrupt once more to end at once.",
            ephemeral: false,
        });
        deployment.executor.abort("Interrupted.");
    }
}

function startProgram(options: OperationOptions, config: StackConfig, address: string): Program {
    const { project, stack, kind, parallel, environment, programEnvironment, bundle, emit } = options;
    return new Program({
        ...(bundle ? { bundle } : {}),
        project,
        stack,
        config,
        preview: kind === "preview",
        parallel,
        address,
        environment: {
            NODE_COMPILE_CACHE: join(ke1Home(), "cache", "compile"),
            ...environment,
            ...programEnvironment,
        },
        onLine: (message, stream) =>
            emit({ kind: "log", severity: stream === "stdout" ? "info" : "warning", message, ephemeral: false }),
    });
}

function takeLock(backend: FileBackend, reference: StackReference, { emit }: OperationOptions): () => void {
    return backend.lock(reference, ({ pid, timestamp }) => {
        const message = `Took over the lock of process ${pid}, which has ended without giving it back (${timestamp}).`;
        emit({ kind: "log", severity: "warning", message, ephemeral: false });
    });
}

async function openSnapshot(
    backend: FileBackend,
    reference: StackReference,
    secrets: StackSecrets,
    { kind, emit }: OperationOptions,
): Promise<SnapshotManager> {
    let checkpoint = recoverCheckpoint(backend, reference, kind !== "preview");
    if (checkpoint === undefined) {
        if (kind !== "up" && kind !== "preview") {
            throw new UserError(
                `There is no stack "${reference.stack}" of the project ${reference.project}: \`ke1 up\` creates it.`,
            );
        }
        const content = Buffer.from(emptyCheckpoint(reference, kind === "up" ? await secrets.create() : undefined));
        if (kind === "up") {
            backend.writeCheckpoint(reference, content.toString("utf8"));
        }
        checkpoint = { content, recovered: false };
    }
    const { content, recovered } = checkpoint;
    if (recovered) {
        const message = "An earlier run was killed; its journal has been taken over into the state.";
        emit({ kind: "log", severity: "warning", message, ephemeral: false });
    }
    const { codec, salt } = codecFor(content, secrets);
    if (hasCiphertexts(content.toString("utf8"))) {
        await codec.open();
    }
    return SnapshotManager.open(backend, reference, codec, content, salt);
}

async function loadDeployment(
    options: OperationOptions,
    config: StackConfig,
    snapshot: SnapshotManager,
): Promise<Deployment> {
    const [{ Deployment: Loaded }, { providerPackages }] = await Promise.all([
        import("./deployment"),
        import("./providers/packages"),
    ]);
    const { stack, project, kind, parallel, environment, emit } = options;
    return new Loaded(
        {
            stack,
            project: project.name,
            packages: providerPackages,
            config: config.values,
            secretKeys: config.secretKeys,
            preview: kind === "preview",
            parallel,
            directory: project.programDirectory,
            environment,
            emit,
            ...(options.hide ? { hide: options.hide } : {}),
        },
        snapshot,
    );
}

function recordOf(kind: OperationKind, startTime: number, result: OperationResult, config: StackConfig): UpdateRecord {
    const values = Object.entries(config.values).map(([key, value]) => [
        key,
        config.secretKeys.includes(key) ? "[secret]" : value,
    ]);
    return {
        kind: kind === "up" || kind === "preview" ? "update" : kind,
        startTime,
        endTime: Math.round(Date.now() / 1000),
        result: result.outcome === "succeeded" ? "succeeded" : "failed",
        config: Object.fromEntries(values) as Record<string, string>,
        resourceChanges: result.changes,
    };
}
