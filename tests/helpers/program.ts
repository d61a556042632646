import * as pulumi from "@pulumi/pulumi";

import type { TemporaryRepository } from "./temporary";

export type Inputs = Record<string, any>;

/** A resource that the program declared. */
export interface Declared {
    readonly type: string;
    readonly name: string;
    readonly inputs: Inputs;
    readonly options: {
        /** `<type>::<name>`; empty for one without a component around it. */
        readonly parent: string;
        readonly protect: boolean;
        readonly retainOnDelete: boolean;
    };
    /** The inputs that are secret as a whole, or have a secret in them: paths with dots. */
    readonly secrets: readonly string[];
}

export interface ProgramRun {
    readonly declared: readonly Declared[];
    readonly invoked: readonly { readonly token: string; readonly inputs: Inputs }[];
    readonly outputs: Inputs;
    readonly all: (type: string) => readonly Declared[];
    /** The inputs of the one resource of a type (and name). */
    readonly one: (type: string, name?: string) => any;
}

export interface ProgramOptions {
    /** Without the project's name. */
    readonly config: Readonly<Record<string, string>>;
    readonly secretKeys?: readonly string[];
    readonly environment?: NodeJS.ProcessEnv;
    readonly stack?: string;
    /** Nothing that a provider would say is known then. */
    readonly preview?: boolean;
    readonly call?: (token: string, inputs: Inputs) => Inputs;
    /** Its module; index.ts by default. */
    readonly program?: "index" | "main" | "serviceProgram";
}

export const testDigest = `sha256:${"a".repeat(64)}`;
const project = "ke-1-build";
const subscription = "/subscriptions/3fbd2d36-0000-4000-8000-000000000001";

/** A commit with what a build needs. @returns its short hash */
export function buildableRepository(repository: TemporaryRepository): string {
    repository.file("Dockerfile", "FROM scratch\n");
    repository.file("Makefile", "build:\n\ttrue\nbuild-wrapper:\n\t$(KE1_WRAP) $(MAKE) build\n");
    return repository.commit();
}

/** Runs the program with Pulumi's mocks in place of an engine, and waits for its outputs. */
export async function runProgram(options: ProgramOptions): Promise<ProgramRun> {
    const modules =
        options.program === "main"
            ? ["../../main", "../../images", "../../index"]
            : [`../../${options.program ?? "index"}`];
    const declared: Declared[] = [];
    const invoked: { token: string; inputs: Inputs }[] = [];
    const environmentBefore = { ...process.env };
    const secretKeys = (options.secretKeys ?? []).map((key) => `${project}:${key}`);
    Object.assign(process.env, options.environment, { PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(secretKeys) });
    pulumi.runtime.setAllConfig(
        Object.fromEntries(Object.entries(options.config).map(([key, value]) => [`${project}:${key}`, value])),
        secretKeys,
    );
    await pulumi.runtime.setMocks(
        {
            newResource: (args) => {
                return stateOf(args, options.preview ?? false);
            },
            call: (args) => {
                invoked.push({ token: args.token, inputs: args.inputs as Inputs });
                return options.call?.(args.token, args.inputs as Inputs) ?? args.inputs;
            },
        },
        project,
        options.stack ?? "dev",
        options.preview ?? false,
    );
    observe((request) => {
        const parent = request.getParent().split("::").slice(2).join("::");
        declared.push({
            type: request.getType(),
            name: request.getName(),
            inputs: plain(request.getObject()?.toJavaScript() ?? {}) as Inputs,
            options: {
                parent: parent.replace(/^.*\$/, "").replace(/^pulumi:pulumi:Stack::.*$/, ""),
                protect: request.getProtect(),
                retainOnDelete: request.getRetainondelete(),
            },
            secrets: secretPaths(request.getObject()?.toJavaScript() ?? {}),
        });
    });
    try {
        // The program is a module: it runs when it is loaded.
        for (const module of modules) {
            // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
            delete require.cache[require.resolve(module)];
        }
        const program = (await import(modules[0] ?? "")) as unknown as Inputs;
        const outputs = await settled(program, options.preview ?? false);
        const all = (type: string) => declared.filter((resource) => resource.type === type);
        const one = (type: string, name?: string) => {
            const found = all(type).filter((resource) => name === undefined || resource.name === name);
            if (found.length !== 1) {
                throw new Error(`there are ${found.length} of ${type} ${name ?? ""}, not one`);
            }
            return found[0]?.inputs;
        };
        return { declared, invoked, outputs, all, one };
    } finally {
        process.env = environmentBefore;
    }
}

