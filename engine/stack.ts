import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../contract/errors";
import { ke1Home } from "../platform/home";
import { backendDirectory, FileBackend, makeDirectory, type StackReference } from "./backend";
import { formatCheckpoint, formatDeployment, hasCiphertexts, parseCheckpoint, ResourceCodec } from "./checkpoint";
import {
    configuredStacks,
    loadStackFile,
    type Project,
    resolveConfig,
    type StackConfig,
    type StackFile,
} from "./project";
import { createSecrets, type Crypter, openSecrets, readPassphrase } from "./secrets";

/** A stack's keys: derived when first needed, each once. */
export class StackSecrets {
    private readonly crypters = new Map<string, Promise<Crypter>>();

    public constructor(private readonly passphrase: () => string) {}

    public crypter(state: string): Promise<Crypter> {
        let crypter = this.crypters.get(state);
        if (crypter === undefined) {
            crypter = openSecrets(this.passphrase(), state);
            this.crypters.set(state, crypter);
        }
        return crypter;
    }

    /** The state of a new secrets provider. */
    public async create(): Promise<string> {
        const { state, crypter } = await createSecrets(this.passphrase());
        this.crypters.set(state, Promise.resolve(crypter));
        return state;
    }
}

/** Where the stacks' state is: PULUMI_BACKEND_URL, or what the project says, or `$KE1_HOME`. */
export function openBackend(project: Project | undefined, environment: NodeJS.ProcessEnv): FileBackend {
    const url = environment.PULUMI_BACKEND_URL ?? project?.backendUrl;
    if (url) {
        return new FileBackend(backendDirectory(url));
    }
    makeDirectory(ke1Home());
    return new FileBackend(ke1Home());
}

/**
 * The passphrase of the environment. With the default backend, where none is set, one is generated once, and kept in
 * `$KE1_HOME/credentials/passphrase`: export PULUMI_CONFIG_PASSPHRASE_FILE with that path for the CLI.
 */
export function stackSecrets(project: Project | undefined, environment: NodeJS.ProcessEnv): StackSecrets {
    return new StackSecrets(() =>
        readPassphrase(environment, () => {
            if (environment.PULUMI_BACKEND_URL ?? project?.backendUrl) {
                throw new UserError(
                    "Set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE: the stack has secrets.",
                );
            }
            const directory = join(ke1Home(), "credentials");
            const path = join(directory, "passphrase");
            if (!existsSync(path)) {
                makeDirectory(directory);
                writeFileSync(path, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
            }
            return readFileSync(path, "utf8").trim();
        }),
    );
}

/**
 * The same, and begins to derive the key that the stack's state needs, where it has secrets: a sixth of a second in a thread
 * of its own, while other things are done. What is wrong with the state or the passphrase is said when they are used.
 */
export function beginSecrets(project: Project, stack: string, environment: NodeJS.ProcessEnv): StackSecrets {
    const secrets = stackSecrets(project, environment);
    try {
        const content = openBackend(project, environment).readCheckpoint({ project: project.name, stack })?.toString();
        const salt = content !== undefined && hasCiphertexts(content) ? saltOf(content) : undefined;
        if (salt !== undefined) {
            secrets.crypter(salt).catch(() => undefined);
        }
    } catch {
        // There is nothing yet, or nothing that can be read.
    }
    return secrets;
}

function saltOf(checkpoint: string): string | undefined {
    return parseCheckpoint(checkpoint).secrets_providers?.state?.salt;
}

/** The stack's configuration file, or a word on which there are. */
export function requireStackFile(project: Project, stack: string): StackFile {
    const file = loadStackFile(project, stack);
    if (file === undefined) {
        const known = configuredStacks(project);
        const hint =
            known.length > 0
                ? `there are ${known.map((name) => `"${name}"`).join(", ")}`
                : "there is none for any stack";
        throw new UserError(`There is no Pulumi.${stack}.yaml in ${project.root}: ${hint}.`);
    }
    return file;
}

export async function loadConfig(
    project: Project,
    stack: string,
    file: StackFile,
    secrets: StackSecrets,
): Promise<StackConfig> {
    const { hasSecrets, encryptionSalt } = file;
    return resolveConfig(
        project,
        stack,
        file,
        hasSecrets && encryptionSalt ? await secrets.crypter(encryptionSalt) : undefined,
    );
}

/** The checkpoint of a stack that has nothing yet. */
export function emptyCheckpoint(reference: StackReference, salt: string | undefined): string {
    return formatCheckpoint(reference, formatDeployment(salt, [], []));
}

/** The codec for a checkpoint: with the salt that the checkpoint itself has. */
export function codecFor(
    content: Buffer,
    secrets: StackSecrets,
): { readonly codec: ResourceCodec; readonly salt: string | undefined } {
    const provider = parseCheckpoint(content.toString("utf8")).secrets_providers;
    if (provider !== undefined && provider.type !== "passphrase") {
        throw new UserError(
            `The stack's secrets are kept by "${provider.type}", which the embedded engine does not support: use the Pulumi CLI.`,
        );
    }
    const salt = provider?.state?.salt;
    const codec = new ResourceCodec(() => {
        if (salt === undefined) {
            throw new UserError("The stack's state has no secrets provider, but there is a secret to be kept in it.");
        }
        return secrets.crypter(salt);
    });
    return { codec, salt };
}
