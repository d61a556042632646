import * as fs from "node:fs";

import { isConfidential } from "../../contract/address";
import { messageOf, UserError } from "../../contract/errors";
import { HttpError, retryAfterOf } from "../registry/errors";
import type { RetryPolicy } from "../registry/retry";
import { defaultRetries, withRetries } from "../registry/retry";

/** https://docs.github.com/rest/releases/releases#get-a-release */
export interface GitHubRelease {
    readonly id: number;
    readonly tag_name: string;
    readonly draft: boolean;
    readonly prerelease: boolean;
    readonly html_url: string;
    readonly upload_url: string;
}

/** https://docs.github.com/rest/releases/assets */
export interface GitHubAsset {
    readonly id: number;
    readonly name: string;
    /** `starter` is what an upload leaves that was broken off. */
    readonly state: "uploaded" | "starter";
    readonly size: number;
    /** `sha256:<hex>`; servers of before 2025 do not say it. */
    readonly digest?: string | null;
}

export interface GitHubAccess {
    /** `owner/name` */
    readonly repository: string;
    /** https://docs.github.com/actions/reference/variables-reference: GITHUB_API_URL. */
    readonly apiUrl: string;
    readonly token: string;
}

/** https://docs.github.com/rest/about-the-rest-api/api-versions */
const apiVersion = "2022-11-28";
/** What is said of a request without a file must come in this time, in milliseconds. */
const answerLimit = 30_000;
const pageSize = 100;

/** The releases of one repository, by GitHub's REST API. The token goes to the API and its uploads, and nowhere else. */
export class GitHubReleases {
    private readonly api: URL;

