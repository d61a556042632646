import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { pipeline } from "node:stream/promises";

import { isConfidential } from "../../contract/address";
import { UserError } from "../../contract/errors";
import { ByteLimit } from "./byteLimit";
import type { Answer, Ask, GuardedClient } from "./http";
import type { Credential, ImageName } from "./location";
import { shown } from "./treeWriter";

/** A content descriptor (https://github.com/opencontainers/image-spec/blob/main/descriptor.md). */
export interface Descriptor {
    readonly mediaType: string;
    readonly digest: string;
    readonly size: number;
    readonly platform?: { readonly architecture: string; readonly os: string };
}

/** An image's manifest, as the registry has it. */
export interface ImageManifest {
    readonly mediaType: string;
    readonly digest: string;
    readonly bytes: Buffer;
    readonly config: Descriptor;
    readonly layers: readonly Descriptor[];
}

/** A manifest is a page of JSON; registries take 4 MiB at most (distribution-spec, pushing manifests). */
const manifestLimit = 4 * 1024 ** 2;
const manifestTypes = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/** One repository of a registry (https://github.com/opencontainers/distribution-spec/blob/main/spec.md), by one caller's credential. */
export class Registry {
    private authorization: string | undefined;
    private readonly base: URL;

    public constructor(
        private readonly client: GuardedClient,
        private readonly image: Pick<ImageName, "registry" | "repository">,
        private readonly credential: Credential | undefined,
        private readonly signal: AbortSignal,
        private readonly actions: "pull" | "pull,push" = "pull",
    ) {
        this.base = new URL(baseOf(image.registry));
    }

    /** The manifest of a tag or digest; of an image for several platforms, that for this one. */
    public async manifest(reference: string): Promise<ImageManifest> {
        const { bytes, mediaType, digest } = await this.getManifest(reference);
        const document = parseManifest(bytes, this.name(reference));
        if (document.manifests) {
            const fitting = document.manifests.find(
                ({ platform }) => platform?.os === "linux" && platform.architecture === "amd64",
            );
            if (!fitting) {
                throw new UserError(`${this.name(reference)} is for no platform that is built for: linux/amd64`);
            }
            return this.manifest(fitting.digest);
        }
        if (!document.config || !document.layers) {
            throw new UserError(`${this.name(reference)} is an artifact without layers, or of an old form`);
        }
        return { mediaType, digest, bytes, config: document.config, layers: document.layers };
    }

    /** The bytes of a blob, which the digest has been checked of. */
    public async smallBlob({ digest, size }: Descriptor): Promise<Buffer> {
        if (size > manifestLimit) {
            throw new UserError(`${this.name(digest)} has a configuration that is too large`);
        }
        const answer = await this.expect(200, `blobs/${digest}`, {});
        const bytes = await bodyOf(answer);
        checkDigest(digest, createHash("sha256").update(bytes).digest("hex"));
        return bytes;
    }

    /** Writes a blob to a new file. @returns its size */
    public async saveBlob({ digest }: Descriptor, file: string, limit: number): Promise<number> {
        const answer = await this.expect(200, `blobs/${digest}`, {});
        const hash = createHash("sha256");
        const counted = new ByteLimit(limit, "the image");
        counted.on("data", (chunk: Buffer) => hash.update(chunk));
        await pipeline(answer.body, counted, fs.createWriteStream(file, { flags: "wx", mode: 0o600 }), {
            signal: this.signal,
        });
        checkDigest(digest, hash.digest("hex"));
        return counted.seen;
    }

    /** Takes a blob over from a file, unless the repository has it. */
    public async putBlob({ digest, size }: Descriptor, file: string): Promise<void> {
        const there = await this.ask(`blobs/${digest}`, { method: "HEAD" });
        there.body.resume();
        if (there.status === 200) {
            return;
        }
        const started = await this.expect(202, "blobs/uploads/", { method: "POST" });
        started.body.resume();
        const location = started.headers["location"];
        if (typeof location !== "string" || !URL.canParse(location, this.base.href)) {
            throw new UserError(`${this.base.host} does not say where to upload to`);
        }
        const to = new URL(location, this.base);
        to.searchParams.set("digest", digest);
        const headers = { "content-type": "application/octet-stream", "content-length": String(size) };
        const done = await this.client.ask(to, {
            method: "PUT",
            headers,
            body: fs.createReadStream(file),
            signal: this.signal,
            ...(to.origin === this.base.origin ? { authorization: this.authorization } : {}),
        });
        done.body.resume();
        if (done.status !== 201) {
            throw new UserError(
                `${this.base.host} did not take a layer of ${this.image.repository}: HTTP ${done.status}`,
            );
        }
    }

    public async putManifest(reference: string, manifest: Pick<ImageManifest, "bytes" | "mediaType">): Promise<void> {
        const headers = { "content-type": manifest.mediaType, "content-length": String(manifest.bytes.length) };
        (
            await this.expect(201, `manifests/${reference}`, { method: "PUT", headers, body: manifest.bytes })
        ).body.resume();
    }

