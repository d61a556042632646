import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { messageOf, UserError } from "../../../contract/errors";
import {
    asString,
    equal,
    isArray,
    isObject,
    isSecret,
    omit,
    type PropertyMap,
    unknown,
    unwrap,
    type Value,
} from "../../values";
import {
    type CallContext,
    type CheckFailure,
    type CheckResult,
    type CreateResult,
    type DiffResult,
    type OldState,
    PartialFailure,
    type Provider,
    type ProviderPackage,
    type ReadResult,
} from "../provider";
import {
    podSelectorOf,
    poll,
    propagationOf,
    readinessOf,
    skipsAwait,
    skipsAwaitOfDeletion,
    timeoutOf,
    troubleOf,
} from "./await";
import { ApiError, KubeClient, objectPath, type ResourceInfo } from "./client";
import {
    annotationOf,
    appliedInputs,
    diffInputs,
    idOf,
    isAutonamed,
    isFullyKnown,
    kindOf,
    type KubeObject,
    liveInputs,
    metadataOf,
    nameOfObject,
    namespaceOf,
    parseId,
    toApply,
    toOutputs,
    withMetadata,
    withName,
    withSecretData,
} from "./objects";

/** Configuration of the provider that is supported; the rest is refused rather than ignored. */
const supportedConfig = new Set([
    "kubeconfig",
    "context",
    "cluster",
    "namespace",
    "clusterIdentifier",
    "enableServerSideApply",
    "enableConfigMapMutable",
    "enableSecretMutable",
    "enablePatchForce",
    "upsertExistingObjects",
    "suppressDeprecationWarnings",
    "version",
]);

/** Of the reasons why pods are not ready, this many are told. */
const maxTroubles = 3;

/** Field managers of this provider and of Pulumi's own: `pulumi-kubernetes` and `pulumi-kubernetes-<8 hex>`. */
const ownManager = /^pulumi-kubernetes(-[0-9a-f]{8})?$/;

/** The package `kubernetes`: objects of any kind that the cluster serves, but for Helm, Kustomize, Patch and List types. */
export const kubernetesPackage: ProviderPackage = {
    supports: (token) => {
        const [, group = "", kind = ""] = token.split(":");
        return !/^(helm|kustomize|yaml)/.test(group) && !/(Patch|List)$/.test(kind) && /^[A-Z]/.test(kind);
    },
    checkConfig: (config) =>
        Object.entries(config).flatMap(([property, value]): CheckFailure[] => {
            if (!supportedConfig.has(property)) {
                return [{ property, reason: "the embedded engine does not support it: use the Pulumi CLI" }];
            }
            return property === "enableServerSideApply" && !isOn(value, true)
                ? [{ property, reason: "the embedded engine has server-side apply only: use the Pulumi CLI" }]
                : [];
        }),
    replacingConfig: (olds, news) => {
        const [before, after] = [olds.clusterIdentifier, news.clusterIdentifier];
        if (before !== undefined && after !== undefined) {
            return equal(before, after) ? [] : ["clusterIdentifier"];
        }
        const keys = ["kubeconfig", "context", "cluster"].filter((key) => !equal(olds[key], news[key]));
        if (keys.some((key) => news[key] === unknown)) {
            return keys;
        }
        const [oldServer, newServer] = [activeServer(olds), activeServer(news)];
        return oldServer !== undefined && newServer !== undefined && oldServer !== newServer ? keys : [];
    },
    open: (config, environment) => new KubernetesProvider(config, environment),
};

class KubernetesProvider implements Provider {
    private readonly client: KubeClient;

    public constructor(
        private readonly config: PropertyMap,
        environment: NodeJS.ProcessEnv,
    ) {
        const { kubeconfig, context, cluster } = config;
        const text = isObject(kubeconfig) ? JSON.stringify(kubeconfig) : asString(kubeconfig);
        this.client = new KubeClient(
            {
                ...(text === undefined ? {} : { kubeconfig: text }),
                ...(asString(context) === undefined ? {} : { context: asString(context) }),
                ...(asString(cluster) === undefined ? {} : { cluster: asString(cluster) }),
            },
            environment,
        );
    }

