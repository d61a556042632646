import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { addToken } from "../../service/tokens";
import { ke1, projectDirectory, TemporaryStack } from "./ke1";
import { TemporaryDirectory } from "./temporary";

/** A `ke1 serve` of one test, with a data directory and a base stack of its own. */
export class RunningService {
    public readonly data = new TemporaryDirectory();
    public readonly stack: TemporaryStack;
    /** An administrator's. */
    public readonly token: string;
    public output = "";
    public url = "";
    private child: ChildProcess | undefined;

    public constructor(
        prefix: string,
        private readonly options: readonly string[] = [],
        config: Record<string, unknown> = {},
    ) {
        this.stack = new TemporaryStack(prefix, { admission: false, ...config });
        this.token = addToken(path.join(this.data.path, "tokens"), "tester", "admin");
    }

    /** Adds somebody who may ask; before `start`. */
    public tokenOf(name: string, scopes: string): string {
        return addToken(path.join(this.data.path, "tokens"), name, scopes);
    }

    /** Starts it on a free port, and waits until it listens. */
    public async start(environment: NodeJS.ProcessEnv = {}): Promise<void> {
        const args = ["serve", "--stack", this.stack.name, "--data", this.data.path, "--port", "0", ...this.options];
        const child = spawn(path.join(projectDirectory, "bin", "ke1"), args, {
            cwd: projectDirectory,
            env: { ...process.env, ...this.stack.environment, ...environment },
            stdio: ["ignore", "ignore", "pipe"],
        });
        this.child = child;
        this.url = await new Promise<string>((resolve, reject) => {
            child.stderr.setEncoding("utf8").on("data", (text: string) => {
                this.output += text;
                const [, url] = /serves builds at (\S+) [^\n]*\n(?![^]*serves builds at)/.exec(this.output) ?? [];
                if (url !== undefined) {
                    resolve(url);
                }
            });
            child.once("exit", (code) =>
                reject(new Error(`the service ended with ${code ?? "a signal"}: ${this.output}`)),
            );
        });
    }

    /** Asks as the administrator, or as the owner of another token. */
    public async ask(method: string, route: string, body?: unknown, token = this.token): Promise<Answer> {
        const response = await fetch(`${this.url}${route}`, {
            method,
            headers: {
                authorization: `Bearer ${token}`,
                ...(body === undefined ? {} : { "content-type": "application/json" }),
            },
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        const text = await response.text();
        const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
        return {
            status: response.status,
            headers: response.headers,
            text,
            body: isJson ? JSON.parse(text) : undefined,
        };
    }

    /** Waits until a build has ended, and what it made in the cluster is gone. */
    public async ended(id: string, seconds = 120): Promise<any> {
        const until = Date.now() + seconds * 1000;
        for (;;) {
            const { body } = await this.ask("GET", `/v1/builds/${id}`);
            if (["succeeded", "failed", "cancelled"].includes(body.state) && !body.kept) {
                return body;
            }
            if (Date.now() > until) {
                throw new Error(`the build ${id} has not ended: ${JSON.stringify(body)}\n${this.output}`);
            }
            await sleep(200);
        }
    }

    public async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
        const { child } = this;
        if (child?.exitCode === null && child.signalCode === null) {
            const exited = once(child, "exit");
            child.kill(signal);
            await exited;
        }
        this.child = undefined;
    }

    /** Leaves nothing of it: its builds' stacks are destroyed, those of a service that was killed too. */
    public async remove(): Promise<void> {
        await this.end();
        const environment = { ...this.stack.environment, PULUMI_BACKEND_URL: `file://${this.data.path}/state` };
        const { stdout } = await ke1(["stack", "ls", "--json"], environment);
        for (const { name } of JSON.parse(stdout === "" ? "[]" : stdout) as readonly { readonly name: string }[]) {
            await ke1(["stack", "cancel", "--stack", name], environment);
            // Theirs may be gone; what is deleted is in their state.
            const config = path.join(projectDirectory, `Pulumi.${this.stack.name}.yaml`);
            await ke1(["destroy", "--stack", name, "--config-file", config], environment);
        }
        await this.stack.remove();
        this.data.remove();
    }
}

export interface Answer {
    readonly status: number;
    readonly headers: Headers;
    readonly text: string;
    readonly body: any;
}
