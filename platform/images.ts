import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, readFileSync, rmSync } from "node:fs";
import { copyFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { binary } from "./binaries";
import { containerdSocket } from "./containerd";
import { ensureCgroup } from "./cgroups";
import { makePrivateDirectory, makeWhole } from "./files";
import { pushImage, type ImageFiles } from "./imagePush";
import { registryName } from "./registry";
import { run } from "./run";
import type { Settings } from "./settings";
import { removeTree } from "./teardown";

/** Debian 12, and the time of its release: the same packages make the same image. */
export const release = "bookworm";
export const releaseTime = "1686355200";
const include = ["make", "gcc", "libc6-dev", "git", "ca-certificates"];
const baseRepository = "ke1-base";

/** Where a base image is kept once made, for all platforms of this user. */
export function baseImageDirectory(settings: Settings): string {
    const recipe = createHash("sha256").update(JSON.stringify([release, include, process.arch]));
    return join(settings.cacheDir, `base-${recipe.digest("hex").slice(0, 12)}`);
}

export function baseImageIsMade(settings: Settings): boolean {
    return existsSync(baseImageDirectory(settings));
}

/** Makes the base image from Debian's packages, without any registry, unless that was done before. */
export async function ensureBaseImage(settings: Settings, signal?: AbortSignal): Promise<void> {
    await makeWhole(baseImageDirectory(settings), async (directory) => {
        const work = join(settings.home, "tmp");
        await removeTree(work);
        makePrivateDirectory(work);
        const tar = join(work, "base.tar");
        await run(
            [
                "mmdebstrap",
                "--mode=root",
                "--variant=minbase",
                `--include=${include.join(",")}`,
                ...["man", "doc", "info", "locale"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
                '--customize-hook=rm -f "$1"/etc/resolv.conf "$1"/etc/hostname',
                release,
                tar,
                ...mirrors(),
            ],
            {
                env: { ...process.env, TMPDIR: work, SOURCE_DATE_EPOCH: releaseTime },
                group: ensureCgroup(settings, "tools"),
                signal,
            },
        );
        await writeImage(directory, tar, { Cmd: ["/bin/bash"] });
        await removeTree(work);
    });
}

/** @returns the image's name by digest */
export async function pushBaseImage(settings: Settings): Promise<string> {
    const registry = registryName(settings);
    const digest = await pushImage(registry, baseRepository, release, imageFiles(baseImageDirectory(settings)));
    return `${registry}/${baseRepository}@${digest}`;
}

/** Puts the pause program's image into the registry, where containerd finds it whenever it has none. */
export async function pushPauseImage(settings: Settings): Promise<void> {
    const work = join(settings.home, "pause");
    rmSync(work, { recursive: true, force: true });
    makePrivateDirectory(join(work, "root"));
    await copyFile(binary(settings, "pause"), join(work, "root", "pause"));
    const tar = join(work, "pause.tar");
    const reproducible = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--mode=755"];
    await run(["tar", ...reproducible, "-C", join(work, "root"), "-cf", tar, "pause"]);
    await writeImage(work, tar, { Entrypoint: ["/pause"], User: "65535:65535" });
    await pushImage(registryName(settings), "ke1-pause", "1", imageFiles(work));
    rmSync(work, { recursive: true, force: true });
}

/** Takes an image into containerd before the first pod asks for it. */
export async function pullImage(settings: Settings, image: string, signal?: AbortSignal): Promise<void> {
    const ctr = ["ctr", "--address", containerdSocket(settings), "--namespace", "k8s.io"];
    await run([...ctr, "images", "pull", "--plain-http", image], { signal });
}

/** Makes the files of an image of one layer, https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md. */
export async function writeImage(directory: string, tar: string, config: object): Promise<void> {
    const [diff, layer] = [createHash("sha256"), createHash("sha256")];
    const files = imageFiles(directory);
    await pipeline(
        createReadStream(tar),
        hashing(diff),
        createGzip({ level: 1 }),
        hashing(layer),
        createWriteStream(files.layer),
    );
    const image = {
        created: "2023-06-10T00:00:00Z",
        architecture: "amd64",
        os: "linux",
        config: { Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], ...config },
        rootfs: { type: "layers", diff_ids: [`sha256:${diff.digest("hex")}`] },
        history: [{ created: "2023-06-10T00:00:00Z", created_by: "ke1 platform" }],
    };
    await writeFile(files.config, JSON.stringify(image));
    // Docker's media types: the Docker that Debian 12 has does not take OCI's everywhere.
    const manifest = {
        schemaVersion: 2,
        mediaType: "application/vnd.docker.distribution.manifest.v2+json",
        config: {
            mediaType: "application/vnd.docker.container.image.v1+json",
            size: (await stat(files.config)).size,
            digest: `sha256:${createHash("sha256").update(readFileSync(files.config)).digest("hex")}`,
        },
        layers: [
            {
                mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip",
                size: (await stat(files.layer)).size,
                digest: `sha256:${layer.digest("hex")}`,
            },
        ],
    };
    await writeFile(files.manifest, JSON.stringify(manifest));
}

export function imageFiles(directory: string): ImageFiles {
    return {
        layer: join(directory, "layer.tar.gz"),
        config: join(directory, "config.json"),
        manifest: join(directory, "manifest.json"),
    };
}

function hashing(hash: { update(chunk: Buffer): unknown }): Transform {
    return new Transform({
        transform(chunk: Buffer, _encoding, done) {
            hash.update(chunk);
            done(null, chunk);
        },
    });
}

/** Without any, mmdebstrap takes Debian's own, with updates and security. */
export function mirrors(): readonly string[] {
    const mirror = process.env["KE1_DEBIAN_MIRROR"];
    return mirror
        ? [
              `deb ${mirror} ${release} main`,
              `deb ${mirror} ${release}-updates main`,
              `deb ${mirror}-security ${release}-security main`,
          ]
        : [];
}
