import { statSync } from "node:fs";
import { UserError } from "../contract/errors";
import type { FileBackend, LockHolder, StackReference } from "./backend";
import {
    type Deployment,
    type ExportedDeployment,
    formatCheckpoint,
    formatDeployment,
    hasCiphertexts,
    parseCheckpoint,
    requireSupported,
    type SerializedResource,
} from "./checkpoint";
import type { Project } from "./project";
import { recoverCheckpoint } from "./snapshot";
import { codecFor, openBackend, stackSecrets } from "./stack";
import { stackType } from "./state";
import { isSecret, type PropertyMap, redacted, signatureKey, transform, type Value, withoutSecrets } from "./values";

export interface StackSummary {
    readonly name: string;
    readonly resources: number;
    /** ISO 8601; absent where it has never been updated. */
    readonly updated?: string;
}

export function listStacks(project: Project, environment: NodeJS.ProcessEnv): readonly StackSummary[] {
    const backend = openBackend(project, environment);
    return backend.stacks(project.name).map((reference) => {
        const { resources = [] } = parseCheckpoint(read(backend, reference).toString("utf8"));
        const updated = statSync(backend.checkpointPath(reference)).mtime.toISOString();
        return { name: reference.stack, resources: resources.length, ...(resources.length > 0 ? { updated } : {}) };
    });
}

/** The outputs of a stack as of its last update; its secrets are `[secret]` unless they are to be shown. */
export async function stackOutputs(
    project: Project,
    stack: string,
    environment: NodeJS.ProcessEnv,
    showSecrets: boolean,
): Promise<PropertyMap> {
    const content = read(openBackend(project, environment), { project: project.name, stack });
    const { codec } = codecFor(content, stackSecrets(project, environment));
    const root = parseCheckpoint(content.toString("utf8")).resources?.find(({ type }) => type === stackType);
    if (root === undefined) {
        return {};
    }
    if (showSecrets && hasCiphertexts(JSON.stringify(root))) {
        await codec.open();
    }
    const { outputs } = codec.decode(root);
    return showSecrets ? withoutSecrets(outputs) : (redacted(outputs) as PropertyMap);
}

export async function exportStack(
    project: Project,
    stack: string,
    environment: NodeJS.ProcessEnv,
    showSecrets: boolean,
): Promise<ExportedDeployment> {
    const content = read(openBackend(project, environment), { project: project.name, stack });
    const deployment = parseCheckpoint(content.toString("utf8"));
    if (!showSecrets || !hasCiphertexts(content.toString("utf8"))) {
        return { version: 3, deployment };
    }
    const { codec } = codecFor(content, stackSecrets(project, environment));
    await codec.open();
    const shown = (deployment.resources ?? []).map((resource): SerializedResource => {
        const { inputs, outputs } = codec.decode(resource);
        return { ...resource, inputs: plaintext(inputs), outputs: plaintext(outputs) };
    });
    return { version: 3, deployment: { ...deployment, resources: shown } };
}

/** Takes over a state that `export` of this engine or the CLI has printed; the passphrase is to be the same. */
export async function importStack(
    project: Project,
    stack: string,
    environment: NodeJS.ProcessEnv,
    text: string,
): Promise<void> {
    const reference: StackReference = { project: project.name, stack };
    const deployment = parseExport(text, reference);
    const backend = openBackend(project, environment);
    const unlock = backend.lock(reference, () => undefined);
    try {
        const secrets = stackSecrets(project, environment);
        const existing = recoverCheckpoint(backend, reference, true);
        const own = existing && parseCheckpoint(existing.content.toString("utf8")).secrets_providers?.state?.salt;
        const salt = deployment.secrets_providers?.state?.salt ?? own ?? (await secrets.create());
        const draft = Buffer.from(
            formatCheckpoint(reference, { ...deployment, secrets_providers: { type: "passphrase", state: { salt } } }),
        );
        const { codec } = codecFor(draft, secrets);
        await codec.open();
        // Secrets that were exported in the clear are sealed again.
        const { resources, pendingOperations } = codec.decodeSnapshot(deployment);
        const pending = pendingOperations.map(({ type, resource }) => ({ type, resource: codec.encode(resource) }));
        const sealed = formatDeployment(
            salt,
            resources.map((resource) => codec.encode(resource)),
            pending,
        );
        backend.writeCheckpoint(reference, formatCheckpoint(reference, sealed));
    } finally {
        unlock();
    }
}

/** @throws UserError where it still has resources. */
export function removeStack(project: Project, stack: string, environment: NodeJS.ProcessEnv): void {
    const backend = openBackend(project, environment);
    const reference: StackReference = { project: project.name, stack };
    const unlock = backend.lock(reference, () => undefined);
    try {
        const { resources = [] } = parseCheckpoint(read(backend, reference).toString("utf8"));
        if (resources.length > 0) {
            throw new UserError(
                `The stack ${stack} still has ${resources.length} resources: run \`ke1 destroy\` first.`,
            );
        }
        backend.removeStack(reference);
    } finally {
        unlock();
    }
}

/** Removes the locks of a stack; what a killed deployment had done is taken over into the state. */
export function unlockStack(project: Project, stack: string, environment: NodeJS.ProcessEnv): readonly LockHolder[] {
    const backend = openBackend(project, environment);
    const reference: StackReference = { project: project.name, stack };
    const holders = backend.cancel(reference);
    if (holders.length === 0) {
        throw new UserError(`The stack ${stack} is not locked.`);
    }
    recoverCheckpoint(backend, reference, true);
    return holders;
}

function read(backend: FileBackend, reference: StackReference): Buffer {
    const checkpoint = recoverCheckpoint(backend, reference, false);
    if (checkpoint === undefined) {
        const known = backend.stacks(reference.project).map(({ stack }) => stack);
        const hint = known.length > 0 ? `there are ${known.join(", ")}` : "there is none yet; `ke1 up` creates it";
        throw new UserError(`There is no stack "${reference.stack}" of the project ${reference.project}: ${hint}.`);
    }
    return checkpoint.content;
}

function parseExport(text: string, { project, stack }: StackReference): Deployment {
    let exported: ExportedDeployment;
    try {
        exported = JSON.parse(text) as ExportedDeployment;
    } catch (error) {
        throw new UserError(`The state to be imported is not JSON: ${(error as Error).message}`);
    }
    requireSupported(exported.version, exported.features);
    const deployment = exported.deployment ?? {};
    const foreign = (deployment.resources ?? []).find(
        ({ urn }) => !urn.startsWith(`urn:pulumi:${stack}::${project}::`),
    );
    if (foreign !== undefined) {
        throw new UserError(`The state to be imported is of another stack: it has ${foreign.urn}.`);
    }
    return deployment;
}

/** Secrets as the CLI exports them with `--show-secrets`. */
function plaintext(value: PropertyMap): Value {
    return transform(value, (element) => {
        if (!isSecret(element)) {
            return undefined;
        }
        const signature = element[signatureKey];
        return {
            ...(signature === undefined ? {} : { [signatureKey]: signature }),
            plaintext: JSON.stringify(withoutSecrets(element.value)),
        };
    });
}