    public close(): void {
        this.client.close();
    }

    public async check(context: CallContext, olds: PropertyMap | undefined, news: PropertyMap): Promise<CheckResult> {
        const named = withSecretData(withName(news, olds, context.name));
        const { apiVersion, kind } = kindOf(named);
        if (apiVersion === "" || kind === "") {
            return { inputs: named, failures: [{ reason: "it needs apiVersion and kind" }] };
        }
        if (asString(metadataOf(named).generateName) !== undefined) {
            const reason = "it is not possible with server-side apply; leave out the name, and one is made";
            return { inputs: named, failures: [{ property: "metadata.generateName", reason }] };
        }
        for (const annotation of ["pulumi.com/waitFor", "pulumi.com/replaceUnready"]) {
            if (annotationOf(named, annotation) !== undefined) {
                const reason = `${annotation} is not supported by the embedded engine: use the Pulumi CLI`;
                return { inputs: named, failures: [{ property: "metadata.annotations", reason }] };
            }
        }
        if (unwrap(metadataOf(named).namespace) || metadataOf(named).namespace === unknown) {
            return { inputs: named };
        }
        const namespace = await this.namespaceFor(context, named, olds);
        return { inputs: namespace === undefined ? named : withMetadata(named, { namespace }) };
    }

    public diff(_context: CallContext, old: OldState, news: PropertyMap): Promise<DiffResult> {
        const mutable = {
            configMap: isOn(this.config.enableConfigMapMutable, false),
            secret: isOn(this.config.enableSecretMutable, false),
        };
        const paths = diffInputs(appliedInputs(old), news, mutable);
        const isReplaced = [...paths.values()].some(({ replace }) => replace);
        const [name, namespace] = [nameOfObject(old.outputs), namespaceOf(old.outputs)];
        const deleteBeforeReplace =
            isReplaced &&
            !isAutonamed(news) &&
            nameOfObject(news) === name &&
            (namespaceOf(news) ?? "default") === (namespace ?? "default");
        return Promise.resolve({ paths, deleteBeforeReplace });
    }

    public async create(context: CallContext, inputs: PropertyMap): Promise<CreateResult> {
        const fieldManager =
            annotationOf(inputs, "pulumi.com/patchFieldManager") ??
            `pulumi-kubernetes-${randomBytes(4).toString("hex")}`;
        if (context.preview) {
            return { outputs: await this.dryRun(context, inputs, fieldManager, true) };
        }
        const upsert = isOn(this.config.upsertExistingObjects, false);
        const { path } = await this.locate(context, inputs);
        if (!upsert && !isAutonamed(inputs) && (await this.find(context, path)) !== undefined) {
            throw new UserError(
                `${kindOf(inputs).kind} "${idOf(inputs)}" already exists; it is not taken over unless the provider has \`upsertExistingObjects\`.`,
            );
        }
        const live = await this.apply(context, path, inputs, fieldManager, upsert);
        const id = idOf(live);
        return { id, outputs: await this.awaitReady(context, path, id, inputs, live, fieldManager) };
    }

    public async update(
        context: CallContext,
        old: OldState,
        news: PropertyMap,
    ): Promise<{ readonly outputs: PropertyMap }> {
        const fieldManager = managerOf(old);
        if (context.preview) {
            return { outputs: await this.dryRun(context, news, fieldManager, false) };
        }
        const { path } = await this.locate(context, news);
        await this.takeOverFields(context, path, fieldManager);
        const live = await this.apply(context, path, news, fieldManager, isOn(this.config.enablePatchForce, false));
        return { outputs: await this.awaitReady(context, path, old.id, news, live, fieldManager) };
    }

