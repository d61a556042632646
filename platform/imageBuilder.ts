import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../contract/errors";
import { findGo } from "./binaries";
import { ensureCgroup } from "./cgroups";
import { daemonState, ensureDaemon } from "./daemon";
import { makePrivateDirectory, makeWhole, writePrivateFile } from "./files";
import { goBuildEnvironment, goBuildFlags } from "./goBuild";
import { imageBuilderPath, readImageBuilder, type ImageBuilderDescriptor } from "./imageBuilderDescriptor";
import { pushImage } from "./imagePush";
import { imageRegistryCredentialFile, imageRegistryName, imageRegistrySpec } from "./imageRegistry";
import { imageFiles, mirrors, pullImage, release, releaseTime, writeImage } from "./images";
import { withLock } from "./lock";
import { ensurePodNetwork } from "./network";
import { registryName } from "./registry";
import { run } from "./run";
import { readSettings, type Settings } from "./settings";
import { showSteps, type Steps } from "./steps";
import { removeTree } from "./teardown";
import { moduleDirectory } from "./versions";

const programs = ["buildkitd", "buildctl"];
/** What rootless BuildKit starts: the container runtime, and what makes a user namespace with more than one user. */
const include = ["runc", "rootlesskit", "uidmap", "libcap2-bin", "ca-certificates"];
const seccompProfile = "ke1/image-builder.json";
const repository = "ke1-image-builder";
const user = 1000;

/**
 * Makes what the embedded platform, which is up, needs to build images inside its cluster: compiles BuildKit and makes an
 * image of it, once, and opens the registry to pods. A platform that builds images with Docker has none of it.
 */
export async function ensureImageBuilder(
    options: { readonly home?: string; readonly signal?: AbortSignal } = {},
): Promise<ImageBuilderDescriptor> {
    const settings = readSettings(options.home);
    const present = await imageBuilderIfReady(settings);
    if (present !== undefined) {
        return present;
    }
    const steps = showSteps();
    try {
        const onWait = () => steps.say("another ke1 platform command is at work here: waiting for it");
        return await withLock(settings, onWait, async () => {
            return (await imageBuilderIfReady(settings)) ?? (await makeReady(settings, steps, options.signal));
        });
    } finally {
        steps.end();
    }
}

async function imageBuilderIfReady(settings: Settings): Promise<ImageBuilderDescriptor | undefined> {
    const descriptor = readImageBuilder(settings.home);
    if (descriptor?.recipe !== recipeOf() || !existsSync(seccompPath(settings))) {
        return undefined;
    }
    const state = await daemonState(settings, await imageRegistrySpec(settings));
    return state === "running" ? descriptor : undefined;
}

async function makeReady(settings: Settings, steps: Steps, signal?: AbortSignal): Promise<ImageBuilderDescriptor> {
    const directory = imageDirectory(settings);
    if (!existsSync(directory)) {
        const notice = "compiling BuildKit, about two minutes on two cores the first time";
        await steps.step("BuildKit", async (progress) => makeImage(settings, directory, progress, signal), notice);
    }
    const registry = registryName(settings);
    const digest = await pushImage(registry, repository, recipeOf(), imageFiles(directory));
    const image = `${registry}/${repository}@${digest}`;
    await steps.step("image builder", async () => {
        await pullImage(settings, image, signal);
        await ensurePodNetwork(settings);
        await ensureDaemon(settings, await imageRegistrySpec(settings), signal);
    });
    makePrivateDirectory(join(settings.home, "kubelet", "seccomp", "ke1"));
    copyFileSync(join(moduleDirectory(), "buildkit", "seccomp.json"), seccompPath(settings));
    const descriptor: ImageBuilderDescriptor = {
        version: 1,
        recipe: recipeOf(),
        image,
        registry: imageRegistryName(settings),
        credentialFile: imageRegistryCredentialFile(settings),
        seccompProfile,
    };
    writePrivateFile(imageBuilderPath(settings.home), JSON.stringify(descriptor, undefined, 2) + "\n");
    return descriptor;
}

function seccompPath(settings: Settings): string {
    return join(settings.home, "kubelet", "seccomp", seccompProfile);
}

function imageDirectory(settings: Settings): string {
    return join(settings.cacheDir, `image-builder-${recipeOf()}`);
}

/** One for each state of what it is made from. */
function recipeOf(): string {
    const hash = createHash("sha256").update(JSON.stringify([release, include, customization(""), process.arch]));
    for (const file of ["go.mod", "go.sum", "seccomp.json"]) {
        hash.update(readFileSync(join(moduleDirectory(), "buildkit", file)));
    }
    return hash.digest("hex").slice(0, 12);
}

async function makeImage(
    settings: Settings,
    target: string,
    onProgress: (text: string) => void,
    signal?: AbortSignal,
): Promise<void> {
    const group = ensureCgroup(settings, "tools");
    await makeWhole(target, async (directory) => {
        const work = join(settings.home, "image-builder");
        await removeTree(work);
        makePrivateDirectory(work);
        let compiled = 0;
        await run(
            [
                ...[await findGoFor(), "build", "-v", ...goBuildFlags, "-ldflags", "-s -w", "-o", work],
                ...programs.map((name) => `github.com/moby/buildkit/cmd/${name}`),
            ],
            {
                cwd: join(moduleDirectory(), "buildkit"),
                env: goBuildEnvironment(),
                ...{ group, signal },
                onLine: (line) => {
                    if (!line.startsWith("go:")) {
                        onProgress(`${++compiled} packages compiled`);
                    }
                },
            },
        );
        const tar = join(work, "image.tar");
        await run(
            [
                ...["mmdebstrap", "--mode=root", "--variant=essential", `--include=${include.join(",")}`],
                ...["man", "doc", "info", "locale"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
                ...customization(work).map((hook) => `--customize-hook=${hook}`),
                ...[release, tar, ...mirrors()],
            ],
            { env: { ...process.env, TMPDIR: work, SOURCE_DATE_EPOCH: releaseTime }, group, signal },
        );
        await writeImage(directory, tar, { Cmd: ["/bin/sh"], User: `${user}:${user}` });
        await removeTree(work);
    });
}

/** As in BuildKit's own rootless image: its user, and the ids that the user's namespace has besides its own. */
function customization(work: string): readonly string[] {
    return [
        `copy-in ${programs.map((name) => join(work, name)).join(" ")} /usr/bin`,
        `echo user:x:${user}:${user}::/home/user:/bin/sh >> "$1"/etc/passwd`,
        `echo user:x:${user}: >> "$1"/etc/group`,
        `echo user:100000:65536 | tee "$1"/etc/subuid > "$1"/etc/subgid`,
        // One capability each instead of root's rights: a pod then need not have root's others in its bounding set.
        ...["uid", "gid"].map(
            (id) => `chmod u-s "$1"/usr/bin/new${id}map && chroot "$1" setcap cap_set${id}=ep /usr/bin/new${id}map`,
        ),
        'rm -f "$1"/etc/resolv.conf "$1"/etc/hostname',
    ];
}

async function findGoFor(): Promise<string> {
    try {
        return await findGo();
    } catch (error) {
        throw error instanceof UserError
            ? new UserError(`imageBuilder cluster compiles BuildKit: ${error.message}`)
            : error;
    }
}
