import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import { archiveKind, refuseRepository } from "./archive";
import { sizeText } from "./byteLimit";
import type { GuardedClient } from "./http";
import type { Credential, ImageName } from "./location";
import type { SourceLimits } from "./policy";
import { Registry } from "./registry";
import { readTar, writeEntry } from "./tar";
import { TreeWriter } from "./treeWriter";

const whiteout = ".wh.";
const opaque = ".wh..wh..opq";

/**
 * Makes a source of what is in an image: of its working directory, where it has one, else of all. The layers lie over one
 * another as image-spec has it (https://github.com/opencontainers/image-spec/blob/main/layer.md).
 *
 * @returns the image's digest
 */
export async function unpackImage(
    client: GuardedClient,
    image: ImageName,
    credential: Credential | undefined,
    directory: string,
    limits: SourceLimits,
    signal: AbortSignal,
): Promise<string> {
    const registry = new Registry(client, image, credential, signal);
    const manifest = await registry.manifest(image.reference);
    const prefix = workingDirectory(await registry.smallBlob(manifest.config));
    const scratch = fs.mkdtempSync(path.join(path.dirname(directory), ".image-"));
    const tree = path.join(scratch, "tree");
    fs.mkdirSync(tree, { mode: 0o755 });
    try {
        const writer = new TreeWriter(tree, limits);
        let left = limits.archiveBytes;
        for (const layer of manifest.layers) {
            if (layer.size > left) {
                throw new UserError(
                    `the image is larger than ${sizeText(limits.archiveBytes)}, which is the most that a source may be`,
                );
            }
            const file = path.join(scratch, "layer");
            left -= await registry.saveBlob(layer, file, left);
            const kind = archiveKind(file);
            if (kind === "zip") {
                throw new UserError(`the image has a layer that is no tar archive: ${layer.digest}`);
            }
            writer.beginLayer();
            await readTar(fs.createReadStream(file), kind, limits, signal, async (header, content) => {
                const name = below(prefix, header.name);
                const linkname = header.type === "link" ? below(prefix, header.linkname) : header.linkname;
                if (name === undefined || name === "" || linkname === undefined) {
                    content.resume();
                } else if (path.posix.basename(name) === opaque) {
                    writer.opaque(path.posix.dirname(name).replace(/^\.$/, ""));
                } else if (path.posix.basename(name).startsWith(whiteout)) {
                    const hidden = path.posix.basename(name).slice(whiteout.length);
                    writer.whiteout(path.posix.join(path.posix.dirname(name), hidden));
                } else if (header.type === "symlink") {
                    writer.link(name, header.linkname, (target) => below(prefix, target));
                } else {
                    await writeEntry(writer, { ...header, name, linkname }, content);
                }
            });
            fs.rmSync(file);
        }
        if (fs.readdirSync(tree).length === 0) {
            throw new UserError(
                `the image has no files in /${prefix}, its working directory; a source is expected there`,
            );
        }
        fs.renameSync(tree, directory);
    } finally {
        fs.rmSync(scratch, { recursive: true, force: true });
    }
    refuseRepository(directory);
    return manifest.digest;
}

/** An image, and by which way and as whom it is reached. */
export interface ImageAccess {
    readonly client: GuardedClient;
    readonly image: ImageName;
    readonly credential?: Credential;
}

/** Takes an image over into another repository, as it is: its digest stays. @returns the digest */
export async function copyImage(
    from: ImageAccess,
    to: ImageAccess & { readonly tags: readonly string[] },
    scratchParent: string,
    limits: SourceLimits,
    signal: AbortSignal,
): Promise<string> {
    const source = new Registry(from.client, from.image, from.credential, signal);
    const target = new Registry(to.client, to.image, to.credential, signal, "pull,push");
    const manifest = await source.manifest(from.image.reference);
    const scratch = fs.mkdtempSync(path.join(scratchParent, ".image-"));
    try {
        let left = limits.archiveBytes;
        for (const blob of [manifest.config, ...manifest.layers]) {
            const file = path.join(scratch, "blob");
            left -= await source.saveBlob(blob, file, left);
            await target.putBlob({ ...blob, size: fs.statSync(file).size }, file);
            fs.rmSync(file);
        }
    } finally {
        fs.rmSync(scratch, { recursive: true, force: true });
    }
    for (const tag of to.tags) {
        await target.putManifest(tag, manifest);
    }
    return manifest.digest;
}

/** Without a slash at either end; empty for the root. */
function workingDirectory(config: Buffer): string {
    const { config: runtime } = JSON.parse(config.toString("utf8")) as { config?: { WorkingDir?: string } };
    return path.posix.resolve("/", runtime?.WorkingDir ?? "/").slice(1);
}

/** A layer's path as one in the tree; undefined for what is not in it. */
function below(prefix: string, name: string): string | undefined {
    const plain = path.posix.resolve("/", name).slice(1);
    if (prefix === "" || plain === prefix) {
        return prefix === "" ? plain : "";
    }
    return plain.startsWith(`${prefix}/`) ? plain.slice(prefix.length + 1) : undefined;
}
