import { TemporaryStack } from "../tests/helpers/ke1";
import { BuildableRepository, smallBuild } from "../tests/helpers/buildable";
import { reportTable } from "./report";
import { summarize } from "./statistics";
import type { Sample } from "./statistics";

/**
 * What the layer cache of images that are built in the cluster saves: an image with a toolchain that takes a while to make and
 * is of some size, for a first commit with no cache (cold), and for one more in which only the source has changed (warm). Each
 * is a new pod that has nothing but what it fetches; with layers that are the same whenever they were made, and without.
 */
const runs = Number(process.env["RUNS"] ?? "3");

/** Some twenty seconds of work for one CPU, and a layer of some 60 MB. */
const toolchain = `ARG BASE_IMAGE
FROM \${BASE_IMAGE}
WORKDIR /src
RUN mkdir /opt/toolchain && tar -C /usr/lib -cf - gcc git-core | gzip -9 >/opt/toolchain/usr.tar.gz
COPY --chown=65532:65532 . .
RUN chown 65532:65532 .
USER 65532:65532
ARG BUILD_TAG
ARG SOURCE_DATE_EPOCH
ENV BUILD_TAG=\${BUILD_TAG} SOURCE_DATE_EPOCH=\${SOURCE_DATE_EPOCH}
ENTRYPOINT ["make", "build-wrapper"]
`;

async function main(): Promise<void> {
    const samples: Record<string, Sample> = {};
    for (const reproducible of [true, false]) {
        const repository = new BuildableRepository(smallBuild);
        repository.file("Dockerfile", toolchain);
        repository.commit();
        const stack = new TemporaryStack("bench", { source: repository.path, imageBuilder: "cluster" });
        const seconds = { cold: [] as number[], warm: [] as number[] };
        try {
            for (let run = 0; run <= runs; run++) {
                stack.configure({
                    imageReproducible: reproducible,
                    // Of no run before this one.
                    imageCache: `bench-${process.pid}-${Date.now()}`,
                });
                for (const kind of ["cold", "warm"] as const) {
                    repository.file("source", String(Math.random()));
                    const tag = repository.commit();
                    const took = await imageSeconds(stack, tag, kind);
                    // The first pair also makes all that is not there yet.
                    if (run > 0) {
                        seconds[kind].push(took);
                    }
                }
            }
        } finally {
            await stack.remove();
            repository.remove();
        }
        const which = reproducible ? "" : ", imageReproducible: false";
        samples[`cold: no cache${which}`] = summarize(seconds.cold);
        samples[`warm: only the source has changed${which}`] = summarize(seconds.warm);
    }
    reportTable("image", "seconds for the image", samples, { runs });
}

/** How long the image took, from the command's start to its digest. */
async function imageSeconds(stack: TemporaryStack, tag: string, kind: "cold" | "warm"): Promise<number> {
    const up = await stack.ke1(["up", "--yes"]);
    const [, minutes = "0", rest] =
        new RegExp(`Command ${tag}-image created \\((?:(\\d+) m )?([\\d.]+) s\\)`).exec(up.stderr) ?? [];
    if (up.code !== 0 || rest === undefined || (kind === "warm") !== up.stderr.includes("CACHED")) {
        throw new Error(`ke1 up ended with ${up.code}:\n${up.stderr}`);
    }
    process.stderr.write(`${kind}: ${minutes} m ${rest} s\n`);
    return Number(minutes) * 60 + Number(rest);
}

void main();
