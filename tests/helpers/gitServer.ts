import { spawn } from "node:child_process";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";

import { run } from "./ke1";
import type { TemporaryRepository } from "./temporary";
import { TemporaryDirectory } from "./temporary";

/** What the server was asked. */
export interface Asked {
    readonly path: string;
    readonly authorized: boolean;
}

/**
 * A git server over http (`git http-backend`), with a directory of bare repositories of its own. One whose name begins with
 * `private` wants the password.
 */
export class GitServer {
    public readonly password = `glpat-${Math.random().toString(36).slice(2)}`;
    public readonly asked: Asked[] = [];
    /** Bytes of all answers. */
    public sent = 0;
    private readonly directory = new TemporaryDirectory();
    private readonly server = http.createServer((request, response) => this.answer(request, response));

    private constructor(private readonly host: string) {}

    public static async start(host: string, port = 0): Promise<GitServer> {
        const server = new GitServer(host);
        await new Promise<void>((resolve, reject) => {
            server.server.once("error", reject).listen(port, host, resolve);
        });
        return server;
    }

    public get origin(): string {
        return `http://${this.host}:${(this.server.address() as AddressInfo).port}`;
    }

    public address(name: string): string {
        return `${this.origin}/${name}.git`;
    }

    /** Takes in all branches and tags of a repository, as they are. */
    public async push(repository: TemporaryRepository | string, name: string): Promise<string> {
        const source = typeof repository === "string" ? repository : repository.path;
        const target = this.directoryOf(name);
        await this.git("init", "--quiet", "--bare", target);
        await this.git("-C", source, "push", "--quiet", "--force", "--prune", target, "+refs/heads/*", "+refs/tags/*");
        return this.address(name);
    }

    public directoryOf(name: string): string {
        return path.join(this.directory.path, `${name}.git`);
    }

    public forget(): void {
        this.asked.length = 0;
        this.sent = 0;
    }

    public async stop(): Promise<void> {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
        this.directory.remove();
    }

    private async git(...args: string[]): Promise<void> {
        const { code, stderr } = await run("git", args);
        if (code !== 0) {
            throw new Error(`git ${args.join(" ")}: ${stderr}`);
        }
    }

    private answer(request: http.IncomingMessage, response: http.ServerResponse): void {
        const url = new URL(request.url ?? "/", this.origin);
        const expected = `Basic ${Buffer.from(`x-access-token:${this.password}`).toString("base64")}`;
        const authorized = request.headers.authorization === expected;
        this.asked.push({ path: url.pathname, authorized });
        if (url.pathname.startsWith("/private") && !authorized) {
            response.writeHead(401, { "WWW-Authenticate": 'Basic realm="git"' }).end();
            return;
        }
        // https://git-scm.com/docs/git-http-backend#_environment
        const backend = spawn("git", ["-c", "safe.directory=*", "http-backend"], {
            env: {
                ...process.env,
                GIT_PROJECT_ROOT: this.directory.path,
                GIT_HTTP_EXPORT_ALL: "1",
                GIT_CONFIG_COUNT: "1",
                GIT_CONFIG_KEY_0: "safe.directory",
                GIT_CONFIG_VALUE_0: "*",
                PATH_INFO: url.pathname,
                QUERY_STRING: url.search.slice(1),
                REQUEST_METHOD: request.method ?? "GET",
                CONTENT_TYPE: request.headers["content-type"] ?? "",
                HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
                GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
            },
            stdio: ["pipe", "pipe", "ignore"],
        });
        request.pipe(backend.stdin);
        backend.stdin.on("error", () => undefined);
        let head: Buffer | undefined = Buffer.alloc(0);
        backend.stdout.on("data", (chunk: Buffer) => {
            if (head === undefined) {
                this.sent += chunk.length;
                response.write(chunk);
                return;
            }
            head = Buffer.concat([head, chunk]);
            const end = head.indexOf("\r\n\r\n");
            if (end >= 0) {
                const headers = head.subarray(0, end).toString().split("\r\n");
                const pairs = headers.map((line) => [
                    line.slice(0, line.indexOf(":")),
                    line.slice(line.indexOf(":") + 2),
                ]);
                const status = pairs.find(([name]) => name === "Status")?.[1] ?? "200";
                response.writeHead(Number.parseInt(status, 10), Object.fromEntries(pairs) as http.OutgoingHttpHeaders);
                const body = head.subarray(end + 4);
                this.sent += body.length;
                response.write(body);
                head = undefined;
            }
        });
        backend.on("close", () => response.end());
    }
}
