import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import type { Manifest } from "../../contract/manifest";
import { evidenceDirectory, evidenceFiles } from "../../launcher/artifacts";
import { shown } from "../../launcher/evidence";

/** A file of a release. */
export interface ReleaseAsset {
    /** Without a directory, and with no letters that GitHub would change. */
    readonly name: string;
    /** What the build calls it. */
    readonly label: string;
    readonly file: string;
    readonly size: number;
    readonly sha256: string;
    readonly mediaType: string;
}

export const checksumsName = "SHA256SUMS";

/** https://docs.github.com/repositories/releasing-projects-on-github/about-releases#storage-and-bandwidth-quotas */
const largestAsset = 2 * 1024 ** 3;
const mostAssets = 1000;

/**
 * The files of a release: a build's artifacts, its provenance, and their checksums in the format of `sha256sum`.
 *
 * @param directory what `downloadArtifacts` has made, and verified
 * @throws UserError where GitHub would not take them as they are
 */
export function assetsOf(manifest: Manifest, directory: string): readonly ReleaseAsset[] {
    const artifacts = manifest.artifacts.map((artifact) => ({
        name: assetName(artifact.name),
        label: artifact.name,
        file: path.join(directory, artifact.name),
        size: artifact.size,
        sha256: artifact.sha256,
        mediaType: artifact.mediaType,
    }));
    const documents = [
        { file: evidenceFiles.provenance, mediaType: "application/vnd.in-toto+json" },
        { file: evidenceFiles.envelope, mediaType: "application/vnd.dsse.envelope.v1+json" },
    ]
        .map(({ file, mediaType }) => ({ name: file, mediaType, path: path.join(directory, evidenceDirectory, file) }))
        .filter((document) => fs.existsSync(document.path))
        .map((document) => fileAsset(document.name, document.path, document.mediaType));
    const files = [...artifacts, ...documents];
    const sums = path.join(directory, evidenceDirectory, checksumsName);
    fs.writeFileSync(sums, checksums(files), { mode: 0o600 });
    const all = [...files, fileAsset(checksumsName, sums, "text/plain")];
    check(all);
    return all;
}

/** Two spaces: the file is read as it is, byte for byte. */
export function checksums(files: readonly Pick<ReleaseAsset, "name" | "sha256">[]): string {
    return files
        .map(({ name, sha256 }) => `${sha256}  ${name}\n`)
        .sort((a, b) => (a.slice(66) < b.slice(66) ? -1 : 1))
        .join("");
}

/** As GitHub itself would change it, and with a directory's name before it, as there are none in a release. */
export function assetName(name: string): string {
    return name
        .replace(/[^A-Za-z0-9._+@-]+/g, ".")
        .replace(/^\.+/, "")
        .replace(/\.+$/, "");
}

function fileAsset(name: string, file: string, mediaType: string): ReleaseAsset {
    const content = fs.readFileSync(file);
    const sha256 = createHash("sha256").update(content).digest("hex");
    return { name, label: name, file, size: content.length, sha256, mediaType };
}

function check(assets: readonly ReleaseAsset[]): void {
    const byName = new Map<string, ReleaseAsset>();
    for (const asset of assets) {
        const other = byName.get(asset.name.toLowerCase());
        if (other) {
            throw new UserError(
                `${shown(other.label)} and ${shown(asset.label)} would both be ${shown(asset.name)} in the release; rename one`,
            );
        }
        byName.set(asset.name.toLowerCase(), asset);
        if (asset.name === "") {
            throw new UserError(`${shown(asset.label)} has no name that a release can have; rename it`);
        }
        if (asset.size === 0) {
            throw new UserError(
                `${shown(asset.label)} is empty, and GitHub takes no empty file; leave it out of the build`,
            );
        }
        if (asset.size >= largestAsset) {
            throw new UserError(`${shown(asset.label)} has ${asset.size} bytes; a release's files are below 2 GiB`);
        }
    }
    if (assets.length > mostAssets) {
        throw new UserError(`the build has ${assets.length} files for the release; at most ${mostAssets} may be`);
    }
}