    public async delete(context: CallContext, old: OldState): Promise<void> {
        const inputs = appliedInputs(old);
        const object = this.identified(context, old);
        const info = await this.client.discover(kindOf(object).apiVersion, kindOf(object).kind, context.signal);
        if (info === undefined) {
            // The server does not have the kind any more, so there is no object of it.
            return;
        }
        const { namespace, name } = parseId(old.id);
        const path = objectPath(kindOf(object).apiVersion, info, namespace, name);
        let answer: KubeObject;
        try {
            answer = await this.client.delete(path, propagationOf(object), context.signal);
        } catch (error) {
            if (error instanceof ApiError && error.code === 404) {
                return;
            }
            throw error;
        }
        // A `Status` instead of the object says that it is gone already.
        if (asString(answer.kind) === "Status" || skipsAwaitOfDeletion(inputs)) {
            return;
        }
        const uid = metadataOf(answer).uid;
        const seconds = timeoutOf(inputs, context.timeout);
        const gone = await poll(seconds, context.signal, async () => {
            const found = await this.find(context, path);
            return found === undefined || metadataOf(found).uid !== uid ? true : undefined;
        });
        if (gone === undefined) {
            const found = (await this.find(context, path)) ?? {};
            const finalizers = unwrap(metadataOf(found).finalizers);
            throw new Error(
                `${kindOf(object).kind} "${old.id}" is still there ${seconds} s after it was deleted` +
                    (isArray(finalizers) ? `; its finalizers: ${finalizers.map(String).join(", ")}` : "."),
            );
        }
    }

    public async read(context: CallContext, old: OldState): Promise<ReadResult | undefined> {
        const object = this.identified(context, old);
        const { apiVersion, kind } = kindOf(object);
        const info = await this.client.discover(apiVersion, kind, context.signal);
        const { namespace, name } = parseId(old.id);
        const path = info && objectPath(apiVersion, info, namespace ?? namespaceOf(object), name);
        const live = path === undefined ? undefined : await this.find(context, path);
        if (live === undefined) {
            return undefined;
        }
        const isForeign = asString(old.inputs.apiVersion) === undefined;
        const inputs = isForeign ? object : liveInputs(old.inputs, old.outputs, live);
        const outputs = toOutputs(inputs, live, managerOf(old));
        const readiness = readinessOf(live);
        if (!isForeign && !skipsAwait(inputs) && !readiness.ready && readiness.failed) {
            throw new PartialFailure(old.id, outputs, [readiness.waitingFor]);
        }
        return { id: old.id, inputs: isForeign ? old.inputs : inputs, outputs };
    }

    public async recover(context: CallContext, inputs: PropertyMap): Promise<ReadResult | undefined | "unknown"> {
        const { path } = await this.locate(context, inputs);
        const live = await this.find(context, path);
        const entries = live === undefined ? [] : unwrap(metadataOf(live).managedFields);
        const managers = (isArray(entries) ? entries : [])
            .filter(isObject)
            .map(({ manager }) => asString(manager) ?? "");
        const own = managers.find((manager) => ownManager.test(manager));
        // What others have made is not ours to take; creating it again will say that it is there.
        return live === undefined || own === undefined
            ? undefined
            : { id: idOf(live), inputs, outputs: toOutputs(inputs, live, own) };
    }

    /** The provider's namespace, or the kubeconfig's, for what is in one. */
    private async namespaceFor(
        context: CallContext,
        inputs: PropertyMap,
        olds: PropertyMap | undefined,
    ): Promise<string | undefined> {
        const configured = asString(this.config.namespace);
        if (olds !== undefined && kindOf(olds).kind === kindOf(inputs).kind) {
            // No question to the server where nothing has changed: whether the kind has a namespace shows in what there is.
            const before = namespaceOf(olds);
            return before === undefined ? undefined : (configured ?? before);
        }
        if (this.config.kubeconfig === unknown) {
            return undefined;
        }
        const { apiVersion, kind } = kindOf(inputs);
        try {
            const info = await this.client.discover(apiVersion, kind, context.signal);
            return info?.namespaced === false ? undefined : (configured ?? (await this.client.defaultNamespace()));
        } catch (error) {
            if (context.preview) {
                context.log("warning", messageOf(error));
                return configured;
            }
            throw error;
        }
    }

