import { execFile, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";

import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { stringify } from "yaml";

import type { PlatformDescriptor } from "../../platform/descriptor";
import { readDescriptor } from "../../platform/descriptor";

import { TemporaryDirectory } from "./temporary";

export const projectDirectory = path.resolve(__dirname, "../..");

export interface Finished {
    readonly code: number;
    readonly stdout: string;
    readonly stderr: string;
    readonly seconds: number;
}

/** Runs `ke1`, whatever its exit code. */
export async function ke1(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Finished> {
    return run(path.join(projectDirectory, "bin", "ke1"), args, environment);
}

export async function run(
    command: string,
    args: readonly string[],
    environment: NodeJS.ProcessEnv = {},
): Promise<Finished> {
    const started = process.hrtime.bigint();
    return new Promise((resolve, reject) => {
        const child = spawn(command, args, {
            cwd: projectDirectory,
            env: { ...process.env, ...environment },
            stdio: ["ignore", "pipe", "pipe"],
        });
        let stdout = "";
        let stderr = "";
        child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
        child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
        child.on("error", reject);
        child.on("close", (code, signal) => {
            const seconds = Number(process.hrtime.bigint() - started) / 1e9;
            resolve({ code: code ?? (signal === "SIGINT" ? 130 : 137), stdout, stderr, seconds });
        });
    });
}

/** The embedded platform, which must be up. */
export function platform(): PlatformDescriptor {
    const descriptor = readDescriptor();
    if (!descriptor) {
        throw new Error("the embedded platform is not up: run `ke1 platform up`");
    }
    return descriptor;
}

/** The platform's blob store. */
export function blobService(): BlobServiceClient {
    const { blobEndpoint, blobCredentialFile } = platform();
    const { account, key } = JSON.parse(fs.readFileSync(blobCredentialFile, "utf8")) as {
        account: string;
        key: string;
    };
    return new BlobServiceClient(blobEndpoint, new StorageSharedKeyCredential(account, key));
}

/** Runs kubectl as the platform's administrator; throws when it fails. */
export async function kubectl(...args: string[]): Promise<string> {
    const { kubectl: command, kubeconfig } = platform();
    const { stdout } = await promisify(execFile)(command, args, {
        env: { ...process.env, KUBECONFIG: kubeconfig },
        maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
}

/** A stack of this project for one test, with a state and a blob container of its own; `remove` leaves nothing of it. */
export class TemporaryStack {
    public readonly name: string;
    public readonly container: string;
    public readonly namespace: string;
    private readonly file: string;
    private readonly backend = new TemporaryDirectory();

    public constructor(
        prefix: string,
        private readonly config: Record<string, unknown> = {},
    ) {
        const unique = `${prefix}-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
        this.name = `tmp-${unique}`;
        this.container = `tmp-${unique}`;
        this.namespace = `ke-1-build-${this.name}`;
        this.file = path.join(projectDirectory, `Pulumi.${this.name}.yaml`);
        this.configure({});
    }

    /** Changes the stack's configuration. */
    public configure(more: Record<string, unknown>): void {
        const config = { blobContainer: this.container, ...this.config, ...more };
        const qualified = Object.fromEntries(
            Object.entries(config).map(([key, value]) => [`ke-1-build:${key}`, value]),
        );
        fs.writeFileSync(this.file, stringify({ config: qualified }));
    }

    public async ke1(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Finished> {
        return ke1([...args, "--stack", this.name], { ...this.environment, ...environment });
    }

    /** What a process needs to work on this stack. */
    public get environment(): NodeJS.ProcessEnv {
        return { PULUMI_BACKEND_URL: `file://${this.backend.path}`, PULUMI_CONFIG_PASSPHRASE: this.name };
    }

    /** All blobs of the stack's container, by name. */
    public async blobs(prefix = ""): Promise<readonly string[]> {
        const names: string[] = [];
        for await (const blob of this.containerClient().listBlobsFlat({ prefix })) {
            names.push(blob.name);
        }
        return names.sort();
    }

    public async blob(name: string): Promise<Buffer> {
        return this.containerClient().getBlobClient(name).downloadToBuffer();
    }

    public containerClient() {
        return blobService().getContainerClient(this.container);
    }

    public async remove(): Promise<void> {
        await this.ke1(["destroy", "--yes"]);
        await kubectl("delete", "namespace", this.namespace, "--ignore-not-found", "--wait=false");
        // In no namespace: a test in which `destroy` cannot or may not remove them would leave them.
        const rules = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        await kubectl("delete", rules, `ke1-${this.namespace}`, "--ignore-not-found");
        await this.containerClient().deleteIfExists();
        fs.rmSync(this.file, { force: true });
        this.backend.remove();
    }
}