async function settled(program: Inputs, preview: boolean): Promise<Inputs> {
    const outputs: Inputs = {};
    for (const [key, value] of Object.entries(program)) {
        if (key !== "default") {
            const output = pulumi.output(value) as pulumi.Output<unknown> & {
                promise: () => Promise<unknown>;
                isKnown: Promise<boolean>;
            };
            outputs[key] = preview && !(await output.isKnown) ? undefined : await output.promise();
        }
    }
    // What nothing waits for is registered too.
    await (pulumi.runtime as unknown as { waitForRPCs: () => Promise<void> }).waitForRPCs();
    return outputs;
}

/** The part of `pulumirpc.RegisterResourceRequest` that is looked at. */
interface RegisterRequest {
    readonly getType: () => string;
    readonly getName: () => string;
    readonly getParent: () => string;
    readonly getProtect: () => boolean;
    readonly getRetainondelete: () => boolean;
    readonly getObject: () => { readonly toJavaScript: () => Inputs } | undefined;
}

/** Mocks are not told a resource's options: what is sent to the monitor has them. */
function observe(seen: (request: RegisterRequest) => void): void {
    const monitor = pulumi.runtime.getMonitor() as unknown as {
        registerResource: (request: RegisterRequest, callback: unknown) => unknown;
    };
    const register = monitor.registerResource.bind(monitor);
    monitor.registerResource = (request, callback) => {
        seen(request);
        return register(request, callback);
    };
}

/** https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/sig/sig.go */
const signatureKey = "4dabf18193072939515e22adb298388d";
const secretSignature = "1b47061264138c4ac30d75fd1eb44270";
const outputSignature = "d0e6a833031e9bbcd3f4e8bde6ca49a4";
const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** Values as the program gave them; undefined for what is not known. */
function plain(value: unknown): unknown {
    if (value === unknownValue) {
        return undefined;
    }
    if (Array.isArray(value)) {
        return value.map(plain);
    }
    if (typeof value !== "object" || value === null) {
        return value;
    }
    const object = value as Record<string, unknown>;
    return object[signatureKey] === secretSignature || object[signatureKey] === outputSignature
        ? plain(object["value"])
        : Object.fromEntries(Object.entries(object).map(([key, inner]) => [key, plain(inner)]));
}

function secretPaths(value: unknown, path: readonly string[] = []): string[] {
    if (typeof value !== "object" || value === null) {
        return [];
    }
    const object = value as Record<string, unknown>;
    const isSecret =
        object[signatureKey] === secretSignature ||
        (object[signatureKey] === outputSignature && object["secret"] === true);
    return isSecret
        ? [path.join(".")]
        : Object.entries(object).flatMap(([key, inner]) => secretPaths(inner, [...path, key]));
}

/** What the provider would say of a new resource: what is known of it only when it is there. */
function stateOf(args: pulumi.runtime.MockResourceArgs, preview: boolean): { id: string | undefined; state: Inputs } {
    const inputs = args.inputs as Inputs;
    const id = (value: string) => (preview ? undefined : value);
    const computed = (state: Inputs) => ({ ...inputs, ...(preview ? {} : state) });
    switch (args.type) {
        case "docker:index/image:Image":
            return { id: id(args.name), state: computed({ repoDigest: `localhost:5001/ke-1-build@${testDigest}` }) };
        case "command:local:Command":
            return { id: id(args.name), state: computed({ stdout: stdoutOf(args.name) }) };
        case "azure-native:storage:StorageAccount":
            return { id: id(args.name), state: { ...inputs, name: inputs["accountName"] } };
        case "azure-native:storage:BlobContainer":
            return { id: id(testContainerId), state: { ...inputs, name: inputs["containerName"] } };
        case "azure-native:managedidentity:UserAssignedIdentity":
            return {
                id: id(args.name),
                state: computed({
                    name: inputs["resourceName"],
                    clientId: "c11e0000-0000-4000-8000-000000000001",
                    principalId: "9c1e0000-0000-4000-8000-000000000002",
                }),
            };
        default:
            return { id: id(`${args.name}-id`), state: inputs };
    }
}

export const testContainerId = `${subscription}/resourceGroups/kerbodyne-builds/providers/Microsoft.Storage/storageAccounts/kerbodyne/blobServices/default/containers/ke-1-builds`;

function stdoutOf(name: string): string {
    if (name === "artifacts-container") {
        return JSON.stringify({ container: "ke-1-builds" });
    }
    if (name === "service-credential") {
        return JSON.stringify({ secret: "ke1-store" });
    }
    if (name.endsWith("identity-credential")) {
        return JSON.stringify({ secret: "ke1-blob-credential" });
    }
    const artifacts = [{ name: "ke-1-ctl", url: "http://x", size: 1, sha256: "0" }];
    return JSON.stringify({ outcome: "Succeeded", artifacts });
}