    private async locate(
        context: CallContext,
        inputs: PropertyMap,
    ): Promise<{ readonly path: string; readonly info: ResourceInfo }> {
        const { apiVersion, kind } = kindOf(inputs);
        const find = (): Promise<ResourceInfo | undefined> => this.client.discover(apiVersion, kind, context.signal);
        // A custom resource's kind is served a moment after its definition was created.
        const info = (await find()) ?? (await poll(context.preview ? 0 : 10, context.signal, find));
        if (info === undefined) {
            throw new UserError(
                `The cluster has no kind ${kind} in ${apiVersion}; is its CustomResourceDefinition there?`,
            );
        }
        return { info, path: objectPath(apiVersion, info, namespaceOf(inputs), nameOfObject(inputs) ?? "") };
    }

    private async find(context: CallContext, path: string): Promise<KubeObject | undefined> {
        try {
            return await this.client.get(path, context.signal);
        } catch (error) {
            if (error instanceof ApiError && error.code === 404) {
                return undefined;
            }
            throw error;
        }
    }

    private apply(
        context: CallContext,
        path: string,
        inputs: PropertyMap,
        fieldManager: string,
        force: boolean,
    ): Promise<KubeObject> {
        return this.client.apply(path, toApply(inputs), {
            fieldManager,
            force: force || annotationOf(inputs, "pulumi.com/patchForce") === "true",
            dryRun: context.preview,
            signal: context.signal,
            warn: (text) => context.log("warning", text),
        });
    }

    /** What the server would make of it; where it cannot be asked yet, the inputs. */
    private async dryRun(
        context: CallContext,
        inputs: PropertyMap,
        fieldManager: string,
        force: boolean,
    ): Promise<PropertyMap> {
        if (!isFullyKnown(inputs) || Object.values(this.config).includes(unknown)) {
            return inputs;
        }
        try {
            const { path } = await this.locate(context, inputs);
            const live = await this.apply(context, path, inputs, fieldManager, force).catch((error: unknown) => {
                if (force || !isConflictWithSelf(error)) {
                    throw error;
                }
                // The update itself takes these fields over first.
                return this.apply(context, path, inputs, fieldManager, true);
            });
            // What is only known once it is there.
            const metadata = omit(metadataOf(live), "uid", "resourceVersion", "creationTimestamp");
            return toOutputs(inputs, { ...omit(live, "status"), metadata }, fieldManager);
        } catch (error) {
            // The namespace or the kind may come with this very deployment; not being allowed to try is no failure either,
            // and neither is a field that only a new object can have.
            const isExpected =
                error instanceof ApiError
                    ? [403, 404].includes(error.code) || /immutable/.test(error.message)
                    : error instanceof UserError;
            if (isExpected) {
                return inputs;
            }
            throw error;
        }
    }

    /** Fields that Pulumi's own provider has set at creation are ours from now on: an update must be able to remove them. */
    private async takeOverFields(context: CallContext, path: string, fieldManager: string): Promise<void> {
        const live = await this.find(context, path);
        const entries = live === undefined ? undefined : unwrap(metadataOf(live).managedFields);
        const isForeign = (entry: Value): boolean =>
            isObject(entry) &&
            ownManager.test(asString(entry.manager) ?? "") &&
            entry.operation === "Update" &&
            entry.subresource === undefined;
        if (live === undefined || !isArray(entries) || !entries.some(isForeign)) {
            return;
        }
        const others = entries.filter(
            (entry) => !(isObject(entry) && entry.manager === fieldManager && entry.operation === "Apply"),
        );
        const managedFields = others.map((entry) =>
            isObject(entry) && isForeign(entry) ? { ...entry, manager: fieldManager, operation: "Apply" } : entry,
        );
        const { resourceVersion = null } = metadataOf(live);
        await this.client.patch(path, { metadata: { resourceVersion, managedFields } }, context.signal);
    }

