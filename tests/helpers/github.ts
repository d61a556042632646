import { createHash } from "node:crypto";
import * as http from "node:http";
import type { AddressInfo } from "node:net";

export interface StoredAsset {
    readonly id: number;
    readonly name: string;
    readonly label: string | null;
    readonly state: "uploaded" | "starter";
    readonly size: number;
    readonly digest: string | null;
    readonly content_type: string;
    readonly content: Buffer;
}

interface StoredRelease {
    readonly id: number;
    tag_name: string;
    target_commitish: string;
    name: string;
    body: string;
    draft: boolean;
    prerelease: boolean;
    make_latest: string;
    readonly assets: StoredAsset[];
}

/** One failure, of the next request that fits. */
export interface Failure {
    readonly method: string;
    readonly path: RegExp;
    /** `broken` ends the connection in an upload's middle, and leaves an asset in the state `starter`. */
    readonly how: "broken" | "lost answer" | { readonly status: number; readonly headers?: http.OutgoingHttpHeaders };
}

/**
 * The REST endpoints of GitHub's releases, on loopback, as a GitHub Enterprise Server has them (`/api/v3`, `/api/uploads`):
 * drafts that no tag finds, pages, digests, refusals of what is there or empty, and tags that a published release makes.
 * https://docs.github.com/enterprise-server/rest/releases
 */
export class GitHubServer {
    public readonly releases: StoredRelease[] = [];
    /** Commits by tag. */
    public readonly tags = new Map<string, string>();
    /** `METHOD path` of each request. */
    public readonly requests: string[] = [];
    public readonly failures: Failure[] = [];
    /** Servers of before 2025 give no digests. */
    public givesDigests = true;
    private nextId = 1;

    private constructor(
        private readonly server: http.Server,
        public readonly repository: string,
        private readonly token: string,
    ) {}

