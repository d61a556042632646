import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { stringify } from "yaml";
import { UserError } from "../contract/errors";
import { createDisplay } from "../engine/display";
import { type OperationKind, runOperation } from "../engine/operations";
import { loadProject, type Project } from "../engine/project";
import { ProgramBundle } from "../engine/programBundle";
import { beginSecrets } from "../engine/stack";
import { exportStack, importStack, listStacks, removeStack, stackOutputs, unlockStack } from "../engine/stackFiles";
import { Tracing } from "../launcher/tracing";
import type { Operation, OperationEnvironment } from "./launch";
import { OperationSpans } from "./operationSpans";
import { prepared } from "./prepared";
import { withStackOptions } from "./projectDirectory";

/** What the rest of `ke1` has to do with the engine's commands. */
export interface StackHooks {
    /** Called before an operation; what it gives is added to the environment of the program, and of the providers. */
    readonly beforeOperation?: (operation: Operation) => Promise<OperationEnvironment>;
}

export interface StackOptions {
    readonly stack: string;
    readonly cwd: string;
}

const exitFailed = 1;
const exitInterrupted = 130;
const defaultParallel = 64;

/** `up`, `preview`, `refresh`, `destroy`, and `stack` with what is below it. */
export function stackCommands(hooks: StackHooks): Command[] {
    return [
        operation("up", "brings about what the stack's program declares", hooks),
        operation("preview", "says what `up` would do", hooks),
        operation("refresh", "takes over into the state what has changed outside", hooks),
        operation("destroy", "deletes all that the stack has made", hooks),
        stackCommand(),
    ];
}

function operation(kind: OperationKind, description: string, hooks: StackHooks): Command {
    const command = withOperationOptions(new Command(kind));
    return (kind === "up" ? withTimings(command) : command)
        .description(description)
        .action(async (options: OperationOptions) => {
            process.exitCode = await operate(kind, options, hooks);
        });
}

/** The options that every operation has. */
export function withOperationOptions(command: Command): Command {
    return withStackOptions(command)
        .option("-y, --yes", "accepted for scripts made for the Pulumi CLI: nothing is asked for anyway")
        .option("--config-file <file>", "the stack's configuration, instead of Pulumi.<stack>.yaml")
        .option("-p, --parallel <number>", "how many resources are worked on at once", parseCount, defaultParallel)
        .option("--json", "print the outcome, the changes and the outputs (secrets hidden) as JSON on standard output");
}

/** The option of what can launch builds. */
export function withTimings(command: Command): Command {
    return command.option("--timings", "say where the time went: the phases of each build, with --json as `timings`");
}

/** What an operation is told on the command line. */
export interface OperationOptions extends StackOptions {
    readonly timings?: boolean;
    readonly parallel: number;
    readonly configFile?: string;
    readonly json?: boolean;
}

/** @returns the exit code */
export async function operate(
    kind: OperationKind,
    { stack, cwd, configFile, parallel, json, timings }: OperationOptions,
    hooks: StackHooks,
): Promise<number> {
    const started = performance.now();
    const project = loadProject(cwd, configFile);
    const secrets = beginSecrets(project, stack, process.env);
    const extra = await hooks.beforeOperation?.({ kind, stack, projectDirectory: project.root, configFile });
    const preview = kind === "preview";
    const color = process.stderr.isTTY && !process.env.NO_COLOR && process.env.TERM !== "dumb";
    const display = createDisplay(process.stderr, preview, color, process.env.KE1_ALL_OUTPUT === "1");
    const tracing = await Tracing.open();
    const spans = tracing && new OperationSpans(tracing, kind, stack, process.env);
    const timed = timings ? new (await import("./timedOperation")).TimedOperation() : undefined;
    const interrupts: (() => void)[] = [];
    const onSignal = (): void => {
        if (interrupts.length === 0) {
            // Nothing has begun that would have to end in order.
            process.exit(exitInterrupted);
        }
        interrupts.forEach((interrupt) => interrupt());
    };
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    signals.forEach((signal) => process.on(signal, onSignal));
    try {
        const result = await runOperation({
            kind,
            project,
            stack,
            secrets,
            // What the stack's commands print goes through the display.
            environment: {
                ...process.env,
                ...extra?.shared,
                ...spans?.variables,
                ...timed?.variables,
                KE1_COLOR: color ? "1" : "",
            },
            programEnvironment: extra?.program ?? {},
            parallel,
            // Beside this file, which is in a bundle itself then.
            bundle: new ProgramBundle(join(__dirname, "program.js"), prepared.program),
            emit: (event) => {
                display.handle(event);
                spans?.handle(event);
                timed?.handle(event);
            },
            hide: (secret) => display.hide(secret),
            interruptible: (interrupt) => interrupts.push(interrupt),
        });
        const { outcome, changes, outputs } = result;
        const seconds = (performance.now() - started) / 1000;
        display.finish({ preview, outcome, changes, seconds });
        const found = timed?.finish();
        if (found && !json) {
            const { timingsTable } = await import("./timingsTable");
            process.stderr.write(`\n${timingsTable(found).join("\n")}\n`);
        }
        await spans?.finish(outcome);
        if (kind === "up" && outcome === "succeeded" && !json && Object.keys(outputs).length > 0) {
            const { redacted } = await import("../engine/values");
            process.stdout.write(`\n${stringify(redacted(outputs), { lineWidth: 0 })}`);
        }
        if (json) {
            const { redacted } = await import("../engine/values");
            const shown = outcome === "succeeded" ? redacted(outputs) : {};
            const answer = { outcome, changes, outputs: shown, ...(found ? { timings: found } : {}) };
            process.stdout.write(`${JSON.stringify(answer, undefined, 2)}\n`);
        }
        return outcome === "succeeded" ? 0 : outcome === "failed" ? exitFailed : exitInterrupted;
    } finally {
        timed?.close();
        signals.forEach((signal) => process.off(signal, onSignal));
    }
}

