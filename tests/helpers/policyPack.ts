import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import * as path from "node:path";

import * as grpc from "@grpc/grpc-js";
import { AnalyzerClient } from "@pulumi/pulumi/proto/analyzer_grpc_pb";
import { AnalyzerResourceOptions, AnalyzeRequest, EnforcementLevel } from "@pulumi/pulumi/proto/analyzer_pb";
import * as empty from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";

const project = path.join(__dirname, "../..");

/** A resource as it is declared. */
export interface Declaration {
    readonly type: string;
    readonly inputs: object;
    readonly options?: { readonly protect?: boolean };
}

export interface Finding {
    readonly policy: string;
    readonly message: string;
    /** Whether the engine goes on no further. */
    readonly mandatory: boolean;
}

/** The policy pack in a process of its own, started and asked as the Pulumi CLI does it. */
export class PolicyPack {
    private constructor(
        private readonly process: ChildProcess,
        private readonly client: AnalyzerClient,
    ) {}

    public static async start(): Promise<PolicyPack> {
        const directory = path.join(project, "policy");
        const runner = path.join(project, "node_modules/@pulumi/pulumi/cmd/run-policy-pack");
        // The first argument is the engine's address, to which a pack sends log lines: this one has none to send.
        const started = spawn(process.execPath, [runner, "127.0.0.1:1", directory], {
            cwd: directory,
            stdio: ["ignore", "pipe", "pipe"],
        });
        const port = await new Promise<string>((resolve, reject) => {
            let errors = "";
            started.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
            started.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()));
            started.once("exit", () => reject(new Error(`the policy pack ended: ${errors}`)));
        });
        return new PolicyPack(
            started,
            new AnalyzerClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
                "grpc.enable_http_proxy": 0,
            }),
        );
    }

    /** The names of its policies. */
    public async policies(): Promise<readonly string[]> {
        return new Promise((resolve, reject) => {
            this.client.getAnalyzerInfo(new empty.Empty(), (error, info) => {
                if (error) {
                    reject(error);
                } else {
                    resolve(info.getPoliciesList().map((policy) => policy.getName()));
                }
            });
        });
    }

    /** What the pack finds wrong with a resource, which is asked before the resource is made. */
    public async analyze({ type, inputs, options }: Declaration): Promise<readonly Finding[]> {
        const request = new AnalyzeRequest();
        request.setUrn(`urn:pulumi:azure::ke-1-build::${type}::it`);
        request.setType(type);
        request.setName("it");
        // What is undefined is not declared.
        request.setProperties(Struct.fromJavaScript(JSON.parse(JSON.stringify(inputs))));
        const given = new AnalyzerResourceOptions();
        given.setProtect(options?.protect ?? false);
        request.setOptions(given);
        return new Promise((resolve, reject) => {
            this.client.analyze(request, (error, response) => {
                if (error) {
                    reject(error);
                    return;
                }
                resolve(
                    response.getDiagnosticsList().map((found) => ({
                        policy: found.getPolicyname(),
                        message: found.getMessage(),
                        mandatory: found.getEnforcementlevel() === EnforcementLevel.MANDATORY,
                    })),
                );
            });
        });
    }

    public stop(): void {
        this.client.close();
        this.process.kill();
    }
}