    public static async start(repository: string, token: string): Promise<GitHubServer> {
        const server = http.createServer();
        const github = new GitHubServer(server, repository, token);
        server.on("request", (request, response) => {
            void github.handle(request, response).catch(() => response.destroy());
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        return github;
    }

    public get apiUrl(): string {
        return `${this.origin}/api/v3`;
    }

    public async stop(): Promise<void> {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
    }

    private get origin(): string {
        return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    }

    private async handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
        const url = new URL(request.url ?? "", this.origin);
        const method = request.method ?? "";
        const path = decodeURIComponent(url.pathname).replace(/^\/api\/(v3|uploads)\/repos\//, "");
        this.requests.push(`${method} ${path}`);
        const at = this.failures.findIndex((each) => each.method === method && each.path.test(path));
        const [failure] = at < 0 ? [] : this.failures.splice(at, 1);
        const send = (status: number, body?: unknown, headers: http.OutgoingHttpHeaders = {}) => {
            if (failure?.how === "lost answer") {
                response.destroy();
                return;
            }
            response.writeHead(status, { "content-type": "application/json", ...headers });
            response.end(body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body));
        };
        if (request.headers.authorization !== `Bearer ${this.token}`) {
            request.resume();
            send(401, { message: "Bad credentials" });
            return;
        }
        if (typeof failure?.how === "object") {
            request.resume();
            send(failure.how.status, { message: "Injected" }, failure.how.headers);
            return;
        }
        const chunks: Buffer[] = [];
        if (failure?.how === "broken") {
            request.once("data", (chunk: Buffer) => {
                this.addAsset(url, path, request, chunk.subarray(0, 1), "starter");
                response.destroy();
            });
            return;
        }
        for await (const chunk of request) {
            chunks.push(chunk as Buffer);
        }
        this.answer(method, path, url, request, Buffer.concat(chunks), send);
    }

    private answer(
        method: string,
        path: string,
        url: URL,
        request: http.IncomingMessage,
        body: Buffer,
        send: (status: number, body?: unknown) => void,
    ): void {
        if (!path.startsWith(`${this.repository}/`)) {
            send(404, { message: "Not Found" });
            return;
        }
        const rest = path.slice(this.repository.length + 1);
        const [, byTag] = /^releases\/tags\/(.+)$/.exec(rest) ?? [];
        const [, ref] = /^git\/ref\/tags\/(.+)$/.exec(rest) ?? [];
        const [, assetId] = /^releases\/assets\/(\d+)$/.exec(rest) ?? [];
        const [, releaseId, assets] = /^releases\/(\d+)(\/assets)?$/.exec(rest) ?? [];
        const release = this.releases.find(({ id }) => String(id) === releaseId);
        const missing = () => send(404, { message: "Not Found" });
        const page = (items: readonly unknown[]) => {
            const [size, number] = [
                Number(url.searchParams.get("per_page") ?? 30),
                Number(url.searchParams.get("page") ?? 1),
            ];
            send(200, items.slice((number - 1) * size, number * size));
        };
        if (ref !== undefined) {
            const sha = this.tags.get(ref);
            sha === undefined ? missing() : send(200, { ref: `refs/tags/${ref}`, object: { type: "commit", sha } });
        } else if (byTag !== undefined) {
            const found = this.releases.find(({ tag_name, draft }) => tag_name === byTag && !draft);
            found ? send(200, this.shown(found)) : missing();
        } else if (rest === "releases" && method === "GET") {
            page(this.releases.map((each) => this.shown(each)));
        } else if (rest === "releases" && method === "POST") {
            const asked = JSON.parse(body.toString()) as StoredRelease;
            if (!asked.draft && this.releases.some(({ tag_name, draft }) => tag_name === asked.tag_name && !draft)) {
                send(422, { message: "Validation Failed", errors: [{ field: "tag_name", code: "already_exists" }] });
                return;
            }
            const made = { ...asked, id: this.nextId++, make_latest: "", assets: [] };
            this.releases.unshift(made);
            send(201, this.shown(made));
        } else if (assetId !== undefined) {
            this.asset(method, Number(assetId), send);
        } else if (release && assets === undefined && method === "PATCH") {
            Object.assign(release, JSON.parse(body.toString()));
            if (!release.draft && !this.tags.has(release.tag_name)) {
                this.tags.set(release.tag_name, release.target_commitish);
            }
            send(200, this.shown(release));
        } else if (release && assets !== undefined && method === "GET") {
            page(release.assets.map((each) => this.shownAsset(each)));
        } else if (release && assets !== undefined && method === "POST") {
            this.upload(release, url, path, request, body, send);
        } else {
            missing();
        }
    }

    private asset(method: string, id: number, send: (status: number, body?: unknown) => void): void {
        const release = this.releases.find(({ assets }) => assets.some((each) => each.id === id));
        if (!release) {
            send(404, { message: "Not Found" });
        } else if (method === "DELETE") {
            release.assets.splice(
                release.assets.findIndex((each) => each.id === id),
                1,
            );
            send(204);
        } else {
            // To a client that asks for octets; GitHub sends others the asset's description.
            send(200, release.assets.find((each) => each.id === id)!.content);
        }
    }

    private upload(
        release: StoredRelease,
        url: URL,
        path: string,
        request: http.IncomingMessage,
        body: Buffer,
        send: (status: number, body?: unknown) => void,
    ): void {
        const name = url.searchParams.get("name") ?? "";
        if (request.headers["content-length"] === undefined || body.length === 0) {
            send(400, { message: "Bad Content-Length" });
        } else if (release.assets.some((each) => each.name === name)) {
            send(422, { message: "Validation Failed", errors: [{ field: "name", code: "already_exists" }] });
        } else {
            send(201, this.shownAsset(this.addAsset(url, path, request, body, "uploaded")));
        }
    }

    private addAsset(
        url: URL,
        path: string,
        request: http.IncomingMessage,
        content: Buffer,
        state: StoredAsset["state"],
    ): StoredAsset {
        const id = Number(/releases\/(\d+)\//.exec(path)?.[1]);
        const asset = {
            id: this.nextId++,
            name: url.searchParams.get("name") ?? "",
            label: url.searchParams.get("label"),
            state,
            size: content.length,
            digest: `sha256:${createHash("sha256").update(content).digest("hex")}`,
            content_type: request.headers["content-type"] ?? "",
            content,
        };
        this.releases.find((release) => release.id === id)!.assets.push(asset);
        return asset;
    }

    private shown({ id, tag_name, target_commitish, name, body, draft, prerelease }: StoredRelease) {
        const addresses = {
            html_url: `${this.origin}/${this.repository}/releases/tag/${tag_name}`,
            upload_url: `${this.origin}/api/uploads/repos/${this.repository}/releases/${id}/assets{?name,label}`,
        };
        return { id, tag_name, target_commitish, name, body, draft, prerelease, ...addresses };
    }

    private shownAsset(asset: StoredAsset) {
        const digest = this.givesDigests && asset.state === "uploaded" ? asset.digest : null;
        return { ...asset, content: undefined, digest };
    }
}