    private async awaitReady(
        context: CallContext,
        path: string,
        id: string,
        inputs: PropertyMap,
        applied: KubeObject,
        fieldManager: string,
    ): Promise<PropertyMap> {
        let live = applied;
        if (skipsAwait(inputs) || readinessOf(live).ready) {
            return toOutputs(inputs, live, fieldManager);
        }
        const seconds = timeoutOf(inputs, context.timeout);
        try {
            await poll(seconds, context.signal, async () => {
                live = (await this.find(context, path)) ?? live;
                const readiness = readinessOf(live);
                if (!readiness.ready) {
                    context.log("info", readiness.waitingFor, true);
                }
                return readiness.ready || readiness.failed ? true : undefined;
            });
        } catch (error) {
            // It is there; that much must not be lost.
            throw new PartialFailure(id, toOutputs(inputs, live, fieldManager), [
                context.signal.aborted ? "interrupted" : messageOf(error),
            ]);
        }
        const outputs = toOutputs(inputs, live, fieldManager);
        const readiness = readinessOf(live);
        if (!readiness.ready) {
            const reason = readiness.failed
                ? readiness.waitingFor
                : `not ready after ${seconds} s: ${readiness.waitingFor}`;
            const all = [reason, ...(await this.podTroubles(context, live))].join("; ");
            throw new PartialFailure(id, outputs, [
                `${kindOf(inputs).kind} "${id}" was applied, but did not become ready: ${all}`,
            ]);
        }
        return outputs;
    }

    /** What keeps an object's pods from being what it needs, each reason once; nothing where they may not be listed. */
    private async podTroubles(context: CallContext, object: KubeObject): Promise<readonly string[]> {
        const selector = podSelectorOf(object);
        if (selector === undefined) {
            return [];
        }
        const path = objectPath("v1", { plural: "pods", namespaced: true }, namespaceOf(object), "").replace(/\/$/, "");
        const { items } = await this.client
            .list(path, selector, context.signal)
            .catch((): PropertyMap => ({ items: [] }));
        const troubles = new Map<string, string>();
        for (const pod of (isArray(items) ? items : []).filter(isObject)) {
            const trouble = troubleOf(pod);
            if (trouble !== "" && !troubles.has(trouble)) {
                troubles.set(trouble, nameOfObject(pod) ?? "");
            }
        }
        return [...troubles].slice(0, maxTroubles).map(([trouble, name]) => `pod ${name}: ${trouble}`);
    }

    /** The object's kind: as applied, or of one that is only read, from its type. */
    private identified(context: CallContext, old: OldState): KubeObject {
        const object = asString(old.outputs.apiVersion) === undefined ? appliedInputs(old) : old.outputs;
        if (asString(object.apiVersion) !== undefined) {
            return object;
        }
        const [, group = "", kind = ""] = context.type.split(":");
        return { ...object, apiVersion: group.replace(/^core\//, ""), kind };
    }
}

/** Whether an apply was refused for nothing but fields that Pulumi's own provider has set. */
function isConflictWithSelf(error: unknown): boolean {
    if (!(error instanceof ApiError) || error.code !== 409) {
        return false;
    }
    const managers = error.causes.map((cause) => /conflict with "([^"]*)"/.exec(cause)?.[1]);
    return managers.length > 0 && managers.every((manager) => manager !== undefined && ownManager.test(manager));
}

function managerOf(old: OldState): string {
    return asString(old.outputs.__fieldManager) ?? `pulumi-kubernetes-${randomBytes(4).toString("hex")}`;
}

/** A flag of the configuration: the SDK sends them as text. */
function isOn(value: Value | undefined, byDefault: boolean): boolean {
    const plain = isSecret(value) ? unwrap(value) : value;
    return plain === undefined || plain === null || plain === "" ? byDefault : plain === true || plain === "true";
}

/** The server of the cluster that a configuration is for, where that can be told without more than the kubeconfig. */
function activeServer(config: PropertyMap): string | undefined {
    const text = asString(config.kubeconfig);
    if (text === undefined) {
        return undefined;
    }
    try {
        const content = /[\n{]/.test(text) ? text : existsSync(text) ? readFileSync(text, "utf8") : "";
        const document = parse(content) as {
            readonly "current-context"?: string;
            readonly contexts?: readonly { readonly name: string; readonly context: { readonly cluster: string } }[];
            readonly clusters?: readonly { readonly name: string; readonly cluster: { readonly server: string } }[];
        };
        const contextName = asString(config.context) ?? document["current-context"];
        const cluster =
            asString(config.cluster) ?? document.contexts?.find(({ name }) => name === contextName)?.context.cluster;
        return document.clusters?.find(({ name }) => name === cluster)?.cluster.server;
    } catch {
        return undefined;
    }
}
