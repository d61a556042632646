import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { containerSas } from "../launcher/store";
import { openStore } from "../cli/context";
import { ExporterPods } from "../tests/helpers/exporterPods";
import { platform, projectDirectory, TemporaryStack } from "../tests/helpers/ke1";
import { TemporaryDirectory } from "../tests/helpers/temporary";
import { reportTable } from "./report";
import { summarize } from "./statistics";
import type { Sample } from "./statistics";

/**
 * What the exporter costs over uploading the same files with the plain SDK (exporter/bench), at the best of several settings:
 * the exporter also hashes each file twice, checks that it did not change, and stores log, manifest and provenance. Both take
 * turns on the embedded platform's blob store. Then how long a line takes from print to blob.
 */
const runs = Number(process.env["RUNS"] ?? "7");
const mebibytes = Number(process.env["MIB"] ?? "1024");
const smallFiles = Number(process.env["FILES"] ?? "10000");
/** Blocks in MiB and how many at once, for the baseline's best. */
const settings = [
    [4, 2],
    [4, 8],
    [8, 4],
    [16, 4],
    [32, 2],
] as const;

async function main(): Promise<void> {
    const directory = new TemporaryDirectory();
    const stack = new TemporaryStack("bench-export");
    try {
        const { blobEndpoint } = platform();
        const store = openStore(`${blobEndpoint}/${stack.container}`);
        await store.create();
        const credential = stack.containerClient().credential as Parameters<typeof containerSas>[0];
        const today = new Date().toISOString().slice(0, "YYYY-MM-DD".length);
        const sas = containerSas(credential, blobEndpoint, stack.container, today);
        const bench = new ExportBench(directory.path, store.url, sas, stack);
        const samples: Record<string, Sample> = {};
        for (const [name, make] of [
            [`1 file of ${mebibytes} MiB`, oneLargeFile],
            [`${smallFiles} files of 10 KiB`, manySmallFiles],
        ] as const) {
            Object.assign(samples, await bench.compare(name, make));
        }
        reportTable("export", "seconds, MiB, or a ratio", samples, { runs, mebibytes, smallFiles });
        const delays: Record<string, Sample> = {};
        for (const rate of [1, 10, 10_000]) {
            Object.assign(delays, await bench.logDelay(rate));
        }
        reportTable("log-delay", "seconds from print to blob", delays, {});
    } finally {
        await stack.remove();
        directory.remove();
    }
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
    private readonly pods: ExporterPods;
    private readonly sasFile: string;
    private readonly plain: string;
    private count = 0;

    public constructor(
        private readonly directory: string,
        private readonly url: string,
        sas: string,
        private readonly stack: TemporaryStack,
    ) {
        this.pods = new ExporterPods(directory, url, sas);
        this.sasFile = path.join(directory, "sas");
        fs.writeFileSync(this.sasFile, sas, { mode: 0o600 });
        this.plain = path.join(directory, "plain");
        execFileSync("go", ["build", "-o", this.plain, "./bench"], {
            cwd: path.join(projectDirectory, "exporter"),
            env: { ...process.env, CGO_ENABLED: "0" },
        });
    }

    /** The exporter beside the plain SDK on the same files. */
    public async compare(name: string, make: (directory: string) => void): Promise<Record<string, Sample>> {
        const files = path.join(this.directory, "files");
        fs.mkdirSync(files);
        make(files);
        let best: { readonly setting: (typeof settings)[number]; readonly seconds: number } | undefined;
        for (const setting of settings) {
            const seconds = Math.min(await this.byPlainSdk(files, setting), await this.byPlainSdk(files, setting));
            if (!best || seconds < best.seconds) {
                best = { setting, seconds };
            }
        }
        const [block, parallel] = best?.setting ?? settings[0];
        const plain: number[] = [];
        const exported: number[] = [];
        const memory: number[] = [];
        for (let run = 0; run < runs; run++) {
            plain.push(await this.byPlainSdk(files, [block, parallel]));
            const { seconds, peak } = await this.byExporter(files);
            exported.push(seconds);
            memory.push(peak);
        }
        fs.rmSync(files, { recursive: true });
        return {
            [`${name}: plain SDK, best (${block} MiB x ${parallel})`]: summarize(plain),
            [`${name}: exporter`]: summarize(exported),
            [`${name}: plain SDK / exporter`]: summarize(plain.map((value, i) => value / (exported[i] ?? NaN))),
            [`${name}: exporter's peak memory, MiB`]: summarize(memory),
        };
    }

    /** The 50th and 95th percentile, as minimum, median and maximum over the runs. */
    public async logDelay(linesPerSecond: number): Promise<Record<string, Sample>> {
        const middle: number[] = [];
        const high: number[] = [];
        for (let run = 0; run < Math.min(3, runs); run++) {
            const delays = await this.delaysOf(linesPerSecond, 12);
            middle.push(delays[Math.floor(delays.length * 0.5)] ?? NaN);
            high.push(delays[Math.floor(delays.length * 0.95)] ?? NaN);
        }
        return {
            [`${linesPerSecond} lines a second, 50th percentile`]: summarize(middle),
            [`${linesPerSecond} lines a second, 95th percentile`]: summarize(high),
        };
    }

    private async byPlainSdk(files: string, [block, parallel]: readonly [number, number]): Promise<number> {
        const prefix = `plain-${++this.count}/`;
        const started = process.hrtime.bigint();
        const child = spawn(
            this.plain,
            ["-url", this.url, "-sas-file", this.sasFile, "-dir", files, "-prefix", prefix]
                .concat("-block", String(block))
                .concat("-parallel", String(parallel)),
            { stdio: ["ignore", "inherit", "inherit"] },
        );
        const [code] = (await once(child, "exit")) as [number | null];
        const seconds = Number(process.hrtime.bigint() - started) / 1e9;
        if (code !== 0) {
            throw new Error("the plain SDK failed");
        }
        await this.forget(prefix);
        return seconds;
    }

    /** Seconds of the export alone, as the manifest has them, and the peak of resident memory in MiB. */
    private async byExporter(files: string): Promise<{ readonly seconds: number; readonly peak: number }> {
        const tag = `exported-${++this.count}`;
        let peak = 0;
        const watch = setInterval(() => (peak = Math.max(peak, peakOfExporter())), 20);
        // Hard links: what it measures is the export.
        const { exporterCode, words } = await this.pods.run(tag, `mkdir bin && cp -l '${files}'/* bin/`);
        clearInterval(watch);
        if (exporterCode !== 0) {
            throw new Error(`the exporter failed: ${words}`);
        }
        const manifest = JSON.parse((await this.stack.blob(`${tag}/manifest.json`)).toString()) as {
            readonly durations: { readonly exportSeconds: number };
        };
        await this.forget(`${tag}/`);
        return { seconds: manifest.durations.exportSeconds, peak };
    }

    private async delaysOf(linesPerSecond: number, seconds: number): Promise<readonly number[]> {
        const tag = `delay-${++this.count}`;
        const batch = Math.max(1, Math.floor(linesPerSecond / 100));
        const pause = batch / linesPerSecond;
        const script =
            `end=$(( $(date +%s) + ${seconds} )); while [ $(date +%s) -lt $end ]; do now=$(date +%s.%N); ` +
            `yes "printed $now" | head -n ${batch}; sleep ${pause}; done; mkdir bin; echo > bin/x`;
        const running = this.pods.run(tag, script);
        const client = this.stack.containerClient();
        const delays: number[] = [];
        const ended = new AbortController();
        void running.finally(() => ended.abort());
        let name: string | undefined;
        let offset = 0;
        let rest = "";
        while (!ended.signal.aborted) {
            name ??= (await this.stack.blobs(`${tag}/logs/`))[0];
            if (name) {
                const blob = client.getBlobClient(name);
                const size = (await blob.getProperties()).contentLength ?? 0;
                const seen = Date.now() / 1000;
                if (size > offset) {
                    const lines = (rest + (await blob.downloadToBuffer(offset, size - offset)).toString()).split("\n");
                    offset = size;
                    rest = lines.pop() ?? "";
                    for (const line of lines) {
                        delays.push(seen - Number(line.replace("printed ", "")));
                    }
                }
            }
            await sleep(20);
        }
        await running;
        return delays.filter((delay) => !Number.isNaN(delay)).sort((a, b) => a - b);
    }

    private async forget(prefix: string): Promise<void> {
        const client = this.stack.containerClient();
        for (const name of await this.stack.blobs(prefix)) {
            await client.deleteBlob(name);
        }
    }
}

/** The high-water mark of the exporter's resident memory, in MiB; 0 where none runs. */
function peakOfExporter(): number {
    const binary = path.join(projectDirectory, "exporter/image/ke1-exporter");
    for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
        try {
            if (fs.readlinkSync(`/proc/${pid}/exe`) === binary) {
                const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
                return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? "0") / 1024;
            }
        } catch {
            // It has ended, or is another user's.
        }
    }
    return 0;
}

main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
