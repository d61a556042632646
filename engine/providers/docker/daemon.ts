import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import { UserError } from "../../../contract/errors";
import { dockerConfigDirectory, readDockerConfig, type RegistryCredential } from "./credentials";

/** One message of the daemon's progress streams. */
export interface ProgressMessage {
    readonly id?: string;
    readonly stream?: string;
    readonly status?: string;
    readonly error?: string;
    readonly errorDetail?: { readonly message: string };
    readonly aux?: unknown;
}

interface Answer {
    readonly code: number;
    readonly headers: http.IncomingHttpHeaders;
    readonly body: Readable;
}

/**
 * A Docker daemon, by its HTTP API (https://docs.docker.com/reference/api/engine/): no `docker` command is needed, of which
 * some cannot use BuildKit without a plugin.
 */
export class DockerDaemon {
    private version = "";

    private constructor(
        private readonly target: http.RequestOptions,
        private readonly isTls: boolean,
        private readonly address: string,
    ) {}

    /**
     * The daemon of the provider's configuration, of DOCKER_HOST, of the current Docker context, or the machine's.
     *
     * @throws UserError where none answers.
     */
    public static async connect(
        configured: string | undefined,
        environment: NodeJS.ProcessEnv,
        signal: AbortSignal,
    ): Promise<DockerDaemon> {
        const home = environment.HOME ?? homedir();
        const named = configured ?? (environment.DOCKER_HOST || contextHost(environment));
        const candidates = named
            ? [named]
            : ["/var/run/docker.sock", `${home}/.docker/run/docker.sock`, `${home}/.docker/desktop/docker.sock`].map(
                  (path) => `unix://${path}`,
              );
        let failure = "";
        for (const address of candidates) {
            const daemon = DockerDaemon.at(address, environment);
            try {
                const { headers, body } = await daemon.send("GET", "/_ping", { signal });
                body.resume();
                daemon.version = `/v${String(headers["api-version"] ?? "1.41")}`;
                return daemon;
            } catch (error) {
                failure ||= `${address} (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`;
            }
        }
        throw new UserError(`No Docker daemon answers at ${failure}: start one, or say where it is with DOCKER_HOST.`);
    }

    private static at(address: string, environment: NodeJS.ProcessEnv): DockerDaemon {
        const unix = /^unix:\/\/(.+)$/.exec(address)?.[1];
        if (unix !== undefined) {
            return new DockerDaemon({ socketPath: unix, host: "docker" }, false, address);
        }
        const tcp = /^(tcp|https?):\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?\/?$/.exec(address);
        if (tcp === null) {
            throw new UserError(
                `DOCKER_HOST ${address} is not supported by the embedded engine: use unix:// or tcp://, or the Pulumi CLI.`,
            );
        }
        const [, protocol, host = "", port] = tcp;
        const directory = environment.DOCKER_CERT_PATH;
        const isTls = protocol === "https" || Boolean(environment.DOCKER_TLS_VERIFY) || Boolean(directory);
        const read = (name: string): Buffer | undefined => {
            const path = join(directory ?? dockerConfigDirectory(environment), name);
            return existsSync(path) ? readFileSync(path) : undefined;
        };
        const tls = isTls ? { ca: read("ca.pem"), cert: read("cert.pem"), key: read("key.pem") } : {};
        return new DockerDaemon({ host, port: port ?? (isTls ? "2376" : "2375"), ...tls }, isTls, address);
    }

    /** Follows a build or push to its end. */
    public async follow(
        path: string,
        query: Readonly<Record<string, string>>,
        settings: {
            readonly body?: Readable;
            readonly headers?: Readonly<Record<string, string>>;
            readonly signal: AbortSignal;
            readonly onMessage: (message: ProgressMessage) => void;
        },
    ): Promise<void> {
        const search = new URLSearchParams(query).toString();
        const answer = await this.send("POST", `${this.version}${path}?${search}`, settings);
        if (answer.code >= 400) {
            throw new Error(errorOf(await text(answer.body)));
        }
        let rest = "";
        answer.body.setEncoding("utf8");
        for await (const chunk of answer.body) {
            const lines = (rest + String(chunk)).split("\n");
            rest = lines.pop() ?? "";
            for (const line of lines.filter((candidate) => candidate.trim() !== "")) {
                const message = JSON.parse(line) as ProgressMessage;
                const failure = message.errorDetail?.message ?? message.error;
                if (failure !== undefined) {
                    throw new Error(failure);
                }
                settings.onMessage(message);
            }
        }
    }

