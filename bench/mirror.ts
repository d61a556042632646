import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

import { ke1Home } from "../platform/home";
import { mirrorName } from "../source/remote";
import { GitServer } from "../tests/helpers/gitServer";
import { kubectl, platform, TemporaryStack } from "../tests/helpers/ke1";
import { TemporaryDirectory, TemporaryRepository } from "../tests/helpers/temporary";

/**
 * What a mirror saves: one more commit of a repository of real size (REPOSITORY, a bare or other clone on this machine), built
 * with its source in the image, and in a toolchain image with the working copy from the remote, from a mirror that is a
 * commit behind, and from one that is not. The build itself does nothing. Each is run RUNS times, in turns.
 */
const runs = Number(process.env["RUNS"] ?? "3");
const branch = process.env["BRANCH"] ?? "HEAD";

interface Measured {
    /** Of `ke1 up`. */
    readonly up: number;
    /** Of the working copy alone, as the init container says. */
    readonly source?: number;
    /** What went over the network to the node: of the image's layers that are new, or of the git server. */
    readonly bytes: number;
}

async function main(): Promise<void> {
    const origin = process.env["REPOSITORY"];
    if (!origin) {
        throw new Error("set REPOSITORY to a clone of a large repository");
    }
    const place = new TemporaryDirectory();
    const clone = path.join(place.path, "clone");
    git(place.path, "clone", "--quiet", "--shared", "--no-checkout", "--no-tags", origin, clone);
    git(clone, "checkout", "--quiet", "-B", "bench", branch);
    fs.writeFileSync(
        path.join(clone, "Dockerfile.bench"),
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nWORKDIR /src\nCOPY --chown=65532:65532 . .\n",
    );
    const server = await GitServer.start(new URL(platform().blobEndpoint).hostname);
    git(place.path, "clone", "--quiet", "--bare", "--shared", "--no-tags", clone, server.directoryOf("bench"));
    const small = new TemporaryRepository();
    small.commit();
    await server.push(small, "small");
    const common = {
        source: clone,
        command: ["sh", "-c", "mkdir -p bin; git log -1 --format=%s > bin/it || ls > bin/it"],
    };
    const image = new TemporaryStack("bench", { ...common, dockerfile: "Dockerfile.bench" });
    const mirror = new TemporaryStack("bench", {
        ...common,
        sourceMode: "mirror",
        remote: server.address("bench"),
        mirrors: [server.address("bench")],
        mirrorInterval: 3600,
    });
    const mirrored = path.join(ke1Home(), "mirrors", mirror.namespace, mirrorName(server.address("bench")));
    let commits = 0;
    const commit = async () => {
        fs.writeFileSync(path.join(clone, "bench.txt"), `${++commits}\n`);
        git(clone, "add", "--all");
        git(
            clone,
            "-c",
            "user.name=bench",
            "-c",
            "user.email=bench@localhost",
            "commit",
            "--quiet",
            "-m",
            `bench ${commits}`,
        );
        await server.push(clone, "bench");
    };
    const sync = async () => {
        const deleted = Math.ceil(Date.now() / 1000);
        await kubectl("delete", "pod", "ke1-mirror-0", "--namespace", mirror.namespace);
        while (Number(read(path.join(mirrored, "ke1-synced"))) < deleted) {
            await new Promise((resolve) => setTimeout(resolve, 500));
        }
    };
    const built = async (stack: TemporaryStack): Promise<Measured> => {
        server.forget();
        const { code, stderr, seconds } = await stack.ke1(["up", "--yes"]);
        if (code !== 0) {
            throw new Error(stderr);
        }
        const { stdout } = await stack.ke1(["logs"]);
        const ready = /source: ready after (\d+) s/.exec(stdout)?.[1];
        if (ready === undefined) {
            return {
                up: seconds,
                bytes: await newLayers((await stack.ke1(["stack", "output", "image"])).stdout.trim()),
            };
        }
        return { up: seconds, source: Number(ready), bytes: server.sent };
    };
    const results: Record<string, Measured[]> = {
        "in the image": [],
        "no mirror": [],
        "mirror, one behind": [],
        mirror: [],
    };
    try {
        await commit();
        await built(image);
        // First with another source: what is measured must not share the machine with the mirror's own first clone.
        mirror.configure({ source: small.path, remote: server.address("small") });
        await built(mirror);
        while (read(path.join(mirrored, "ke1-synced")) === "0") {
            await new Promise((resolve) => setTimeout(resolve, 1000));
        }
        process.stderr.write(await kubectl("logs", "ke1-mirror-0", "--namespace", mirror.namespace));
        mirror.configure({});
        for (let run = 0; run < runs; run++) {
            await commit();
            results["in the image"]?.push(await built(image));
            await commit();
            await sync();
            await commit();
            results["mirror, one behind"]?.push(await built(mirror));
            await commit();
            await sync();
            results["mirror"]?.push(await built(mirror));
            await commit();
            fs.renameSync(mirrored, `${mirrored}.away`);
            results["no mirror"]?.push(await built(mirror));
            fs.renameSync(`${mirrored}.away`, mirrored);
        }
    } finally {
        await image.remove();
        await mirror.remove();
        await server.stop();
        small.remove();
        place.remove();
    }
    process.stdout.write(
        `| the source | ke1 up, s | working copy, s | over the network, KB |\n| --- | --- | --- | --- |\n`,
    );
    for (const [name, all] of Object.entries(results)) {
        const cell = (value: (one: Measured) => number | undefined, digits: number) =>
            median(all.map(value).filter((each) => each !== undefined))?.toFixed(digits) ?? "";
        const bytes = cell((one) => one.bytes / 1000, 0);
        process.stdout.write(
            `| ${name} | ${cell(({ up }) => up, 1)} | ${cell(({ source }) => source, 0)} | ${bytes} |\n`,
        );
    }
}

/** Of an image's layers, those that its base does not have: what is pushed, and what the node pulls. */
async function newLayers(reference: string): Promise<number> {
    const layers = async (image: string): Promise<readonly { readonly digest: string; readonly size: number }[]> => {
        const [, registry = "", name = "", digest = ""] = /^([^/]+)\/([^@]+)@(.*)$/.exec(image) ?? [];
        const accept = [
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.oci.image.manifest.v1+json",
        ];
        const answer = await fetch(`http://${registry}/v2/${name}/manifests/${digest}`, {
            headers: { accept: accept.join(", ") },
        });
        return ((await answer.json()) as { layers: { digest: string; size: number }[] }).layers;
    };
    const base = new Set((await layers(platform().baseImage)).map(({ digest }) => digest));
    return (await layers(reference)).filter(({ digest }) => !base.has(digest)).reduce((sum, { size }) => sum + size, 0);
}

function git(directory: string, ...args: string[]): void {
    execFileSync("git", ["-C", directory, ...args], { stdio: ["ignore", "ignore", "inherit"] });
}

function read(file: string): string {
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "0";
}

function median(values: readonly number[]): number | undefined {
    return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

void main();