function stackCommand(): Command {
    const command = new Command("stack").description("what is known of the stacks");
    const json = "as JSON";
    command.addCommand(
        withStackOptions(new Command("ls"))
            .description("lists the project's stacks")
            .option("--json", json)
            .action((options: StackOptions & { readonly json?: boolean }) => {
                const stacks = listStacks(loadProject(options.cwd), process.env);
                const lines = stacks.map(
                    ({ name, resources, updated }) => `${name}\t${resources} resources\t${updated ?? "never updated"}`,
                );
                print(options.json ? toJson(stacks) : lines.join("\n"));
            }),
    );
    command.addCommand(
        withStackOptions(new Command("output"))
            .description("prints the stack's outputs, or one of them")
            .argument("[name]")
            .option("--json", json)
            .option("--show-secrets", "decrypt and print secrets")
            .action(
                async (name: string | undefined, options: StackOptions & { json?: boolean; showSecrets?: boolean }) => {
                    const outputs = await stackOutputs(
                        loadProject(options.cwd),
                        options.stack,
                        process.env,
                        options.showSecrets === true,
                    );
                    if (name === undefined) {
                        print(
                            options.json
                                ? toJson(outputs)
                                : Object.entries(outputs)
                                      .map(([key, value]) => `${key}\t${text(value)}`)
                                      .join("\n"),
                        );
                        return;
                    }
                    const value = outputs[name];
                    if (value === undefined) {
                        throw new UserError(`The stack ${options.stack} has no output "${name}".`);
                    }
                    print(options.json ? toJson(value) : text(value));
                },
            ),
    );
    command.addCommand(
        withStackOptions(new Command("export"))
            .description("prints the stack's state; its secrets stay encrypted unless shown")
            .option("--show-secrets", "decrypt and print secrets")
            .action(async (options: StackOptions & { showSecrets?: boolean }) => {
                print(
                    toJson(
                        await exportStack(
                            loadProject(options.cwd),
                            options.stack,
                            process.env,
                            options.showSecrets === true,
                        ),
                    ),
                );
            }),
    );
    command.addCommand(
        withStackOptions(new Command("import"))
            .description("replaces the stack's state by one that was exported")
            .option("--file <path>", "read from a file instead of standard input")
            .action(async (options: StackOptions & { file?: string }) => {
                await importStack(
                    loadProject(options.cwd),
                    options.stack,
                    process.env,
                    readFileSync(options.file ?? 0, "utf8"),
                );
            }),
    );
    command.addCommand(
        withStackOptions(new Command("rm"))
            .description("forgets a stack that has no resources any more")
            .action((options: StackOptions) => removeStack(loadProject(options.cwd), options.stack, process.env)),
    );
    command.addCommand(
        withStackOptions(new Command("cancel"))
            .description("removes the lock of an operation that is gone")
            .action((options: StackOptions) => {
                const project: Project = loadProject(options.cwd);
                for (const { pid, username, hostname, timestamp } of unlockStack(project, options.stack, process.env)) {
                    process.stderr.write(`removed the lock of ${username}@${hostname} (pid ${pid}, ${timestamp})\n`);
                }
            }),
    );
    return command;
}

function parseCount(value: string): number {
    const count = Number(value);
    if (!Number.isInteger(count) || count < 1) {
        throw new InvalidArgumentError("It must be a whole number from 1 on.");
    }
    return count;
}

function print(content: string): void {
    process.stdout.write(content === "" ? "" : `${content}\n`);
}

function toJson(value: unknown): string {
    return JSON.stringify(value, undefined, 2);
}

function text(value: unknown): string {
    return typeof value === "string" ? value : JSON.stringify(value);
}
