import { createHash } from "node:crypto";

import { messageOf } from "../../contract/errors";
import { HttpError, retryAfterOf } from "./errors";
import type { FindCredential } from "./authorization";
import { Authorization } from "./authorization";
import { manifestTypes } from "./media";
import type { ImageReference } from "./reference";
import { digestPattern, registryUrl, tagPattern } from "./reference";
import type { RetryPolicy } from "./retry";
import { defaultRetries, withRetries } from "./retry";

/** A manifest, byte for byte. */
export interface StoredManifest {
    readonly digest: string;
    readonly mediaType: string;
    readonly bytes: Buffer;
}

/** What one may do with a repository. */
export type Access = "pull" | "pull,push";

/** A body that can be sent again when the first time fails. */
export type Body = Buffer | (() => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>);

export interface RegistryRequest {
    readonly method?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: Body;
    readonly access?: Access;
    /** Answers that are none of a failure, beside those below 300. */
    readonly accept?: readonly number[];
}

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md: a registry may refuse more, in bytes. */
const largestManifest = 4 * 1024 * 1024;
/** A repository with more tags than this is not looked through to its end. */
const mostTags = 100_000;
/** A registry that says nothing for so long is not there, in milliseconds. */
const answerLimit = 30_000;

/**
 * One repository of a registry, by the OCI distribution API. Nothing of a daemon is needed. What a registry refuses is an
 * HttpError; what may pass is tried again.
 */
export class RepositoryClient {
    private readonly base: string;
    private readonly authorization: Authorization;

    public constructor(
        public readonly image: ImageReference,
        find: FindCredential,
        private readonly retries: RetryPolicy = defaultRetries,
        private readonly signal?: AbortSignal,
    ) {
        this.base = registryUrl(image);
        this.authorization = new Authorization(image.registry, this.base, find);
    }

    /**
     * The digest of a tag.
     *
     * @param known one that is asked for only if it is not this any more
     * @returns undefined where there is no such tag
     */
    public async digestOf(tag: string, known?: string): Promise<string | undefined> {
        const response = await this.request(`manifests/${tag}`, {
            method: "HEAD",
            headers: {
                accept: manifestTypes.join(", "),
                ...(known === undefined ? {} : { "if-none-match": `"${known}"` }),
            },
            accept: [304, 404],
        });
        await response.body?.cancel();
        if (response.status === 304) {
            return known;
        }
        if (response.status === 404) {
            return undefined;
        }
        const digest = response.headers.get("docker-content-digest") ?? "";
        return digestPattern.test(digest) ? digest : (await this.manifest(tag)).digest;
    }

    /** A manifest or an index, whose digest is checked. */
    public async manifest(reference: string): Promise<StoredManifest> {
        return withRetries(
            async () => {
                const headers = { accept: manifestTypes.join(", ") };
                const response = await this.once(`manifests/${reference}`, { headers });
                const bytes = await limited(response, largestManifest, reference);
                const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
                if (reference.startsWith("sha256:") && reference !== digest) {
                    throw new Error(`${this.name} has something else (${digest}) as the manifest ${reference}`);
                }
                const mediaType = (response.headers.get("content-type") ?? "").split(";")[0]?.trim() ?? "";
                return { digest, mediaType, bytes };
            },
            this.retries,
            this.signal,
        );
    }

    /** All tags. */
    public async tags(): Promise<readonly string[]> {
        const tags: string[] = [];
        for (let next: string | undefined = "tags/list?n=1000"; next !== undefined && tags.length < mostTags;) {
            const response: Response = await this.request(next, { accept: [404] });
            if (response.status === 404) {
                // A repository that nothing was pushed to yet.
                await response.body?.cancel();
                return [];
            }
            const page = (await response.json()) as { readonly tags?: readonly string[] | null };
            // They are made a part of addresses and arguments: what is no tag is none.
            tags.push(...(page.tags ?? []).filter((tag) => tagPattern.test(tag)));
            next = this.nextPage(response.headers.get("link"));
        }
        return tags;
    }

    /** Asks, with who one is where that is wanted, and again where that may help. */
    public async request(path: string, request: RegistryRequest): Promise<Response> {
        return withRetries(async () => this.once(path, request), this.retries, this.signal);
    }

