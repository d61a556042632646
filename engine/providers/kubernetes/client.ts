import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, UserError } from "../../../contract/errors";
import { asString, isArray, isObject, type PropertyMap, type Value } from "../../values";
import type { KubeObject } from "./objects";

/** Where a cluster is, and who we are to it. */
export interface ClusterConfig {
    /** A kubeconfig's content, or its path; by default as kubectl finds it. */
    readonly kubeconfig?: string;
    readonly context?: string;
    readonly cluster?: string;
}

/** The API server's refusal: its `Status`. */
export class ApiError extends Error {
    public override readonly name = "ApiError";

    public constructor(
        public readonly code: number,
        public readonly reason: string,
        message: string,
        public readonly causes: readonly string[],
    ) {
        super(message);
    }
}

export interface ResourceInfo {
    readonly plural: string;
    readonly namespaced: boolean;
}

interface Connection {
    readonly base: URL;
    readonly namespace: string | undefined;
    readonly options: () => Promise<https.RequestOptions>;
}

interface RequestSettings {
    readonly query?: Readonly<Record<string, string>>;
    readonly body?: PropertyMap;
    readonly contentType?: string;
    readonly signal: AbortSignal;
    /** Told what the server warns of: fields it does not know, deprecated versions, Pod Security. */
    readonly warn?: (text: string) => void;
}

const attempts = 6;
const retriedCodes = new Set([429, 500, 502, 503, 504]);
const retriedErrors = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNREFUSED"]);
const requestTimeoutMilliseconds = 60_000;

/**
 * A small client of the Kubernetes API for objects of any kind. Credentials are read by the official client's `KubeConfig`;
 * its generated API classes are not used, because loading them takes longer than most operations.
 */
export class KubeClient {
    private connection: Promise<Connection> | undefined;
    private readonly discovered = new Map<string, Promise<ReadonlyMap<string, ResourceInfo>>>();
    private readonly agents = new Set<https.Agent>();

    public constructor(
        private readonly config: ClusterConfig,
        private readonly environment: NodeJS.ProcessEnv,
    ) {}

    /** The namespace of the kubeconfig's context. */
    public async defaultNamespace(): Promise<string> {
        return (await this.connect()).namespace ?? "default";
    }

    /**
     * What the server calls a kind; asked for once per group and version.
     *
     * @returns undefined where the server does not have it.
     */
    public async discover(apiVersion: string, kind: string, signal: AbortSignal): Promise<ResourceInfo | undefined> {
        let kinds = this.discovered.get(apiVersion);
        if (kinds === undefined) {
            kinds = this.readKinds(apiVersion, signal);
            this.discovered.set(apiVersion, kinds);
            kinds.then(
                // A kind that is not there now may be created: a custom resource's.
                (found) => found.has(kind) || this.discovered.delete(apiVersion),
                () => this.discovered.delete(apiVersion),
            );
        }
        return (await kinds).get(kind);
    }

    public get(path: string, signal: AbortSignal): Promise<KubeObject> {
        return this.request("GET", path, { signal });
    }

    public list(path: string, labelSelector: string, signal: AbortSignal): Promise<PropertyMap> {
        return this.request("GET", path, { query: { labelSelector }, signal });
    }

    /** Server-side apply. */
    public apply(
        path: string,
        object: KubeObject,
        settings: { readonly fieldManager: string; readonly force: boolean; readonly dryRun: boolean } & Pick<
            RequestSettings,
            "signal" | "warn"
        >,
    ): Promise<KubeObject> {
        const { fieldManager, force, dryRun, ...rest } = settings;
        return this.request("PATCH", path, {
            query: {
                fieldManager,
                force: String(force),
                fieldValidation: "Warn",
                ...(dryRun ? { dryRun: "All" } : {}),
            },
            body: object,
            contentType: "application/apply-patch+yaml",
            ...rest,
        });
    }

    public patch(path: string, patch: PropertyMap, signal: AbortSignal): Promise<KubeObject> {
        return this.request("PATCH", path, { body: patch, contentType: "application/merge-patch+json", signal });
    }

