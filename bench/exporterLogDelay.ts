import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { ExporterPods } from "../tests/helpers/exporterPods";
import { TemporaryDirectory } from "../tests/helpers/temporary";
import { BenchStore } from "./benchStore";
import { reportTable } from "./report";
import { summarize } from "./statistics";
import type { Sample } from "./statistics";

const secondsOfOutput = 12;

/** How long a line takes from print to blob: the 50th and 95th percentile, as minimum, median and maximum over the runs. */
export async function logDelays(runs: number): Promise<void> {
    const directory = new TemporaryDirectory();
    const store = await BenchStore.start(path.join(directory.path, "store"));
    try {
        const samples: Record<string, Sample> = {};
        for (const rate of [1, 10, 10_000]) {
            const middle: number[] = [];
            const high: number[] = [];
            const requests: number[] = [];
            for (let run = 0; run < runs; run++) {
                const { delays, appends } = await delaysOf(store, directory.path, `delay-${rate}-${run}`, rate);
                middle.push(delays[Math.floor(delays.length * 0.5)] ?? NaN);
                high.push(delays[Math.floor(delays.length * 0.95)] ?? NaN);
                requests.push(appends);
            }
            samples[`${rate} lines a second, 50th percentile`] = summarize(middle);
            samples[`${rate} lines a second, 95th percentile`] = summarize(high);
            samples[`${rate} lines a second, appends in ${secondsOfOutput} s`] = summarize(requests);
        }
        reportTable("log-delay", "seconds from print to blob", samples, { runs });
    } finally {
        await store.remove();
        directory.remove();
    }
}

async function delaysOf(
    store: BenchStore,
    directory: string,
    tag: string,
    linesPerSecond: number,
): Promise<{ readonly delays: readonly number[]; readonly appends: number }> {
    const batch = Math.max(1, Math.floor(linesPerSecond / 100));
    const pause = batch / linesPerSecond;
    const script =
        `end=$(( $(date +%s) + ${secondsOfOutput} )); while [ $(date +%s) -lt $end ]; do now=$(date +%s.%N); ` +
        `yes "printed $now" | head -n ${batch}; sleep ${pause}; done; mkdir bin; echo > bin/x`;
    const running = new ExporterPods(path.join(directory, tag), store.container.url, store.sas).run(tag, script);
    const delays: number[] = [];
    const ended = new AbortController();
    void running.finally(() => {
        ended.abort();
    });
    let name: string | undefined;
    let offset = 0;
    let appends = 0;
    let rest = "";
    while (!ended.signal.aborted) {
        name ??= await logOf(store, tag);
        if (name !== undefined) {
            const blob = store.container.getBlobClient(name);
            const properties = await blob.getProperties();
            const size = properties.contentLength ?? 0;
            const seen = Date.now() / 1000;
            if (size > offset) {
                appends = properties.blobCommittedBlockCount ?? 0;
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
    return { delays: delays.filter((delay) => !Number.isNaN(delay)).sort((a, b) => a - b), appends };
}

async function logOf(store: BenchStore, tag: string): Promise<string | undefined> {
    for await (const { name } of store.container.listBlobsFlat({ prefix: `${tag}/logs/` })) {
        return name;
    }
    return undefined;
}
