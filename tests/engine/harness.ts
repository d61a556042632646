import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

import { type OperationKind, type OperationResult, runOperation } from "../../engine/operations";
import { loadProject } from "../../engine/project";
import type { EngineEvent } from "../../engine/steps";

const root = path.resolve(__dirname, "../..");

/** How one operation on a test project went. */
export interface Outcome {
    readonly outcome: OperationResult["outcome"];
    /** The steps that were done, but those that change nothing, as `<op> <resource>`. */
    readonly steps: readonly string[];
    readonly errors: readonly string[];
    readonly logs: readonly string[];
    readonly outputs: OperationResult["outputs"];
}

/** A resource as the checkpoint has it. */
export interface CheckpointResource {
    readonly urn: string;
    readonly type: string;
    readonly id?: string;
    readonly inputs?: Record<string, unknown>;
    readonly outputs?: Record<string, unknown>;
    readonly [other: string]: unknown;
}

/** A Pulumi project of a test's own, with a backend of its own, in a temporary directory. */
export class TestProject {
    public readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), "ke1-engine-"));
    public readonly name: string;
    public readonly environment: NodeJS.ProcessEnv;
    /** Goes into the stack's file, for the secrets in it. */
    public encryptionSalt: string | undefined;
    private readonly config: Record<string, unknown> = {};

    /** @param program the text of `index.js`. */
    public constructor(
        program: string,
        options: {
            readonly name?: string;
            readonly declarations?: string;
            readonly environment?: NodeJS.ProcessEnv;
        } = {},
    ) {
        this.name = options.name ?? "test";
        const runtime = "runtime: { name: nodejs, options: { typescript: false } }";
        this.file("Pulumi.yaml", `name: ${this.name}\n${runtime}\n${options.declarations ?? ""}`);
        this.file("package.json", JSON.stringify({ name: this.name, main: "index.js" }));
        this.file("index.js", program);
        fs.symlinkSync(path.join(root, "node_modules"), path.join(this.directory, "node_modules"));
        fs.copyFileSync(path.join(root, "tests/engine/resources.js"), path.join(this.directory, "resources.js"));
        this.environment = {
            ...process.env,
            PULUMI_BACKEND_URL: `file://${this.directory}/state`,
            PULUMI_CONFIG_PASSPHRASE: "a test's passphrase",
            CASE_LOG: path.join(this.directory, "log"),
            ...options.environment,
        };
        fs.mkdirSync(path.join(this.directory, "state"));
        this.configure({});
    }

    public file(name: string, content: string): string {
        const file = path.join(this.directory, name);
        fs.mkdirSync(path.dirname(file), { recursive: true });
        fs.writeFileSync(file, content);
        return file;
    }

    /** Changes values of the stack's configuration. */
    public configure(values: Record<string, unknown>): void {
        Object.assign(this.config, values);
        const config = Object.fromEntries(
            Object.entries(this.config).map(([key, value]) => [`${this.name}:${key}`, value]),
        );
        this.stackFile({ config, ...(this.encryptionSalt ? { encryptionsalt: this.encryptionSalt } : {}) });
    }

    public stackFile(content: object): void {
        this.file("Pulumi.dev.yaml", JSON.stringify(content));
    }

    public async run(
        kind: OperationKind,
        options: { readonly interruptible?: (interrupt: () => void) => void; readonly parallel?: number } = {},
    ): Promise<Outcome> {
        const events: EngineEvent[] = [];
        const { outcome, outputs } = await runOperation({
            kind,
            project: loadProject(this.directory),
            stack: "dev",
            environment: this.environment,
            parallel: options.parallel ?? 16,
            emit: (event) => events.push(event),
            ...(options.interruptible ? { interruptible: options.interruptible } : {}),
        });
        // Nobody is shown what is for debugging; the SDK's own such lines have secrets in them.
        const logs = events.filter((event) => event.kind === "log").filter(({ severity }) => severity !== "debug");
        return {
            outcome,
            outputs,
            steps: events.flatMap((event) => describeStep(event)),
            errors: logs.filter(({ severity }) => severity === "error").map(({ message }) => message),
            logs: logs.filter(({ severity }) => severity !== "error").map(({ message }) => message),
        };
    }

    /** What the commands of the program have done since this was asked last. */
    public takeLog(): readonly string[] {
        const file = path.join(this.directory, "log");
        const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
        fs.rmSync(file, { force: true });
        return lines;
    }

    public checkpointText(): string {
        return fs.readFileSync(this.checkpointPath, "utf8");
    }

    public get checkpointPath(): string {
        return path.join(this.directory, "state/.pulumi/stacks", this.name, "dev.json");
    }

    /** The newest record of the stack's history. */
    public lastUpdate(): { readonly kind: string; readonly resourceChanges: Readonly<Record<string, number>> } {
        const history = path.join(this.directory, "state/.pulumi/history", this.name, "dev");
        const [newest = ""] = fs
            .readdirSync(history)
            .filter((name) => name.endsWith(".history.json"))
            .sort()
            .reverse();
        return JSON.parse(fs.readFileSync(path.join(history, newest), "utf8")) as ReturnType<TestProject["lastUpdate"]>;
    }

    public resources(): readonly CheckpointResource[] {
        const { checkpoint } = JSON.parse(this.checkpointText()) as {
            readonly checkpoint: { readonly latest: { readonly resources?: readonly CheckpointResource[] } };
        };
        return checkpoint.latest.resources ?? [];
    }

    public resource(name: string): CheckpointResource {
        const found = this.resources().find(({ urn }) => urn.endsWith(`::${name}`));
        if (found === undefined) {
            throw new Error(`there is no ${name} in the state: ${this.names().join(", ")}`);
        }
        return found;
    }

    /** The names of the resources in the state, without the stack and its providers. */
    public names(): readonly string[] {
        return this.resources()
            .filter(({ type }) => type !== "pulumi:pulumi:Stack" && !type.startsWith("pulumi:providers:"))
            .map(({ urn, delete: condemned, pendingReplacement }) => {
                const name = urn.split("::").at(-1) ?? "";
                return condemned ? `${name} (to be deleted)` : pendingReplacement ? `${name} (to be created)` : name;
            });
    }

    /** Runs the Pulumi CLI on the project; it is to be on PATH. */
    public async pulumi(...args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
        return new Promise((resolve, reject) => {
            const child = spawn("pulumi", [...args, "--non-interactive"], {
                cwd: this.directory,
                env: { ...this.environment, PULUMI_SKIP_UPDATE_CHECK: "true" },
                stdio: ["ignore", "pipe", "pipe"],
            });
            let output = "";
            child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
            child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
            child.once("error", reject);
            child.once("close", (code) => resolve({ code: code ?? 1, output }));
        });
    }

    public remove(): void {
        fs.rmSync(this.directory, { recursive: true, force: true });
    }
}

function describeStep(event: EngineEvent): readonly string[] {
    if (event.kind !== "step" || event.phase !== "done" || event.step.op === "same" || event.step.op === "refresh") {
        return [];
    }
    const { op, urn, type } = event.step;
    const isOfEngine = type === "pulumi:pulumi:Stack" || type.startsWith("pulumi:providers:");
    return isOfEngine ? [] : [`${op} ${urn.split("::").at(-1) ?? ""}`];
}
