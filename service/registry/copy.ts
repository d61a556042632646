import { createHash } from "node:crypto";

import { UserError } from "../../contract/errors";
import type { RepositoryClient, StoredManifest } from "./client";
import type { Descriptor, ManifestDocument } from "./media";
import { digestPattern } from "./reference";
import { withRetries } from "./retry";

/** What a copy came to. */
export interface CopyResult {
    readonly digest: string;
    /** Tags that were set, and tags that were so already. */
    readonly tagged: readonly string[];
    readonly unchanged: readonly string[];
    readonly blobs: { readonly copied: number; readonly mounted: number; readonly there: number };
    readonly bytes: number;
}

export interface CopyOptions {
    /** Tags to set at the destination. */
    readonly tags: readonly string[];
    /** Whether a tag that stands for another image is set anew. */
    readonly replace: boolean;
    readonly onNote?: (note: string) => void;
}

/** How many layers are copied at once. */
const parallelBlobs = 3;
/** An index in an index, and so on: nobody has more. */
const deepest = 4;

/**
 * Copies an image, or an index with all its images, from one repository to another, byte for byte: its digest stays, and so
 * what was verified and signed. What is there already is left; tags are set last, when all that they stand for is there.
 *
 * @throws UserError where a tag stands for another image, before anything is copied.
 */
export async function copyImage(
    from: RepositoryClient,
    to: RepositoryClient,
    reference: string,
    options: CopyOptions,
): Promise<CopyResult> {
    const root = await from.manifest(reference);
    const current = await Promise.all(options.tags.map(async (tag) => [tag, await to.digestOf(tag)] as const));
    const other = current.find(([, digest]) => digest !== undefined && digest !== root.digest);
    if (other && !options.replace) {
        throw new UserError(
            `${to.name}:${other[0]} is ${other[1] ?? ""} already, not ${root.digest}; --replace sets it anew`,
        );
    }
    const copy = new Copy(from, to, options.onNote ?? (() => undefined));
    await copy.tree(root, 0);
    const pending = current.filter(([, digest]) => digest !== root.digest).map(([tag]) => tag);
    for (const tag of pending) {
        await copy.putManifest(root, tag);
    }
    return {
        digest: root.digest,
        tagged: pending,
        unchanged: current.filter(([, digest]) => digest === root.digest).map(([tag]) => tag),
        blobs: { copied: copy.copied, mounted: copy.mounted, there: copy.there },
        bytes: copy.bytes,
    };
}

class Copy {
    public copied = 0;
    public mounted = 0;
    public there = 0;
    public bytes = 0;
    /** Layers that images have in common are copied once. */
    private readonly done = new Map<string, Promise<void>>();

    public constructor(
        private readonly from: RepositoryClient,
        private readonly to: RepositoryClient,
        private readonly note: (note: string) => void,
    ) {}

    /** All that a manifest names, and then the manifest. */
    public async tree(manifest: StoredManifest, depth: number): Promise<void> {
        if (depth > deepest) {
            throw new Error(`${this.from.name}@${manifest.digest} is an index in an index in an index`);
        }
        const document = parseManifest(manifest);
        for (const child of document.manifests ?? []) {
            if (child.mediaType === undefined || /manifest|image\.index/.test(child.mediaType)) {
                await this.tree(await this.from.manifest(child.digest), depth + 1);
            }
        }
        const blobs = [...(document.config ? [document.config] : []), ...(document.layers ?? [])];
        const pending = blobs.filter(({ urls }) => urls === undefined || urls.length === 0);
        const work = async () => {
            for (let blob = pending.shift(); blob; blob = pending.shift()) {
                await this.blobOnce(blob);
            }
        };
        await Promise.all(Array.from({ length: parallelBlobs }, work));
        await this.putManifest(manifest, manifest.digest);
    }