    public delete(path: string, propagationPolicy: string, signal: AbortSignal): Promise<KubeObject> {
        return this.request("DELETE", path, {
            body: { kind: "DeleteOptions", apiVersion: "v1", propagationPolicy },
            signal,
        });
    }

    public close(): void {
        this.agents.forEach((agent) => agent.destroy());
    }

    private async readKinds(apiVersion: string, signal: AbortSignal): Promise<ReadonlyMap<string, ResourceInfo>> {
        const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
        let list: PropertyMap;
        try {
            list = await this.get(path, signal);
        } catch (error) {
            if (error instanceof ApiError && error.code === 404) {
                return new Map();
            }
            throw error;
        }
        const resources = isArray(list.resources) ? list.resources : [];
        return new Map(
            resources.flatMap((resource): [string, ResourceInfo][] => {
                const plural = isObject(resource) ? asString(resource.name) : undefined;
                const kind = isObject(resource) ? asString(resource.kind) : undefined;
                // Subresources, such as `pods/log`, are listed too.
                return !isObject(resource) || plural === undefined || kind === undefined || plural.includes("/")
                    ? []
                    : [[kind, { plural, namespaced: resource.namespaced === true }]];
            }),
        );
    }

    private async request(method: string, path: string, settings: RequestSettings): Promise<PropertyMap> {
        const connection = await this.connect();
        for (let attempt = 1; ; attempt++) {
            const wait = Math.min(4000, 100 * 2 ** attempt) * (0.5 + Math.random());
            try {
                const { code, retryAfter, body } = await send(connection, method, path, settings);
                if (code < 400) {
                    return body;
                }
                if (attempt === attempts || !retriedCodes.has(code)) {
                    throw statusError(code, body);
                }
                await sleep(retryAfter === undefined ? wait : retryAfter * 1000, undefined, {
                    signal: settings.signal,
                });
            } catch (error) {
                const { code } = error as NodeJS.ErrnoException;
                if (
                    settings.signal.aborted ||
                    error instanceof ApiError ||
                    code === undefined ||
                    !retriedErrors.has(code)
                ) {
                    throw error;
                }
                if (attempt === attempts) {
                    throw new UserError(`The Kubernetes API at ${connection.base.origin} does not answer (${code}).`);
                }
                await sleep(wait, undefined, { signal: settings.signal });
            }
        }
    }

    private connect(): Promise<Connection> {
        this.connection ??= this.open();
        return this.connection;
    }

    private async open(): Promise<Connection> {
        const { KubeConfig } = await import("@kubernetes/client-node/dist/config.js");
        const config = new KubeConfig();
        try {
            const { kubeconfig } = this.config;
            if (kubeconfig === undefined || kubeconfig === "") {
                withEnvironment(this.environment, () => config.loadFromDefault());
            } else if (/[\n{]/.test(kubeconfig)) {
                config.loadFromString(kubeconfig);
            } else {
                withEnvironment({ KUBECONFIG: kubeconfig.replace(/^~(?=\/)/, this.environment.HOME ?? "~") }, () =>
                    config.loadFromDefault(),
                );
            }
        } catch (error) {
            throw new UserError(`The kubeconfig cannot be read: ${messageOf(error)}`);
        }
        if (this.config.context !== undefined && this.config.context !== "") {
            config.setCurrentContext(this.config.context);
        }
        const context = config.getContextObject(config.getCurrentContext());
        const cluster = this.config.cluster ? config.getCluster(this.config.cluster) : config.getCurrentCluster();
        if (cluster === null || context === null) {
            throw new UserError(`The kubeconfig has no cluster for the context "${config.getCurrentContext()}".`);
        }
        let agent: https.Agent | undefined;
        return {
            base: new URL(cluster.server),
            namespace: context.namespace,
            options: async () => {
                const options: https.RequestOptions = {};
                await config.applyToHTTPSOptions(options);
                if (!cluster.proxyUrl) {
                    // The client's own agent opens a connection for each request.
                    const { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername } = options;
                    const tls = Object.fromEntries(
                        Object.entries({ ca, cert, key, pfx, passphrase, rejectUnauthorized, servername }).filter(
                            ([, value]) => value !== undefined,
                        ),
                    );
                    agent ??= new https.Agent({ keepAlive: true, maxSockets: 32, ...tls });
                    this.agents.add(agent);
                    options.agent = cluster.server.startsWith("http:") ? new http.Agent({ keepAlive: true }) : agent;
                }
                return options;
            },
        };
    }
}

/** The path of an object. */
export function objectPath(
    apiVersion: string,
    { plural, namespaced }: ResourceInfo,
    namespace: string | undefined,
    name: string,
): string {
    const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const within = namespaced ? `/namespaces/${encodeURIComponent(namespace ?? "default")}` : "";
    return `${group}${within}/${plural}/${encodeURIComponent(name)}`;
}

/** `299 - "<text>"`, more than once where there is more to say. */
const warningHeader = /299 \S+ "((?:[^"\\]|\\.)*)"/g;