    public get name(): string {
        return `${this.image.registry}/${this.image.repository}`;
    }

    private async once(path: string, request: RegistryRequest): Promise<Response> {
        const { repository } = this.image;
        const scope = `repository:${repository}:${request.access ?? "pull"}`;
        const url = new URL(path, `${this.base}/v2/${repository}/`);
        for (let asked = 0; ; asked++) {
            const authorization = this.authorization.header(scope);
            const isOwn = url.origin === new URL(this.base).origin;
            const response = await this.answer(url, request, isOwn ? authorization : undefined);
            // Once for none, once for a token that has ended.
            if (response.status === 401 && asked < 2 && isOwn) {
                await response.body?.cancel();
                const challenge = response.headers.get("www-authenticate");
                if (await this.authorization.answer(challenge, scope, authorization, this.signal)) {
                    continue;
                }
            }
            if (response.ok || request.accept?.includes(response.status) === true) {
                return response;
            }
            throw await this.refusal(response, request.method ?? "GET", path);
        }
    }

    private async answer(url: URL, request: RegistryRequest, authorization: string | undefined): Promise<Response> {
        const body = typeof request.body === "function" ? await request.body() : request.body;
        const isLong = typeof request.body === "function";
        const limit = new AbortController();
        const timer = setTimeout(() => limit.abort(new Error(`${this.image.registry} does not answer`)), answerLimit);
        // Of a body that is sent as it comes, the answer comes when all of it is there.
        if (isLong) {
            clearTimeout(timer);
        }
        try {
            const init: RequestInit = {
                method: request.method ?? "GET",
                headers: { ...request.headers, ...(authorization === undefined ? {} : { authorization }) },
                ...(body === undefined ? {} : { body, duplex: "half" }),
                signal: this.signal ? AbortSignal.any([this.signal, limit.signal]) : limit.signal,
            };
            return await fetch(url, init);
        } catch (error) {
            const cause = error instanceof TypeError ? error.cause : undefined;
            if (cause === undefined) {
                throw error;
            }
            const code = (cause as { readonly code?: unknown }).code;
            const why = messageOf(cause) || (typeof code === "string" ? code : "no answer");
            throw new TypeError(`${this.image.registry} cannot be reached: ${why}`, { cause });
        } finally {
            clearTimeout(timer);
        }
    }

    private async refusal(response: Response, method: string, path: string): Promise<HttpError> {
        const text = await response.text().catch(() => "");
        const shown = path.split("?", 1)[0] ?? "";
        const why = reasonOf(text);
        const word = { 401: "wants to know who asks", 403: "does not allow this", 404: "does not have it" }[
            response.status
        ];
        return new HttpError(
            `${this.name}: ${method} ${shown}: the registry ${word ?? `answers ${response.status}`}${why}`,
            response.status,
            retryAfterOf(response.headers),
        );
    }

    /** `Link: </v2/…>; rel="next"`; of this registry only. */
    private nextPage(link: string | null): string | undefined {
        const target = /<([^>]+)>\s*;\s*rel="?next"?/.exec(link ?? "")?.[1];
        if (target === undefined) {
            return undefined;
        }
        const url = new URL(target, `${this.base}/v2/${this.image.repository}/tags/list`);
        return url.origin === new URL(this.base).origin ? url.href : undefined;
    }
}

/** What a registry says of its refusal, in one line. */
function reasonOf(text: string): string {
    try {
        const { errors = [] } = JSON.parse(text) as {
            readonly errors?: readonly { readonly code?: unknown; readonly message?: unknown }[];
        };
        const first = errors[0];
        const words = [first?.code, first?.message].filter((word) => typeof word === "string" && word !== "");
        return words.length === 0 ? "" : ` (${words.join(": ").replace(/\s+/g, " ").slice(0, 200)})`;
    } catch {
        return "";
    }
}

async function limited(response: Response, limit: number, what: string): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    const body: AsyncIterable<Uint8Array> | undefined = response.body ?? undefined;
    for await (const chunk of body ?? []) {
        size += chunk.length;
        if (size > limit) {
            throw new Error(`the manifest ${what} is larger than ${limit} bytes`);
        }
        chunks.push(chunk);
    }
    return Buffer.concat(chunks);
}
