import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

import { ExporterPods } from "../tests/helpers/exporterPods";
import { projectDirectory } from "../tests/helpers/ke1";
import { TemporaryDirectory } from "../tests/helpers/temporary";
import { BenchStore } from "./benchStore";
import type { Usage } from "./processWatch";
import { ProcessWatch } from "./processWatch";
import { reportTable } from "./report";
import { summarize } from "./statistics";
import type { Sample } from "./statistics";

/**
 * What the exporter costs over uploading the same files with the plain SDK (exporter/bench): it also hashes each file, checks
 * that it did not change, fences off other builds of the tag, and stores log, manifest and provenance. Both take turns, each
 * time on a store that was just started and warmed up. Of the plain SDK, its process's whole life is measured; of the exporter,
 * which is there before the build, all between the build's end and its own.
 *
 * SEARCH=1 tries the plain SDK's settings first, and takes the best, instead of those that were the best when this was written.
 * Files and store are in memory, where there is room: the store waits for its disk at each block, and a disk that is slow would
 * hide what the exporter costs. TMPDIR names another place.
 */
const runs = Number(process.env["RUNS"] ?? "7");
const mebibytes = Number(process.env["MIB"] ?? "1024");
const smallFiles = Number(process.env["FILES"] ?? "10000");
const searching = Boolean(process.env["SEARCH"]);

/** Blocks in MiB, 0 for a file in one request; how many blocks of a file, and files, at once; whether blocks have their MD5. */
interface Setting {
    readonly block: number;
    readonly parallel: number;
    readonly md5?: boolean;
}
const settings: Record<"large" | "small", { readonly best: Setting; readonly others: readonly Setting[] }> = {
    large: {
        best: { block: 8, parallel: 4, md5: true },
        others: [
            { block: 0, parallel: 1 },
            { block: 8, parallel: 4 },
            { block: 4, parallel: 8, md5: true },
            { block: 8, parallel: 2, md5: true },
            { block: 16, parallel: 4, md5: true },
            { block: 32, parallel: 2, md5: true },
            { block: 64, parallel: 4, md5: true },
        ],
    },
    small: {
        best: { block: 8, parallel: 8 },
        others: [
            { block: 8, parallel: 4 },
            { block: 8, parallel: 16 },
            { block: 8, parallel: 32 },
        ],
    },
};

function describe({ block, parallel, md5 }: Setting): string {
    return `${block === 0 ? "one request" : `${block} MiB`}${md5 ? " with MD5" : ""} x ${parallel}`;
}

interface Measured extends Usage {
    readonly seconds: number;
    /** Of the store's process, which is the larger part of the work. */
    readonly storeCpuSeconds: number;
}

async function main(): Promise<void> {
    const directory = new TemporaryDirectory(place());
    try {
        const bench = new ExportBench(directory.path);
        const samples: Record<string, Sample> = {};
        if (mebibytes > 0) {
            Object.assign(samples, await bench.compare(`1 file of ${mebibytes} MiB`, "large", oneLargeFile));
        }
        if (smallFiles > 0) {
            Object.assign(samples, await bench.compare(`${smallFiles} files of 10 KiB`, "small", manySmallFiles));
        }
        reportTable("export", "seconds", samples, { runs, mebibytes, smallFiles });
    } finally {
        directory.remove();
    }
}

/** Where there is room for the files and as much again in the store. */
function place(): string | undefined {
    const memory = "/dev/shm";
    if (process.env["TMPDIR"] || !fs.existsSync(memory)) {
        return undefined;
    }
    const { bavail, bsize } = fs.statfsSync(memory);
    const needed = 2 * Math.max(mebibytes * 2 ** 20, smallFiles * 10 * 2 ** 10) + 2 ** 30;
    return bavail * bsize > needed && os.freemem() > needed ? memory : undefined;
}

function oneLargeFile(directory: string): void {
    execFileSync("sh", ["-c", `head -c ${mebibytes}M /dev/urandom > large`], { cwd: directory });
}

function manySmallFiles(directory: string): void {
    for (let index = 0; index < smallFiles; index++) {
        fs.writeFileSync(path.join(directory, `file-${index}`), randomBytes(10 * 1024));
    }
}

class ExportBench {
    private readonly plain: string;
    private readonly warmth: string;
    private count = 0;

    public constructor(private readonly directory: string) {
        this.plain = path.join(directory, "plain");
        execFileSync("go", ["build", "-o", this.plain, "./bench"], {
            cwd: path.join(projectDirectory, "exporter"),
            env: { ...process.env, CGO_ENABLED: "0" },
        });
        this.warmth = path.join(directory, "warmth");
        fs.mkdirSync(this.warmth);
        for (let index = 0; index < 300; index++) {
            fs.writeFileSync(path.join(this.warmth, `file-${index}`), randomBytes(10 * 1024));
        }
        fs.writeFileSync(path.join(this.warmth, "large"), randomBytes(32 << 20));
    }