    public async putManifest({ bytes, digest, mediaType }: StoredManifest, reference: string): Promise<void> {
        const response = await this.to.request(`manifests/${reference}`, {
            method: "PUT",
            headers: { "content-type": mediaType },
            body: bytes,
            access: "pull,push",
        });
        await response.body?.cancel();
        const stored = response.headers.get("docker-content-digest");
        if (stored !== null && stored !== digest) {
            throw new Error(`${this.to.name} has stored ${digest} as ${stored}`);
        }
    }

    private async blobOnce(blob: Descriptor): Promise<void> {
        const begun = this.done.get(blob.digest) ?? this.blob(blob);
        this.done.set(blob.digest, begun);
        await begun;
    }

    private async blob({ digest, size }: Descriptor): Promise<void> {
        const head = await this.to.request(`blobs/${digest}`, { method: "HEAD", accept: [404], access: "pull,push" });
        await head.body?.cancel();
        if (head.status !== 404) {
            this.there++;
            return;
        }
        // An upload that fails in its middle begins anew: registries differ in what they keep of one.
        await withRetries(async () => this.upload(digest, size));
    }

    private async upload(digest: string, size: number): Promise<void> {
        const isSameRegistry = this.from.image.registry === this.to.image.registry;
        const mount = isSameRegistry ? `?mount=${digest}&from=${this.from.image.repository}` : "";
        const begun = await this.to.request(`blobs/uploads/${mount}`, {
            method: "POST",
            headers: { "content-length": "0" },
            body: Buffer.alloc(0),
            access: "pull,push",
        });
        await begun.body?.cancel();
        if (begun.status === 201) {
            this.mounted++;
            return;
        }
        const location = begun.headers.get("location");
        if (location === null) {
            throw new Error(`${this.to.name} does not say where to upload to`);
        }
        const target = new URL(location, begun.url);
        target.searchParams.set("digest", digest);
        const put = await this.to.request(target.href, {
            method: "PUT",
            headers: { "content-type": "application/octet-stream", "content-length": String(size) },
            body: async () => this.verified(digest, size),
            access: "pull,push",
        });
        await put.body?.cancel();
        this.copied++;
        this.bytes += size;
        this.note(`${digest}: ${size} bytes`);
    }

    /** A blob as it comes; one that is not what its digest says fails before its last byte is sent. */
    private async verified(digest: string, size: number): Promise<ReadableStream<Uint8Array>> {
        const response = await this.from.request(`blobs/${digest}`, {});
        if (!response.body) {
            throw new Error(`${this.from.name} has sent ${digest} without a body`);
        }
        const hash = createHash("sha256");
        let seen = 0;
        let held: Uint8Array | undefined;
        return response.body.pipeThrough(
            new TransformStream<Uint8Array, Uint8Array>({
                transform(chunk, controller) {
                    hash.update(chunk);
                    seen += chunk.length;
                    if (held) {
                        controller.enqueue(held);
                    }
                    held = chunk;
                },
                flush(controller) {
                    if (seen !== size || `sha256:${hash.digest("hex")}` !== digest) {
                        controller.error(new Error(`the blob ${digest} is not what its digest says`));
                        return;
                    }
                    if (held) {
                        controller.enqueue(held);
                    }
                },
            }),
        );
    }
}

function parseManifest({ bytes, digest }: StoredManifest): ManifestDocument {
    const document = JSON.parse(bytes.toString("utf8")) as ManifestDocument;
    // The older schema's digest is of a part of it only, and no registry takes it any more.
    if ((document as { readonly schemaVersion: number }).schemaVersion !== 2) {
        throw new UserError(`${digest} is of Docker's first schema; build it anew with a builder of these days`);
    }
    const named = [
        ...(document.layers ?? []),
        ...(document.manifests ?? []),
        ...(document.config ? [document.config] : []),
    ];
    const bad = named.find((each) => !digestPattern.test(each.digest));
    if (bad) {
        throw new Error(`${digest} names ${JSON.stringify(bad.digest)}, which is no SHA-256`);
    }
    return document;
}
