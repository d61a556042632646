import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { request } from "node:http";
import { Readable } from "node:stream";

/** An image of one layer: paths of its gzipped layer, its configuration and its manifest. */
export interface ImageFiles {
    readonly layer: string;
    readonly config: string;
    readonly manifest: string;
}

interface Manifest {
    readonly mediaType: string;
    readonly config: { readonly digest: string };
    readonly layers: readonly [{ readonly digest: string }];
}

/**
 * Pushes an image to a registry on this machine, without a Docker:
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#push
 * @returns the manifest's digest, `sha256:<hex>`
 */
export async function pushImage(registry: string, name: string, tag: string, files: ImageFiles): Promise<string> {
    const manifest = await readFile(files.manifest);
    const { config, layers, mediaType } = JSON.parse(manifest.toString("utf8")) as Manifest;
    const base = `http://${registry.replace("localhost", "127.0.0.1")}/v2/${name}`;
    const digest = `sha256:${createHash("sha256").update(manifest).digest("hex")}`;
    const known = await send("HEAD", `${base}/manifests/${tag}`, { accept: mediaType });
    if (known.headers["docker-content-digest"] === digest) {
        return digest;
    }
    await pushBlob(base, layers[0].digest, files.layer);
    await pushBlob(base, config.digest, files.config);
    const type = { "content-type": mediaType, "content-length": manifest.length };
    expect(await send("PUT", `${base}/manifests/${tag}`, type, Readable.from([manifest])), 201);
    return digest;
}

async function pushBlob(base: string, digest: string, path: string): Promise<void> {
    if ((await send("HEAD", `${base}/blobs/${digest}`)).status === 200) {
        return;
    }
    const begun = expect(await send("POST", `${base}/blobs/uploads/`, { "content-length": 0 }), 202);
    const target = new URL(String(begun.headers["location"]), base);
    target.searchParams.set("digest", digest);
    const headers = { "content-type": "application/octet-stream", "content-length": (await stat(path)).size };
    expect(await send("PUT", target.href, headers, createReadStream(path)), 201);
}

interface Reply {
    readonly status: number;
    readonly headers: NodeJS.Dict<string | string[]>;
    readonly body: string;
}

/**
 * node:http and not fetch: it streams a body of known length, and goes through no proxy.
 *
 * @param body ends after as many bytes as its header says. Only the reply tells how it went: a server that has all of them
 * may answer and close before the body has come to its end here, which is no failure.
 */
export async function send(
    method: string,
    url: string,
    headers: NodeJS.Dict<string | number> = {},
    body?: Readable,
): Promise<Reply> {
    const outgoing = request(url, { method, headers, agent: false });
    const reply = new Promise<Reply>((resolve, reject) => {
        outgoing.on("error", reject);
        body?.once("error", (error) => outgoing.destroy(error));
        outgoing.once("response", (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.once("error", reject);
            response.once("end", () => {
                const text = Buffer.concat(chunks).toString("utf8");
                resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
            });
        });
    });
    if (body === undefined) {
        outgoing.end();
    } else {
        body.pipe(outgoing);
    }
    try {
        return await reply;
    } finally {
        body?.destroy();
    }
}

function expect(reply: Reply, status: number): Reply {
    if (reply.status !== status) {
        throw new Error(`the registry answered ${reply.status}: ${reply.body.slice(0, 300)}`);
    }
    return reply;
}