async function send(
    { base, options }: Connection,
    method: string,
    path: string,
    { query, body, contentType, signal, warn }: RequestSettings,
): Promise<{ readonly code: number; readonly retryAfter: number | undefined; readonly body: PropertyMap }> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const { headers, ...rest } = await options();
    const common = { ...(headers as http.OutgoingHttpHeaders | undefined), Accept: "application/json" };
    const target = new URL(base.pathname.replace(/\/$/, "") + path, base);
    Object.entries(query ?? {}).forEach(([key, value]) => target.searchParams.set(key, value));
    const request = (target.protocol === "http:" ? http : https).request(target, {
        ...rest,
        method,
        signal,
        timeout: requestTimeoutMilliseconds,
        headers: {
            ...common,
            ...(text === undefined
                ? {}
                : { "Content-Type": contentType ?? "application/json", "Content-Length": Buffer.byteLength(text) }),
        },
    });
    return new Promise((resolve, reject) => {
        request.once("error", reject);
        request.once("timeout", () =>
            request.destroy(Object.assign(new Error("The request timed out."), { code: "ETIMEDOUT" })),
        );
        request.once("response", (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.once("error", reject);
            response.once("end", () => {
                for (const [, warning = ""] of (response.headers.warning ?? "").matchAll(warningHeader)) {
                    warn?.(warning.replace(/\\(.)/g, "$1"));
                }
                const retryAfter = Number(response.headers["retry-after"]);
                resolve({
                    code: response.statusCode ?? 0,
                    retryAfter: Number.isNaN(retryAfter) ? undefined : retryAfter,
                    body: parse(Buffer.concat(chunks).toString("utf8")),
                });
            });
        });
        request.end(text);
    });
}

function parse(text: string): PropertyMap {
    try {
        const value = JSON.parse(text) as Value;
        return isObject(value) ? value : { message: text };
    } catch {
        return { message: text };
    }
}

function statusError(code: number, status: PropertyMap): ApiError {
    const details = isObject(status.details) ? status.details : {};
    const causes = (isArray(details.causes) ? details.causes : []).flatMap((cause) =>
        isObject(cause) ? [asString(cause.message) ?? ""] : [],
    );
    const message = asString(status.message) ?? `HTTP ${code}`;
    const explained = code === 401 ? `${message}: the cluster does not accept the kubeconfig's credential` : message;
    return new ApiError(code, asString(status.reason) ?? "", explained, causes);
}

/** The official client reads the variables of this process; ours may be others. */
function withEnvironment(environment: NodeJS.ProcessEnv, read: () => void): void {
    const before = process.env.KUBECONFIG;
    const { KUBECONFIG } = environment;
    try {
        if (KUBECONFIG === undefined) {
            Reflect.deleteProperty(process.env, "KUBECONFIG");
        } else {
            process.env.KUBECONFIG = KUBECONFIG;
        }
        read();
    } finally {
        if (before === undefined) {
            Reflect.deleteProperty(process.env, "KUBECONFIG");
        } else {
            process.env.KUBECONFIG = before;
        }
    }
}