    public constructor(
        private readonly access: GitHubAccess,
        private readonly retries: RetryPolicy = defaultRetries,
    ) {
        if (!URL.canParse(access.apiUrl) || !/^https?:$/.test(new URL(access.apiUrl).protocol)) {
            throw new UserError(
                `GITHUB_API_URL must be an address such as https://api.github.com, not ${access.apiUrl}`,
            );
        }
        this.api = new URL(access.apiUrl.replace(/\/*$/, "/"));
        if (!isConfidential(this.api)) {
            throw new UserError("GITHUB_API_URL must begin with https://, as the token is sent there");
        }
    }

    /** The release of a tag, published or not: GitHub finds drafts in the list alone. */
    public async find(tag: string): Promise<GitHubRelease | undefined> {
        const published = await this.json<GitHubRelease>(
            "GET",
            `releases/tags/${encodeURIComponent(tag)}`,
            undefined,
            true,
        );
        if (published) {
            return published;
        }
        for await (const release of this.pages<GitHubRelease>("releases")) {
            if (release.tag_name === tag) {
                return release;
            }
        }
        return undefined;
    }

    /** The commit that a tag of the repository stands for. */
    public async commitOf(tag: string): Promise<string | undefined> {
        const path = `git/ref/tags/${tag.split("/").map(encodeURIComponent).join("/")}`;
        type GitObject = { readonly object: { readonly type: string; readonly sha: string } };
        const ref = await this.json<GitObject>("GET", path, undefined, true);
        if (ref?.object.type !== "tag") {
            return ref?.object.sha;
        }
        return (await this.json<GitObject>("GET", `git/tags/${ref.object.sha}`))?.object.sha;
    }

    /** Makes a draft, or finds the one that an earlier try has made. */
    public async createDraft(release: {
        readonly tag: string;
        readonly commit: string | undefined;
        readonly name: string;
        readonly notes: string;
        readonly prerelease: boolean;
    }): Promise<GitHubRelease> {
        const body = {
            tag_name: release.tag,
            ...(release.commit === undefined ? {} : { target_commitish: release.commit }),
            name: release.name,
            body: release.notes,
            draft: true,
            prerelease: release.prerelease,
        };
        let isFirst = true;
        return withRetries(async () => {
            // GitHub makes a second draft of the same tag without a word.
            const there = isFirst ? undefined : await this.find(release.tag);
            isFirst = false;
            return there ?? (await this.needed(this.once<GitHubRelease>("POST", this.url("releases"), body)));
        }, this.retries);
    }

    public async publish(id: number, isLatest: boolean): Promise<GitHubRelease> {
        // https://docs.github.com/rest/releases/releases#update-a-release: `legacy` is by version and date.
        const body = { draft: false, make_latest: isLatest ? "legacy" : "false" };
        return this.needed(this.json<GitHubRelease>("PATCH", `releases/${id}`, body));
    }

    public async assets(id: number): Promise<readonly GitHubAsset[]> {
        const assets: GitHubAsset[] = [];
        for await (const asset of this.pages<GitHubAsset>(`releases/${id}/assets`)) {
            assets.push(asset);
        }
        return assets;
    }

    public async deleteAsset(id: number): Promise<void> {
        await this.json("DELETE", `releases/assets/${id}`, undefined, true);
    }

    /** An asset's content. */
    public async download(id: number): Promise<ReadableStream<Uint8Array>> {
        return withRetries(async () => {
            const response = await fetch(this.url(`releases/assets/${id}`), {
                headers: { ...this.headers(), accept: "application/octet-stream" },
            });
            if (!response.ok || !response.body) {
                throw await refusal(response, "GET releases/assets");
            }
            return response.body;
        }, this.retries);
    }

    /** One try: what it may leave behind is for the caller to look at. */
    public async upload(
        release: GitHubRelease,
        asset: { readonly name: string; readonly label: string; readonly file: string; readonly mediaType: string },
    ): Promise<GitHubAsset> {
        const url = new URL(release.upload_url.replace(/\{.*$/, ""));
        if (!isConfidential(url) || domainOf(url) !== domainOf(this.api)) {
            throw new Error(`GitHub wants the file to be sent to ${url.host}, which is not a part of ${this.api.host}`);
        }
        url.searchParams.set("name", asset.name);
        if (asset.label !== asset.name) {
            url.searchParams.set("label", asset.label);
        }
        const body = await fs.openAsBlob(asset.file);
        const response = await this.answer(url, {
            method: "POST",
            headers: { ...this.headers(), "content-type": asset.mediaType, "content-length": String(body.size) },
            body,
        });
        if (!response.ok) {
            throw await refusal(response, `uploading ${asset.name}`);
        }
        return (await response.json()) as GitHubAsset;
    }

    private async *pages<T>(path: string): AsyncGenerator<T> {
        for (let page = 1; ; page++) {
            const items = await this.needed(
                this.json<readonly T[]>("GET", `${path}?per_page=${pageSize}&page=${page}`),
            );
            yield* items;
            if (items.length < pageSize) {
                return;
            }
        }
    }

    private async needed<T>(answer: Promise<T | undefined>): Promise<T> {
        const value = await answer;
        if (value === undefined) {
            throw new Error("GitHub has answered without a body");
        }
        return value;
    }

    private async json<T>(method: string, path: string, body?: unknown, mayBeMissing = false): Promise<T | undefined> {
        return withRetries(async () => this.once<T>(method, this.url(path), body, mayBeMissing), this.retries);
    }

    private async once<T>(method: string, url: URL, body: unknown, mayBeMissing = false): Promise<T | undefined> {
        const response = await this.answer(url, {
            method,
            headers: { ...this.headers(), ...(body === undefined ? {} : { "content-type": "application/json" }) },
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
            // A repository that was renamed answers so; what is changed there is changed knowingly, or not at all.
            redirect: method === "GET" ? "follow" : "error",
            signal: AbortSignal.timeout(answerLimit),
        });
        if (mayBeMissing && response.status === 404) {
            await response.body?.cancel();
            return undefined;
        }
        if (!response.ok) {
            throw await refusal(response, `${method} ${url.pathname}`);
        }
        return response.status === 204 ? undefined : ((await response.json()) as T);
    }

    private async answer(url: URL, init: RequestInit): Promise<Response> {
        try {
            return await fetch(url, init);
        } catch (error) {
            const cause = error instanceof TypeError ? error.cause : undefined;
            throw cause === undefined
                ? error
                : new TypeError(`${url.host} cannot be reached: ${messageOf(cause)}`, { cause });
        }
    }

    private headers(): Record<string, string> {
        return {
            accept: "application/vnd.github+json",
            authorization: `Bearer ${this.access.token}`,
            "user-agent": "ke1",
            "x-github-api-version": apiVersion,
        };
    }

    private url(path: string): URL {
        return new URL(`repos/${this.access.repository}/${path}`, this.api);
    }
}

/** `github.com` of `api.github.com` and `uploads.github.com`; a server of one's own has both at one name. */
function domainOf({ hostname, port }: URL): string {
    const labels = hostname.split(".");
    const isName = labels.length > 2 && !/^[\d.]+$/.test(hostname);
    return `${isName ? labels.slice(1).join(".") : hostname}:${port}`;
}

async function refusal(response: Response, what: string): Promise<HttpError> {
    const text = await response.text().catch(() => "");
    let said = "";
    try {
        const { message, errors = [] } = JSON.parse(text) as {
            readonly message?: string;
            readonly errors?: readonly { readonly field?: string; readonly code?: string; readonly message?: string }[];
        };
        const details = errors.map(
            ({ field, code, message: detail }) => detail ?? `${field ?? ""} ${code ?? ""}`.trim(),
        );
        said = [message, ...details].filter(Boolean).join(": ").replace(/\s+/g, " ").slice(0, 300);
    } catch {
        // A proxy's page says nothing that helps.
    }
    const hint = { 401: "; is GITHUB_TOKEN good?", 403: "; may the token write releases (contents: write)?" }[
        response.status
    ];
    return new HttpError(
        `GitHub refuses ${what}: ${response.status}${said === "" ? "" : ` ${said}`}${hint ?? ""}`,
        response.status,
        retryAfterOf(response.headers) ?? rateLimitEnd(response),
    );
}

/** https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit */
function rateLimitEnd({ headers }: Response): number | undefined {
    const end = Number(headers.get("x-ratelimit-reset") ?? NaN);
    return headers.get("x-ratelimit-remaining") === "0" && Number.isFinite(end)
        ? Math.max(0, end * 1000 - Date.now())
        : undefined;
}
