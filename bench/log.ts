import { spawn } from "node:child_process";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";

import { openStore } from "../cli/context";
import { messageOf } from "../contract/errors";
import { platform, projectDirectory, TemporaryStack } from "../tests/helpers/ke1";
import { TemporaryRepository } from "../tests/helpers/temporary";
import { reportTable } from "./report";
import { percentile, percentiles, summarize } from "./statistics";
import type { Sample } from "./statistics";

/**
 * How long a line of a build's takes from its print to who reads it: to the blob, to the terminal of `ke1 up`, and to that of
 * `ke1 logs --follow`. All three watch the same builds, whose lines say when they were printed; the node is this machine, so
 * there is one clock. `ke1 up` shows the first 48 KiB of a log and then names the other command.
 */
const runs = Number(process.env["RUNS"] ?? "7");
const seconds = Number(process.env["LOG_SECONDS"] ?? "5");
const rates = (process.env["RATES"] ?? "1,10000").split(",").map(Number);

/** Prints so many lines a second for so many seconds: of 60 bytes each, at most a hundredth of a second of them at once. */
const printer = `use Time::HiRes qw(time sleep);
$| = 1;
my ($rate, $seconds) = @ARGV;
my ($begun, $printed) = (time, 0);
while ((my $now = time) < $begun + $seconds) {
    my $lines = "";
    for (my $due = int(($now - $begun) * $rate) + 1; $printed < $due; $printed++) {
        $lines .= sprintf("printed %08d %.6f %s\\n", $printed, $now, "." x 24);
    }
    print $lines;
    my $pause = $begun + $printed / $rate - time;
    sleep($pause > 0.01 ? $pause : 0.01);
}
mkdir "bin";
open(my $file, ">", "bin/lines");
print $file "$printed\\n";
`;

const readers = {
    blob: "to the blob",
    up: "to the screen of ke1 up",
    follow: "to the screen of ke1 logs --follow",
};
type Reader = keyof typeof readers;
type Delays = Readonly<Record<Reader, readonly number[]>>;

async function main(): Promise<void> {
    const repository = new TemporaryRepository();
    repository.file(
        "Dockerfile",
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nWORKDIR /src\nCOPY print.pl .\nRUN chown -R 65532:65532 .\n",
    );
    repository.file("print.pl", printer);
    repository.commit();
    const stack = new TemporaryStack("bench-log", { source: repository.path, cpuRequest: "10m" });
    try {
        repository.git("tag", "first");
        stack.configure({ buildTag: "first", command: ["perl", "print.pl", "1", "1"] });
        const first = await stack.ke1(["up", "--yes"]);
        if (first.code !== 0) {
            throw new Error(first.stderr);
        }
        const image = (await stack.ke1(["stack", "output", "image"])).stdout.trim();
        const all = new Map<number, Delays[]>(rates.map((rate) => [rate, []]));
        for (let run = 0; run < runs; run++) {
            for (const [rate, delays] of all) {
                const buildTag = `rate-${rate}-${run}`;
                repository.git("tag", buildTag);
                const command = ["perl", "print.pl", String(rate), String(seconds)];
                stack.configure({ image, buildTag, command });
                delays.push(await delaysOf(stack, buildTag));
            }
        }
        report(all);
    } finally {
        await stack.remove();
        repository.remove();
    }
}

function report(all: ReadonlyMap<number, readonly Delays[]>): void {
    const samples: Record<string, Sample> = {};
    const distributions: Record<string, readonly number[]> = {};
    for (const [rate, delays] of all) {
        const lines = `${rate.toLocaleString("en")} ${rate === 1 ? "line" : "lines"} a second`;
        for (const reader of Object.keys(readers) as Reader[]) {
            const name = `${lines}, ${readers[reader]}`;
            const each = delays.map((run) => run[reader]);
            samples[`${name}: median`] = summarize(each.map((run) => percentile(run, 0.5)));
            samples[`${name}: 95th`] = summarize(each.map((run) => percentile(run, 0.95)));
            samples[`${name}: longest`] = summarize(each.map((run) => percentile(run, 1)));
            distributions[name] = percentiles(each.flat());
        }
    }
    reportTable("log", "seconds from print", samples, { runs, seconds, rates }, { distributions });
}