    /** The id of an image of the daemon's store, `sha256:<hex>`, and its digests in registries. */
    public async inspect(
        name: string,
        signal: AbortSignal,
    ): Promise<{ readonly Id: string; readonly RepoDigests?: readonly string[] }> {
        const { code, body } = await this.send("GET", `${this.version}/images/${name}/json`, { signal });
        const content = await text(body);
        if (code !== 200) {
            throw new Error(errorOf(content));
        }
        return JSON.parse(content) as { readonly Id: string; readonly RepoDigests?: readonly string[] };
    }

    /** Opens a BuildKit session: the daemon calls back over the connection. */
    public async openSession(id: string, methods: readonly string[]): Promise<Duplex> {
        const headers = {
            Connection: "Upgrade",
            Upgrade: "h2c",
            "X-Docker-Expose-Session-Uuid": id,
            "X-Docker-Expose-Session-Name": "ke1",
            "X-Docker-Expose-Session-Sharedkey": "",
            "X-Docker-Expose-Session-Grpc-Method": [...methods],
        };
        const request = this.request("POST", `${this.version}/session`, headers);
        return new Promise((resolve, reject) => {
            request.once("error", reject);
            request.once("upgrade", (_response, socket, head) => {
                socket.unshift(head);
                resolve(socket);
            });
            request.once("response", (response) => {
                response.resume();
                reject(
                    new Error(
                        `The Docker daemon at ${this.address} has no BuildKit (HTTP ${response.statusCode ?? 0}).`,
                    ),
                );
            });
            request.end();
        });
    }

    private request(
        method: string,
        path: string,
        headers: http.OutgoingHttpHeaders,
        signal?: AbortSignal,
    ): http.ClientRequest {
        const options = { ...this.target, method, path, headers, ...(signal ? { signal } : {}) };
        return this.isTls ? https.request(options) : http.request(options);
    }

    private send(
        method: string,
        path: string,
        settings: {
            readonly body?: Readable;
            readonly headers?: Readonly<Record<string, string>>;
            readonly signal: AbortSignal;
        },
    ): Promise<Answer> {
        const { body, headers, signal } = settings;
        const request = this.request(method, path, { ...headers }, signal);
        return new Promise((resolve, reject) => {
            request.once("error", reject);
            request.once("response", (response) =>
                resolve({ code: response.statusCode ?? 0, headers: response.headers, body: response }),
            );
            if (body === undefined) {
                request.end();
            } else {
                body.once("error", (error) => request.destroy(error));
                body.pipe(request);
            }
        });
    }
}

/** `X-Registry-Auth`, or the map of them that is `X-Registry-Config`. */
export function encodeCredential(
    credential: RegistryCredential | Readonly<Record<string, RegistryCredential>>,
): string {
    return Buffer.from(JSON.stringify(credential)).toString("base64url");
}

/** The host of the context that `docker context use` has chosen. */
function contextHost(environment: NodeJS.ProcessEnv): string | undefined {
    const name = environment.DOCKER_CONTEXT ?? readDockerConfig(environment).currentContext;
    if (!name || name === "default") {
        return undefined;
    }
    const digest = createHash("sha256").update(name).digest("hex");
    const file = join(dockerConfigDirectory(environment), "contexts", "meta", digest, "meta.json");
    if (!existsSync(file)) {
        throw new UserError(`There is no Docker context "${name}".`);
    }
    const meta = JSON.parse(readFileSync(file, "utf8")) as {
        readonly Endpoints?: { readonly docker?: { readonly Host?: string } };
    };
    return meta.Endpoints?.docker?.Host;
}

async function text(stream: Readable): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) {
        chunks.push(Buffer.from(chunk as Buffer));
    }
    return Buffer.concat(chunks).toString("utf8");
}

function errorOf(content: string): string {
    try {
        return (JSON.parse(content) as { readonly message: string }).message;
    } catch {
        return content.trim();
    }
}
