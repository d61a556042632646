import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { UserError } from "../contract/errors";
import { organization } from "./backend";
import type { ProgramBundle } from "./programBundle";
import type { Project, StackConfig } from "./project";

export interface ProgramOptions {
    readonly project: Project;
    readonly stack: string;
    readonly config: StackConfig;
    readonly preview: boolean;
    readonly parallel: number;
    /** Of the monitor, which need not listen yet. */
    readonly address: string;
    readonly environment: NodeJS.ProcessEnv;
    /** Run instead of the sources, where it serves. */
    readonly bundle?: ProgramBundle;
    /** A line that the program wrote to its standard output or error. */
    readonly onLine: (line: string, stream: "stdout" | "stderr") => void;
}

/** Exit code of the SDK's runner where it has shown the user what is wrong (cmd/run of `@pulumi/pulumi`). */
const exitedAfterLogging = 32;

/** The program of a stack, run by the SDK's own runner in a process of its own. */
export class Program {
    private readonly child: ChildProcess;
    /** Resolves when the process has ended, with what is to be said of it: undefined where it is well, or has been said. */
    public readonly exited: Promise<string | undefined>;

    /** What the program says of its own places, with those of its sources. */
    public readonly readable: (text: string) => string;

    public constructor(options: ProgramOptions) {
        const { project, stack, config, preview, parallel, address, environment, onLine } = options;
        const bundleId = options.bundle?.serves(project, environment);
        const bundle = bundleId === undefined ? undefined : options.bundle;
        this.readable = (text) => bundle?.readable(text) ?? text;
        const args = [
            ...["--monitor", address, "--engine", address, "--project", project.name, "--stack", stack],
            ...["--organization", organization, "--parallel", String(parallel)],
            ...(preview ? ["--dry-run"] : []),
            ...["--pwd", project.programDirectory, "--root-directory", project.root, project.entryPoint],
        ];
        // The configuration can hold secrets, hence the environment: other users cannot read that, but the arguments.
        const env = {
            ...environment,
            PULUMI_CONFIG: JSON.stringify(config.values),
            PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(config.secretKeys),
            ...(project.runtime.typescript && !bundle ? { PULUMI_NODEJS_TYPESCRIPT: "true" } : {}),
            ...(project.runtime.tsconfig ? { PULUMI_NODEJS_TSCONFIG_PATH: project.runtime.tsconfig } : {}),
        };
        if (bundleId === undefined) {
            options.bundle?.prepared?.discard();
        }
        const order = { bundle: bundleId ?? "", arguments: args, environment: env };
        const prepared = bundle?.prepared?.take(order);
        const file = bundle?.file ?? runnerOf(project);
        this.child =
            prepared ??
            spawn(process.execPath, [...(bundle ? [] : preload()), ...project.runtime.nodeArguments, file, ...args], {
                cwd: project.root,
                env,
                stdio: ["ignore", "pipe", "pipe"],
                // A process group of its own: an interrupt from the terminal is for us to pass on.
                detached: true,
            });
        const lines = [this.child.stdout, this.child.stderr].map((stream, index) => {
            if (stream === null) {
                return Promise.resolve();
            }
            const reader = createInterface({ input: stream });
            reader.on("line", (line) => onLine(this.readable(line), index === 0 ? "stdout" : "stderr"));
            return new Promise<void>((resolve) => reader.once("close", resolve));
        });
        this.exited = new Promise((resolve) => {
            this.child.once("error", (error) => resolve(`The program could not be started: ${error.message}`));
            this.child.once("exit", (code, signal) => {
                void Promise.race([Promise.all(lines), delay(1000)]).then(() => resolve(verdict(code, signal)));
            });
        });
    }

    public kill(signal: NodeJS.Signals): void {
        if (this.child.pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null) {
            return;
        }
        try {
            process.kill(-this.child.pid, signal);
        } catch {
            // It has just ended.
        }
    }
}

function verdict(code: number | null, signal: NodeJS.Signals | null): string | undefined {
    if (code === 0 || code === exitedAfterLogging) {
        return undefined;
    }
    return signal === null ? `The program ended with exit code ${code ?? 0}.` : `The program was ended by ${signal}.`;
}

/** What keeps the SDK from work that nobody needs; its process is the slower where `make` has not made it. */
function preload(): readonly string[] {
    const file = resolve(__dirname, "..", "dist", "programPreload.js");
    return existsSync(file) ? ["--require", file] : [];
}

/** The runner of the project's own SDK: the two must be of one version. */
function runnerOf(project: Project): string {
    const resolve = createRequire(join(project.programDirectory, "index.js")).resolve;
    let runner: string;
    try {
        runner = resolve("@pulumi/pulumi/cmd/run");
    } catch {
        throw new UserError(`@pulumi/pulumi is not installed in ${project.root}: run \`npm ci\` there.`);
    }
    if (!existsSync(runner)) {
        throw new UserError(`@pulumi/pulumi in ${project.root} has no program runner: run \`npm ci\` there.`);
    }
    return runner;
}

function delay(milliseconds: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