/** One build, and who reads its log. */
async function delaysOf(stack: TemporaryStack, tag: string): Promise<Delays> {
    const seen = { blob: new Arrivals(), up: new Arrivals(), follow: new Arrivals() };
    const over = new AbortController();
    const blob = readBlob(stack, tag, seen.blob, over.signal);
    const follow = onTerminal(stack, ["logs", tag, "--follow"], seen.follow);
    try {
        await onTerminal(stack, ["up", "--yes"], seen.up);
        await follow;
    } finally {
        over.abort();
    }
    await blob;
    const counts = Object.entries(seen).map(([reader, { delays }]) => `${reader} ${delays.length}`);
    if (Object.values(seen).some(({ delays }) => delays.length === 0) || seen.follow.missed > 0) {
        throw new Error(`${tag}: lines are missing: ${counts.join(", ")}, ${seen.follow.missed} in between`);
    }
    process.stderr.write(`${tag}: lines seen: ${counts.join(", ")}\n`);
    return { blob: seen.blob.delays, up: seen.up.delays, follow: seen.follow.delays };
}

/** When lines came to somebody who reads them. */
class Arrivals {
    public readonly delays: number[] = [];
    private last = -1;
    private skipped = 0;
    private rest = "";

    /** Lines that never came, and were before one that did. */
    public get missed(): number {
        return this.skipped;
    }

    public take(text: string): void {
        const now = (performance.timeOrigin + performance.now()) / 1000;
        const lines = (this.rest + text).split("\n");
        this.rest = lines.pop() ?? "";
        for (const line of lines) {
            const [, number, printed] = /printed (\d{8}) (\d+\.\d{6})/.exec(line) ?? [];
            // A failed command's last lines would be shown twice.
            if (number !== undefined && Number(number) > this.last) {
                this.skipped += Number(number) - this.last - 1;
                this.last = Number(number);
                this.delays.push(now - Number(printed));
            }
        }
    }
}

/** Runs `ke1` on a terminal, as a user would, until it ends. */
async function onTerminal(stack: TemporaryStack, args: readonly string[], seen: Arrivals): Promise<void> {
    const line = [path.join(projectDirectory, "bin", "ke1"), ...args, "--stack", stack.name].join(" ");
    const child = spawn("script", ["-qefc", line, "/dev/null"], {
        cwd: projectDirectory,
        env: { ...process.env, ...stack.environment, TERM: "xterm" },
        stdio: ["ignore", "pipe", "inherit"],
    });
    let shown = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
        seen.take(stripVTControlCharacters(text));
        shown = (shown + text).slice(-4000);
    });
    const code = await new Promise<number | null>((resolve, reject) => {
        child.on("error", reject).on("close", resolve);
    });
    if (code !== 0) {
        throw new Error(`ke1 ${args.join(" ")} ended with ${code}:\n${shown}`);
    }
}

/** Looks at the blob all the time. */
async function readBlob(stack: TemporaryStack, tag: string, seen: Arrivals, over: AbortSignal): Promise<void> {
    const store = openStore(`${platform().blobEndpoint}/${stack.container}`);
    let name: string | undefined;
    let offset = 0;
    while (!over.aborted) {
        name ??= (await store.names(`${tag}/logs/`))[0];
        const bytes = name === undefined ? undefined : await store.bytes(name, offset, 4 * 1024 * 1024);
        offset += bytes?.length ?? 0;
        seen.take(bytes?.toString() ?? "");
        await sleep(20);
    }
}

main().catch((error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exitCode = 1;
});
