import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";

import { UserError } from "../contract/errors";
import type { BuildKey } from "../contract/layout";
import { buildKey, layout } from "../contract/layout";
import type { Manifest } from "../contract/manifest";
import { evidenceDirectory, evidenceFiles } from "./artifacts";
import type { Evidence } from "./evidence";
import { shown } from "./evidence";
import type { BuildStore } from "./store";

/** How many blobs are read at once. */
const parallelReads = 8;

/** What a directory made by `ke1 artifacts --to` says of itself. */
export function evidenceIn(directory: string): Evidence {
    if (!fs.statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
        throw new UserError(`${directory} is not a directory; \`ke1 artifacts --to ${directory}\` makes one`);
    }
    const read = (name: string) => {
        const file = path.join(directory, evidenceDirectory, name);
        return fs.lstatSync(file, { throwIfNoEntry: false })?.isFile() ? fs.readFileSync(file) : undefined;
    };
    return {
        manifest: read(evidenceFiles.manifest),
        provenance: read(evidenceFiles.provenance),
        envelope: read(evidenceFiles.envelope),
    };
}

/** What the store says of a build. */
export async function evidenceOf(store: BuildStore, key: BuildKey): Promise<Evidence> {
    const [manifest, provenance, envelope] = await Promise.all([
        store.content(layout.manifest(key)),
        store.content(layout.provenance(key)),
        store.content(layout.envelope(key)),
    ]);
    return { manifest, provenance, envelope };
}

/**
 * Compares a directory with a manifest: every byte of every file, and that nothing is missing or came in addition.
 *
 * @returns one line for each difference
 */
export async function verifyDirectory(directory: string, manifest: Manifest): Promise<readonly string[]> {
    const problems: string[] = [];
    const artifacts = new Map(manifest.artifacts.map((artifact) => [artifact.name, artifact]));
    const links = new Map((manifest.links ?? []).map((link) => [link.name, link]));
    const own = new Set(Object.values(evidenceFiles).map((name) => `${evidenceDirectory}/${name}`));
    // No link is followed, and no name of the manifest is made a path: what the directory has is compared with it.
    for (const [name, entry] of entriesOf(directory)) {
        const file = path.join(directory, name);
        const artifact = artifacts.get(name);
        const link = links.get(name);
        artifacts.delete(name);
        links.delete(name);
        if (artifact && entry.isFile()) {
            const { size, sha256 } = await digestOf(fs.createReadStream(file));
            if (size !== artifact.size || sha256 !== artifact.sha256) {
                problems.push(changed(name, sha256, size, artifact));
            } else if (((fs.lstatSync(file).mode & 0o100) !== 0) !== artifact.executable) {
                problems.push(`changed: ${shown(name)}: it is ${artifact.executable ? "not " : ""}executable`);
            }
        } else if (link && entry.isSymbolicLink()) {
            const target = fs.readlinkSync(file);
            if (target !== link.target) {
                problems.push(
                    `changed: ${shown(name)}: it is a link to ${shown(target)}, not to ${shown(link.target)}`,
                );
            }
        } else if (artifact ?? link) {
            problems.push(`changed: ${shown(name)}: it is not a ${artifact ? "regular file" : "symbolic link"}`);
        } else if (!own.has(name)) {
            problems.push(`extra: ${shown(name)}`);
        }
    }
    for (const name of [...artifacts.keys(), ...links.keys()]) {
        problems.push(`missing: ${shown(name)}`);
    }
    return problems;
}

/**
 * Reads all that the store has of a build and compares it with the manifest.
 *
 * @param onNote takes a line on what is as it may be, but worth knowing
 * @returns one line for each difference
 */
export async function verifyStore(
    store: BuildStore,
    manifest: Manifest,
    onNote: (note: string) => void,
): Promise<readonly string[]> {
    const { log } = manifest;
    const key = buildKey(manifest.buildTag, manifest.step);
    const problems: string[] = [];
    const stored = new Set(await store.names(layout.binPrefix(key)));
    const pending = manifest.artifacts.filter(({ name }) => {
        if (stored.delete(layout.artifact(key, name))) {
            return true;
        }
        problems.push(`missing: ${shown(name)}`);
        return false;
    });
    problems.push(...[...stored].map((blob) => `extra: ${shown(blob.slice(layout.binPrefix(key).length))}`));
    const work = async () => {
        for (let artifact = pending.shift(); artifact; artifact = pending.shift()) {
            const { size, sha256 } = await digestOf(await store.stream(layout.artifact(key, artifact.name)));
            if (size !== artifact.size || sha256 !== artifact.sha256) {
                problems.push(changed(artifact.name, sha256, size, artifact));
            }
        }
    };
    await Promise.all(Array.from({ length: parallelReads }, work));
    if ((await store.names(`${key}/${log.name}`)).length === 0) {
        onNote(`${log.name} is not there any more: logs are not kept for ever`);
    } else {
        const { size, sha256 } = await digestOf(await store.stream(`${key}/${log.name}`));
        if (size !== log.size || sha256 !== log.sha256) {
            problems.push(changed(log.name, sha256, size, log));
        }
    }
    return problems.sort();
}

function* entriesOf(root: string, prefix = ""): Generator<readonly [string, fs.Dirent]> {
    for (const entry of fs.readdirSync(path.join(root, prefix), { withFileTypes: true })) {
        const name = prefix + entry.name;
        if (entry.isDirectory()) {
            yield* entriesOf(root, `${name}/`);
        } else {
            yield [name, entry];
        }
    }
}

async function digestOf(stream: NodeJS.ReadableStream): Promise<{ readonly size: number; readonly sha256: string }> {
    const hash = createHash("sha256");
    let size = 0;
    await pipeline(stream, async (chunks) => {
        for await (const chunk of chunks) {
            hash.update(chunk);
            size += chunk.length;
        }
    });
    return { size, sha256: hash.digest("hex") };
}

function changed(
    name: string,
    sha256: string,
    size: number,
    wanted: { readonly sha256: string; readonly size: number },
): string {
    return (
        `changed: ${shown(name)}: sha256 ${sha256} (${size} bytes), ` +
        `the manifest says ${wanted.sha256} (${wanted.size} bytes)`
    );
}
