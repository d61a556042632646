import type { ContainerClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { ContainerSASPermissions, generateBlobSASQueryParameters, RestError, SASProtocol } from "@azure/storage-blob";

import { UserError } from "../contract/errors";
import { layout } from "../contract/layout";
import type { BuildKey } from "../contract/layout";
import type { AttemptFinished, AttemptStarted, Manifest, PodInfo } from "../contract/manifest";
import type { PipelineResult } from "../contract/pipeline";

/** The store knows the login, and no role of it that allows this: one that was just assigned may not be known yet. */
export class NotYetAllowed extends UserError {}

/** https://learn.microsoft.com/rest/api/storageservices/append-block: the least that any version takes, in bytes. */
const appendLimit = 4 * 1024 * 1024;

/** An attempt that has begun. */
export interface BegunAttempt {
    readonly attempt: number;
    readonly started: AttemptStarted;
}

/** A build that the store knows of. */
export interface StoredAttempt {
    readonly attempt: number;
    readonly started?: AttemptStarted;
    readonly finished?: AttemptFinished;
    readonly podinfo?: PodInfo;
}

/**
 * The blob container, read as the contract's documents. A store that refuses the credential is a UserError that says which
 * role or setting is missing.
 */
export class BuildStore {
    public constructor(private readonly container: ContainerClient) {}

    public get url(): string {
        return this.container.url.replace(/\?.*$/, "");
    }

    /** Makes the container, private, if there is none. */
    public async create(): Promise<void> {
        await this.asked(() => this.container.createIfNotExists());
    }

    public blobUrl(path: string): string {
        return `${this.url}/${path.split("/").map(encodeURIComponent).join("/")}`;
    }

    public async manifest(key: BuildKey): Promise<Manifest | undefined> {
        return this.document<Manifest>(layout.manifest(key));
    }

    /** The attempts at a build, first to last. */
    public async attempts(key: BuildKey): Promise<readonly StoredAttempt[]> {
        return Promise.all(
            (await this.attemptNumbers(key)).map(async (attempt) => ({
                attempt,
                started: await this.document<AttemptStarted>(layout.started(key, attempt)),
                finished: await this.finished(key, attempt),
                podinfo: await this.document<PodInfo>(layout.podinfo(key, attempt)),
            })),
        );
    }

    /** The attempts that have begun, first to last, without how they ended. */
    public async begun(key: BuildKey): Promise<readonly BegunAttempt[]> {
        const attempts = (await this.attemptNumbers(key)).map(async (attempt) => ({
            attempt,
            started: await this.document<AttemptStarted>(layout.started(key, attempt)),
        }));
        return (await Promise.all(attempts)).filter((each): each is BegunAttempt => each.started !== undefined);
    }

    private async attemptNumbers(key: BuildKey): Promise<readonly number[]> {
        const numbers = new Set<number>();
        await this.asked(async () => {
            for await (const blob of this.container.listBlobsFlat({ prefix: layout.attemptsPrefix(key) })) {
                const match = /\/attempts\/(\d+)\//.exec(blob.name);
                if (match) {
                    numbers.add(Number(match[1]));
                }
            }
        });
        return [...numbers].sort((a, b) => a - b);
    }

    public async finished(key: BuildKey, attempt: number): Promise<AttemptFinished | undefined> {
        return this.document<AttemptFinished>(layout.finished(key, attempt));
    }

    /** The first level of the container: the BUILD_TAGs that something is stored for. */
    public async tags(): Promise<readonly string[]> {
        const tags: string[] = [];
        await this.asked(async () => {
            for await (const item of this.container.listBlobsByHierarchy("/")) {
                if (item.kind === "prefix") {
                    tags.push(item.name.replace(/\/$/, ""));
                }
            }
        });
        return tags;
    }

    /** The steps of a tag that something is stored for. */
    public async steps(tag: string): Promise<readonly string[]> {
        const prefix = layout.stepsPrefix(tag);
        const steps: string[] = [];
        await this.asked(async () => {
            for await (const item of this.container.listBlobsByHierarchy("/", { prefix })) {
                if (item.kind === "prefix") {
                    steps.push(item.name.slice(prefix.length).replace(/\/$/, ""));
                }
            }
        });
        return steps;
    }

    /** The result of a tag's pipeline, if it had one that has ended. */
    public async pipeline(tag: string): Promise<PipelineResult | undefined> {
        return this.document<PipelineResult>(layout.pipeline(tag));
    }

    /** The names of all blobs that begin so. */
    public async names(prefix: string): Promise<readonly string[]> {
        const names: string[] = [];
        await this.asked(async () => {
            for await (const blob of this.container.listBlobsFlat({ prefix })) {
                names.push(blob.name);
            }
        });
        return names;
    }

    /** The blobs that begin so, and their sizes in bytes. */
    public async sizes(prefix: string): Promise<readonly { readonly name: string; readonly size: number }[]> {
        const found: { name: string; size: number }[] = [];
        await this.asked(async () => {
            for await (const { name, properties } of this.container.listBlobsFlat({ prefix })) {
                found.push({ name, size: properties.contentLength ?? 0 });
            }
        });
        return found;
    }

    /**
     * What a blob has from byte `offset` on; empty when it has no more. `limit` bounds what is held in memory, in bytes.
     *
     * @returns undefined when there is no such blob.
     */
    public async bytes(path: string, offset: number, limit: number): Promise<Buffer | undefined> {
        try {
            const response = await this.container.getBlobClient(path).download(offset, limit);
            const chunks: Buffer[] = [];
            for await (const chunk of response.readableStreamBody ?? []) {
                chunks.push(Buffer.from(chunk as Uint8Array));
            }
            return Buffer.concat(chunks);
        } catch (error) {
            const status = error instanceof RestError ? error.statusCode : undefined;
            if (status === 404) {
                return undefined;
            }
            // 416: nothing at this offset (yet).
            if (status === 416) {
                return Buffer.alloc(0);
            }
            throw explained(error, this.url);
        }
    }

    /** A blob's content as a stream of chunks. */
    public async stream(path: string): Promise<NodeJS.ReadableStream> {
        const blob = this.container.getBlobClient(path);
        const response = await this.asked(() => blob.download(0, undefined, { maxRetryRequests: 5 }));
        if (!response.readableStreamBody) {
            throw new Error(`${path} came without a body`);
        }
        return response.readableStreamBody;
    }

    /** Writes a document of an attempt: it counts instead of one that is there (contract/layout.ts). */
    public async putDocument(path: string, document: unknown): Promise<void> {
        const line = `${JSON.stringify(document)}\n`;
        const blob = this.container.getAppendBlobClient(path);
        await this.asked(async () => {
            await blob.createIfNotExists({ blobHTTPHeaders: { blobContentType: "application/json" } }).catch(isThere);
            await blob.appendBlock(line, Buffer.byteLength(line));
        });
    }

    /** Writes a log as a whole: an append blob, as all logs are. One that is there already is left as it is. */
    public async putLog(path: string, text: string): Promise<void> {
        const content = Buffer.from(text);
        const blob = this.container.getAppendBlobClient(path);
        await this.asked(async () => {
            const made = await blob.createIfNotExists({
                blobHTTPHeaders: { blobContentType: "text/plain; charset=utf-8" },
            });
            for (let offset = 0; made.succeeded && offset < content.length; offset += appendLimit) {
                const block = content.subarray(offset, offset + appendLimit);
                await blob.appendBlock(block, block.length);
            }
        });
    }

    /** A blob's content, if it is there. For what is small. */
    public async content(path: string): Promise<Buffer | undefined> {
        try {
            return await this.container.getBlobClient(path).downloadToBuffer();
        } catch (error) {
            if (error instanceof RestError && error.statusCode === 404) {
                return undefined;
            }
            throw explained(error, this.url);
        }
    }

    private async document<T>(path: string): Promise<T | undefined> {
        const content = await this.content(path);
        return content === undefined ? undefined : (lastDocument(content.toString("utf8")) as T | undefined);
    }

    private async asked<T>(request: () => Promise<T>): Promise<T> {
        try {
            return await request();
        } catch (error) {
            throw explained(error, this.url);
        }
    }
}

/** A store with an immutability policy may name that, and not the condition, as its reason to refuse. */
function isThere(error: unknown): void {
    if (!(error instanceof RestError) || error.code?.startsWith("BlobImmutableDueTo") !== true) {
        throw error;
    }
}

/** What a document's blob says: JSON, or lines of it of which the last one counts; undefined while there is none. */
export function lastDocument(content: string): unknown {
    const lines = content.trimEnd().split("\n");
    // What is kept is indented for people: one document, of many lines.
    const last = lines.length > 1 && lines[0] === "{" ? content : (lines.at(-1) ?? "");
    return last.trim() === "" ? undefined : (JSON.parse(last) as unknown);
}

/**
 * What the store's refusals mean to a person; any other error as it is. The codes:
 * https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
 */
function explained(error: unknown, container: string): unknown {
    if (!(error instanceof RestError) || (error.statusCode !== 401 && error.statusCode !== 403)) {
        return error;
    }
    const code = error.code ?? `status ${error.statusCode}`;
    switch (code) {
        case "AuthorizationPermissionMismatch":
            return error.request?.method === "PUT"
                ? new UserError(`your login may not write to ${container} (${code})`)
                : new NotYetAllowed(
                      `your login may not read ${container} (${code}): that takes the role "Storage Blob Data Reader"; ` +
                          "one that was just assigned takes up to ten minutes",
                  );
        case "KeyBasedAuthenticationNotPermitted":
            return new UserError(
                `${container} takes no account keys (${code}): unset AZURE_STORAGE_CONNECTION_STRING and ` +
                    "AZURE_STORAGE_KEY, and run `az login`",
            );
        case "AuthorizationFailure":
            return new UserError(
                `${container} refuses the request (${code}): the credential is wrong, or the store's network rules ` +
                    "keep this machine out",
            );
        default:
            return new UserError(`${container} refuses the credential (${code})`);
    }
}

/**
 * A SAS for one container: create, write, add and read; no delete, no list. Good for two days from the beginning of
 * `validFrom` (`YYYY-MM-DD`, UTC), so that a build started at its last minute can still be stored.
 *
 * @returns the query string, without `?`
 */
export function containerSas(
    credential: StorageSharedKeyCredential,
    endpoint: string,
    containerName: string,
    validFrom: string,
): string {
    const startsOn = new Date(`${validFrom}T00:00:00Z`);
    if (Number.isNaN(startsOn.getTime())) {
        throw new Error(`${validFrom} is not a day (YYYY-MM-DD)`);
    }
    const day = 24 * 3600 * 1000;
    return generateBlobSASQueryParameters(
        {
            containerName,
            permissions: ContainerSASPermissions.from({ create: true, write: true, add: true, read: true }),
            // A quarter of an hour for clocks that differ.
            startsOn: new Date(startsOn.getTime() - 15 * 60 * 1000),
            expiresOn: new Date(startsOn.getTime() + 2 * day),
            // The embedded store speaks plain HTTP on the machine's own bridge; any other must be HTTPS.
            protocol: endpoint.startsWith("https:") ? SASProtocol.Https : SASProtocol.HttpsAndHttp,
        },
        credential,
    ).toString();
}