    private async getManifest(reference: string): Promise<Pick<ImageManifest, "bytes" | "mediaType" | "digest">> {
        const answer = await this.expect(200, `manifests/${reference}`, {
            headers: { accept: manifestTypes.join(", ") },
        });
        const bytes = await bodyOf(answer);
        const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
        if (reference.startsWith("sha256:")) {
            checkDigest(reference, digest.slice("sha256:".length));
        }
        const mediaType =
            String(answer.headers["content-type"] ?? "")
                .split(";")[0]
                ?.trim() ?? "";
        return { bytes, mediaType, digest };
    }

    private async expect(status: number, path: string, ask: Partial<Ask>): Promise<Answer> {
        const answer = await this.ask(path, ask);
        if (answer.status === status) {
            return answer;
        }
        answer.body.resume();
        const what = this.name(path.replace(/^(manifests|blobs)\//, "").replace(/^uploads\/$/, ""));
        if (answer.status === 401 || answer.status === 403) {
            throw new UserError(`${this.base.host} wants a credential for ${what}, or another one`);
        }
        throw new UserError(
            answer.status === 404
                ? `there is no image ${what}`
                : `${this.base.host} answered HTTP ${answer.status} for ${what}`,
        );
    }

    private async ask(path: string, ask: Partial<Ask>): Promise<Answer> {
        const url = new URL(`/v2/${this.image.repository}/${path}`, this.base);
        const send = () => this.client.ask(url, { signal: this.signal, authorization: this.authorization, ...ask });
        const first = await send();
        if (first.status !== 401 || this.authorization !== undefined) {
            return first;
        }
        first.body.resume();
        const authorization = await this.authorize(String(first.headers["www-authenticate"] ?? ""));
        if (authorization === undefined) {
            return first;
        }
        this.authorization = authorization;
        return send();
    }

    /** https://distribution.github.io/distribution/spec/auth/token/ */
    private async authorize(challenge: string): Promise<string | undefined> {
        const basic =
            this.credential &&
            `Basic ${Buffer.from(`${this.credential.username}:${this.credential.password}`).toString("base64")}`;
        if (basic !== undefined && !isConfidential(this.base)) {
            throw new UserError(`${this.base.host} is asked without encryption: it is sent no credential`);
        }
        const [, scheme = "", rest = ""] = /^(\w+)\s+(.*)$/s.exec(challenge) ?? [];
        if (/^basic$/i.test(scheme)) {
            return basic;
        }
        const parameters = new Map(
            [...rest.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, value]),
        );
        const realm = parameters.get("realm") ?? "";
        if (!/^bearer$/i.test(scheme) || !URL.canParse(realm)) {
            return undefined;
        }
        const url = new URL(realm);
        const service = parameters.get("service");
        if (service !== undefined) {
            url.searchParams.set("service", service);
        }
        url.searchParams.set("scope", `repository:${this.image.repository}:${this.actions}`);
        if (basic !== undefined && !isConfidential(url)) {
            throw new UserError(`${this.base.host} has its tokens made by ${url.host}, without encryption`);
        }
        const answer = await this.client.ask(url, { signal: this.signal, authorization: basic });
        const text = (await bodyOf(answer)).toString("utf8");
        if (answer.status !== 200) {
            return undefined;
        }
        const { token, access_token } = JSON.parse(text) as { token?: string; access_token?: string };
        return token === undefined && access_token === undefined ? undefined : `Bearer ${token ?? access_token ?? ""}`;
    }

    private name(reference: string): string {
        const joint = reference.startsWith("sha256:") ? "@" : ":";
        return `${this.image.registry}/${this.image.repository}${reference === "" ? "" : joint}${reference}`;
    }
}

/** As Docker has it: http for this machine alone, and Docker Hub where its API is. */
function baseOf(registry: string): string {
    if (["docker.io", "index.docker.io", "registry-1.docker.io"].includes(registry)) {
        return "https://registry-1.docker.io";
    }
    const host = new URL(`http://${registry}`).hostname;
    return `${host === "localhost" || /^127\./.test(host) ? "http" : "https"}://${registry}`;
}

interface AnyManifest {
    readonly manifests?: readonly Descriptor[];
    readonly config?: Descriptor;
    readonly layers?: readonly Descriptor[];
}

function parseManifest(bytes: Buffer, name: string): AnyManifest {
    let document: AnyManifest;
    try {
        document = JSON.parse(bytes.toString("utf8")) as AnyManifest;
    } catch {
        throw new UserError(`the registry's manifest of ${name} is no JSON`);
    }
    const all = [
        ...(document.manifests ?? []),
        ...(document.layers ?? []),
        ...(document.config ? [document.config] : []),
    ];
    const bad = all.find(({ digest }) => !/^sha256:[0-9a-f]{64}$/.test(digest));
    if (bad) {
        throw new UserError(`${name} has a digest that is none of SHA-256: ${shown(bad.digest)}`);
    }
    return document;
}

async function bodyOf(answer: Answer): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of answer.body) {
        const bytes = Buffer.from(chunk as Uint8Array);
        length += bytes.length;
        if (length > manifestLimit) {
            answer.body.destroy();
            throw new UserError("the registry's answer is larger than any manifest");
        }
        chunks.push(bytes);
    }
    return Buffer.concat(chunks);
}

function checkDigest(expected: string, actual: string): void {
    if (expected !== `sha256:${actual}`) {
        throw new UserError(`what the registry sent is not ${expected}`);
    }
}
