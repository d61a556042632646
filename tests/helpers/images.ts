import { createHash } from "node:crypto";

import { RepositoryClient } from "../../service/registry/client";
import { copyImage } from "../../service/registry/copy";
import type { FindCredential } from "../../service/registry/authorization";
import { manifestTypes } from "../../service/registry/media";
import { parseReference } from "../../service/registry/reference";

import { platform } from "./ke1";

export const nobody: FindCredential = (serveraddress) => Promise.resolve({ serveraddress });

const sha256 = (bytes: Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/**
 * Pushes the platform's toolchain image under another name, with an environment variable more: an image that builds can run
 * in, and that no other has the digest of.
 *
 * @returns its digest
 */
export async function pushVariant(
    destination: string,
    variables: Readonly<Record<string, string>>,
    credentials: FindCredential = nobody,
): Promise<string> {
    const base = parseReference(platform().baseImage);
    const reference = parseReference(destination);
    const [from, to] = [new RepositoryClient(base, nobody), new RepositoryClient(reference, credentials)];
    const { digest } = await copyImage(from, to, base.digest ?? base.tag ?? "latest", { tags: [], replace: false });
    const manifest: any = JSON.parse((await from.manifest(digest)).bytes.toString());
    const response = await from.request(`blobs/${manifest.config.digest as string}`, {});
    const config: any = await response.json();
    config.config = { ...config.config, WorkingDir: "/src" };
    config.config.Env = [
        ...(config.config.Env ?? []),
        ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
    ];
    const content = Buffer.from(JSON.stringify(config));
    await pushBlob(to, content);
    const made = Buffer.from(
        JSON.stringify({ ...manifest, config: { ...manifest.config, digest: sha256(content), size: content.length } }),
    );
    await pushManifest(
        to,
        reference.tag ?? "latest",
        made,
        (manifest.mediaType as string | undefined) ?? manifestTypes[2],
    );
    return sha256(made);
}

/** An index of images for several platforms that are nothing but a layer of a few bytes each. */
export async function pushIndex(destination: string, names: readonly string[], credentials = nobody): Promise<string> {
    const reference = parseReference(destination);
    const to = new RepositoryClient(reference, credentials);
    const manifests = [];
    for (const name of names) {
        const [config, layer] = [Buffer.from(JSON.stringify({ architecture: name })), Buffer.from(`layer of ${name}`)];
        await pushBlob(to, config);
        await pushBlob(to, layer);
        const manifest = Buffer.from(
            JSON.stringify({
                schemaVersion: 2,
                mediaType: manifestTypes[2],
                config: descriptor("application/vnd.oci.image.config.v1+json", config),
                layers: [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
            }),
        );
        await pushManifest(to, sha256(manifest), manifest, manifestTypes[2]);
        manifests.push({
            ...descriptor(manifestTypes[2], manifest),
            platform: { os: "linux", architecture: name },
        });
    }
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestTypes[0], manifests }));
    await pushManifest(to, reference.tag ?? "latest", index, manifestTypes[0]);
    return sha256(index);
}

function descriptor(mediaType: string, bytes: Buffer) {
    return { mediaType, digest: sha256(bytes), size: bytes.length };
}

async function pushBlob(to: RepositoryClient, bytes: Buffer): Promise<void> {
    const access = "pull,push";
    const begun = await to.request("blobs/uploads/", { method: "POST", body: Buffer.alloc(0), access });
    await begun.body?.cancel();
    const target = new URL(begun.headers.get("location") ?? "", begun.url);
    target.searchParams.set("digest", sha256(bytes));
    const put = await to.request(target.href, {
        method: "PUT",
        headers: { "content-type": "application/octet-stream" },
        body: bytes,
        access,
    });
    await put.body?.cancel();
}

async function pushManifest(to: RepositoryClient, name: string, bytes: Buffer, mediaType: string): Promise<void> {
    const put = await to.request(`manifests/${name}`, {
        method: "PUT",
        headers: { "content-type": mediaType },
        body: bytes,
        access: "pull,push",
    });
    await put.body?.cancel();
}