    /** The exporter beside the plain SDK on the same files. */
    public async compare(
        name: string,
        kind: keyof typeof settings,
        make: (directory: string) => void,
    ): Promise<Record<string, Sample>> {
        const files = path.join(this.directory, "files");
        fs.mkdirSync(files);
        make(files);
        // What is not on the disk yet would be written while the first of the runs is measured.
        execFileSync("sync", ["-f", files]);
        const setting = searching ? await this.search(files, kind) : settings[kind].best;
        const plain: Measured[] = [];
        const exported: Measured[] = [];
        for (let run = 0; run < runs; run++) {
            const turns = [
                async () => void plain.push(await this.byPlainSdk(files, setting)),
                async () => void exported.push(await this.byExporter(files)),
            ];
            // Neither is always the second.
            for (const turn of run % 2 === 0 ? turns : turns.reverse()) {
                await turn();
            }
        }
        fs.rmSync(files, { recursive: true });
        return {
            [`${name}: plain SDK (${describe(setting)})`]: summarize(plain.map(({ seconds }) => seconds)),
            [`${name}: exporter`]: summarize(exported.map(({ seconds }) => seconds)),
            [`${name}: plain SDK / exporter`]: summarize(
                plain.map(({ seconds }, i) => seconds / (exported[i]?.seconds ?? NaN)),
            ),
            [`${name}: plain SDK's processor seconds`]: summarize(plain.map(({ cpuSeconds }) => cpuSeconds)),
            [`${name}: exporter's processor seconds`]: summarize(exported.map(({ cpuSeconds }) => cpuSeconds)),
            [`${name}: store's, with the plain SDK`]: summarize(plain.map(({ storeCpuSeconds }) => storeCpuSeconds)),
            [`${name}: store's, with the exporter`]: summarize(exported.map(({ storeCpuSeconds }) => storeCpuSeconds)),
            [`${name}: exporter's peak memory, MiB`]: summarize(exported.map(({ peakMebibytes }) => peakMebibytes)),
        };
    }

    private async search(files: string, kind: keyof typeof settings): Promise<Setting> {
        const { best, others } = settings[kind];
        let found: { readonly setting: Setting; readonly seconds: number } | undefined;
        for (const setting of [best, ...others]) {
            for (let run = 0; run < 2; run++) {
                const { seconds, storeCpuSeconds } = await this.byPlainSdk(files, setting);
                process.stderr.write(
                    `plain SDK, ${describe(setting)}: ${seconds.toFixed(2)} s, the store's ${storeCpuSeconds.toFixed(2)} s\n`,
                );
                if (!found || seconds < found.seconds) {
                    found = { setting, seconds };
                }
            }
        }
        return found?.setting ?? best;
    }

    private async byPlainSdk(files: string, setting: Setting): Promise<Measured> {
        return this.onStore(async (store) => this.plainSdk(store, files, setting, "plain/"));
    }

    private async byExporter(files: string): Promise<Measured> {
        return this.onStore(async (store) => {
            let watch: ProcessWatch | undefined;
            const volumes = path.join(this.directory, "volumes");
            const pods = new ExporterPods(volumes, store.container.url, store.sas, {
                onVolume: true,
                exporterStarted: (pid) => (watch = new ProcessWatch(pid)),
            });
            // Hard links: what it measures is the export.
            const end = await pods.run(`run-${++this.count}`, `cp -lR '${files}' bin`);
            const usage = watch?.end() ?? { peakMebibytes: NaN, cpuSeconds: NaN };
            fs.rmSync(volumes, { recursive: true });
            if (end.exporterCode !== 0) {
                throw new Error(`the exporter failed: ${end.words}`);
            }
            return { ...usage, seconds: end.exportSeconds };
        });
    }

    /** One measurement on a store that is new, and no longer cold: its code is compiled as it is used. */
    private async onStore(
        measure: (store: BenchStore) => Promise<Usage & { readonly seconds: number }>,
    ): Promise<Measured> {
        const store = await BenchStore.start(path.join(this.directory, "store"));
        try {
            await this.plainSdk(store, this.warmth, { block: 8, parallel: 4, md5: true }, "warmth/");
            const before = new ProcessWatch(store.pid).end();
            const measured = await measure(store);
            const after = new ProcessWatch(store.pid).end();
            return { ...measured, storeCpuSeconds: after.cpuSeconds - before.cpuSeconds };
        } finally {
            await store.remove();
        }
    }

    private async plainSdk(
        store: BenchStore,
        files: string,
        { block, parallel, md5 }: Setting,
        prefix: string,
    ): Promise<Usage & { readonly seconds: number }> {
        const sasFile = path.join(this.directory, "sas");
        fs.writeFileSync(sasFile, store.sas, { mode: 0o600 });
        const started = process.hrtime.bigint();
        const child = spawn(
            this.plain,
            ["-url", store.container.url, "-sas-file", sasFile, "-dir", files, "-prefix", prefix]
                .concat("-block", String(block))
                .concat("-parallel", String(parallel))
                .concat(md5 ? ["-md5"] : []),
            { stdio: ["ignore", "inherit", "inherit"] },
        );
        const watch = new ProcessWatch(child.pid ?? NaN);
        const [code] = (await once(child, "exit")) as [number | null];
        const seconds = Number(process.hrtime.bigint() - started) / 1e9;
        const usage = watch.end();
        if (code !== 0) {
            throw new Error("the plain SDK failed");
        }
        return { ...usage, seconds };
    }
}

main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
