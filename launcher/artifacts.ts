import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";

import { UserError } from "../contract/errors";
import type { BuildKey } from "../contract/layout";
import { buildKey, layout } from "../contract/layout";
import type { Artifact, Manifest } from "../contract/manifest";
import { Measure } from "./measure";
import type { BuildStore } from "./store";

/** How many artifacts are fetched at once. */
const parallelDownloads = 8;

/** Where, beside the artifacts, the documents are put that say what they are. */
export const evidenceDirectory = ".ke1";

/** Their names there. */
export const evidenceFiles = {
    manifest: "manifest.json",
    provenance: "provenance.json",
    envelope: "provenance.dsse.json",
} as const;

/**
 * Downloads a build's artifacts to a directory and verifies size and SHA-256 of each against the manifest. A file is
 * there whole and verified, or not at all. Last come the documents by which `ke1 verify --from` can do that again.
 *
 * @throws Error naming the artifact that is not what the manifest says.
 */
export async function downloadArtifacts(
    store: BuildStore,
    manifest: Manifest,
    directory: string,
    onFile: (artifact: Artifact, file: string) => void,
): Promise<void> {
    const root = path.resolve(directory);
    const key = buildKey(manifest.buildTag, manifest.step);
    const pending = [...manifest.artifacts];
    // Checked for all before anything is written: the names come from a build, and so from code that nobody looked at.
    const targets = new Map(pending.map((artifact) => [artifact.name, inside(root, artifact.name)]));
    const links = (manifest.links ?? []).map((link) => {
        const file = inside(root, link.name);
        inside(root, path.relative(root, path.resolve(path.dirname(file), link.target)));
        return { file, target: link.target };
    });
    for (const { name } of [...manifest.artifacts, ...(manifest.links ?? [])]) {
        if (name === evidenceDirectory || name.startsWith(`${evidenceDirectory}/`)) {
            throw new UserError(
                `the build has made ${name}, where its manifest and provenance belong; nothing was written`,
            );
        }
    }
    const work = async () => {
        for (let artifact = pending.shift(); artifact; artifact = pending.shift()) {
            const file = targets.get(artifact.name) ?? "";
            await download(store, key, artifact, file);
            onFile(artifact, file);
        }
    };
    await Promise.all(Array.from({ length: parallelDownloads }, work));
    // Last, so that no file is ever written through a link.
    for (const { file, target } of links) {
        fs.mkdirSync(path.dirname(file), { recursive: true });
        fs.rmSync(file, { force: true });
        fs.symlinkSync(target, file);
    }
    await downloadEvidence(store, key, path.join(root, evidenceDirectory));
}

async function downloadEvidence(store: BuildStore, key: BuildKey, directory: string): Promise<void> {
    fs.mkdirSync(directory, { recursive: true });
    for (const document of ["provenance", "envelope", "manifest"] as const) {
        const file = path.join(directory, evidenceFiles[document]);
        const content = await store.content(layout[document](key));
        // What an earlier download has left there is of another build, perhaps.
        fs.rmSync(file, { force: true });
        if (content) {
            fs.writeFileSync(file, content);
        }
    }
}

async function download(store: BuildStore, key: BuildKey, artifact: Artifact, file: string): Promise<void> {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const partial = path.join(path.dirname(file), `.${path.basename(file).slice(0, 200)}.${process.pid}.part`);
    const measured = new Measure();
    try {
        await pipeline(
            await store.stream(layout.artifact(key, artifact.name)),
            measured,
            fs.createWriteStream(partial, { mode: artifact.executable ? 0o755 : 0o644 }),
        );
        const { size } = measured;
        const sha256 = measured.sha256();
        if (size !== artifact.size || sha256 !== artifact.sha256) {
            throw new Error(
                `${artifact.name} is not what the build made: sha256 ${sha256} (${size} bytes), ` +
                    `the manifest says ${artifact.sha256} (${artifact.size} bytes)`,
            );
        }
        fs.renameSync(partial, file);
    } catch (error) {
        fs.rmSync(partial, { force: true });
        throw error;
    }
}

function inside(root: string, name: string): string {
    const file = path.resolve(root, name);
    if (!file.startsWith(root + path.sep)) {
        throw new UserError(
            `the manifest names a file outside of the directory: ${JSON.stringify(name)}; nothing was written`,
        );
    }
    return file;
}
