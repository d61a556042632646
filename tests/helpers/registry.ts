import { type ChildProcess, spawn } from "node:child_process";
import * as http from "node:http";

import { platform } from "./ke1";
import { freePort } from "./ports";
import { TemporaryDirectory } from "./temporary";

/** The only account of the registry. Its password has what credentials are often broken by: a colon, and more than ASCII. */
export const account = { username: "alice", password: "open:sesame/1+ü" } as const;
/** Bcrypt of that password: `htpasswd` is not on every machine. */
const passwordHash = "$2b$04$2NrhdnvonLVC8aAwne9wbeCYVRkSGoqn.ebRZS3waFU9ftH0BJY5y";

export interface RegistryOptions {
    /** Takes everybody, without a password. */
    readonly isOpen?: boolean;
    /** Is told of each push, with this as the header Authorization. */
    readonly notify?: { readonly url: string; readonly authorization: string };
}

/** A registry that wants a name and a password, on a port of its own that daemons on this machine take for insecure. */
export class PrivateRegistry {
    private readonly directory = new TemporaryDirectory();

    private constructor(
        public readonly address: string,
        private readonly port: number,
        private readonly options: RegistryOptions,
        private child?: ChildProcess,
    ) {}

    public static async start(options: RegistryOptions = {}): Promise<PrivateRegistry> {
        const port = await freePort("127.0.0.1");
        const registry = new PrivateRegistry(`localhost:${port}`, port, options);
        try {
            await registry.run();
        } catch (error) {
            await registry.stop();
            throw error;
        }
        return registry;
    }

    /** Whether the account may read a tag of a repository, and it is there. */
    public async has(repository: string, reference: string): Promise<boolean> {
        const headers = { Accept: "application/vnd.docker.distribution.manifest.v2+json" };
        return (await this.get(`/v2/${repository}/manifests/${reference}`, headers)) === 200;
    }

    /** Ends the registry, and removes its images from the platform's Docker. */
    public async stop(): Promise<void> {
        const { child } = this;
        if (child !== undefined && child.exitCode === null && child.signalCode === null) {
            const ended = new Promise((resolve) => child.once("exit", resolve));
            child.kill("SIGKILL");
            await ended;
        }
        this.directory.remove();
        for (const name of await this.localImages()) {
            await this.forget(name);
        }
    }

    /** Removes an image from the platform's Docker, which would not ask the registry for it otherwise. */
    public async forget(name: string): Promise<void> {
        await docker("DELETE", `/images/${name}?force=true`);
    }

    private async localImages(): Promise<readonly string[]> {
        const images = JSON.parse(await docker("GET", "/images/json")) as {
            readonly RepoTags: readonly string[] | null;
            readonly RepoDigests: readonly string[] | null;
        }[];
        const names = images.flatMap(({ RepoTags, RepoDigests }) => [...(RepoTags ?? []), ...(RepoDigests ?? [])]);
        return names.filter((name) => name.startsWith(`${this.address}/`) && !name.includes("<none>"));
    }

    private async run(): Promise<void> {
        const htpasswd = this.directory.file("htpasswd", `${account.username}:${passwordHash}\n`, 0o600);
        const config = {
            version: "0.1",
            log: { level: "warn", accesslog: { disabled: true } },
            storage: { filesystem: { rootdirectory: `${this.directory.path}/data` } },
            http: { addr: `127.0.0.1:${this.port}`, secret: "a test's" },
            ...(this.options.isOpen ? {} : { auth: { htpasswd: { realm: "test", path: htpasswd } } }),
            ...this.notifications(),
        };
        const file = this.directory.file("config.yaml", JSON.stringify(config));
        this.child = spawn("docker-registry", ["serve", file], { stdio: "ignore" });
        let failure: Error | undefined;
        this.child.once("error", (error) => (failure = error));
        for (const end = Date.now() + 10_000; Date.now() < end && failure === undefined;) {
            if ((await this.get("/v2/").catch(() => 0)) === 200) {
                return;
            }
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        throw failure ?? new Error("the registry does not answer");
    }

    /** https://distribution.github.io/distribution/about/notifications/ */
    private notifications() {
        const { notify } = this.options;
        if (!notify) {
            return {};
        }
        const headers = { Authorization: [notify.authorization] };
        const waits = { timeout: "2s", threshold: 10, backoff: "1s" };
        return { notifications: { endpoints: [{ name: "service", url: notify.url, headers, ...waits }] } };
    }

    private get(path: string, headers: http.OutgoingHttpHeaders = {}): Promise<number> {
        const auth = `${account.username}:${account.password}`;
        const Authorization = `Basic ${Buffer.from(auth).toString("base64")}`;
        return new Promise((resolve, reject) => {
            const options = { host: "127.0.0.1", port: this.port, path, headers: { ...headers, Authorization } };
            const request = http.get(options, (response) => {
                response.resume();
                resolve(response.statusCode ?? 0);
            });
            request.once("error", reject);
        });
    }
}

/** Asks the platform's Docker. */
function docker(method: string, path: string): Promise<string> {
    const socketPath = platform().dockerHost.replace(/^unix:\/\//, "");
    return new Promise((resolve, reject) => {
        const request = http.request({ socketPath, method, path, host: "docker" }, (response) => {
            let text = "";
            response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
            response.once("end", () => resolve(text));
        });
        request.once("error", reject).end();
    });
}
