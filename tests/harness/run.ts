/**
 * `make integration`: runs test files side by side, each in a process of its own.
 *
 * A file that failed is run once more, when nothing else is: what fails then too, has failed. What does not is not hidden:
 * the output has its failure, and so has `.ke1/second-chances.txt`, which CI's output ends with.
 */
import { appendFileSync, globSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";

import type { FileResult } from "./fileRun";
import { runFile } from "./fileRun";

/** What nothing else may run beside, and why. All other files name what they make after their own process. */
const alone: Readonly<Record<string, string>> = {
    "tests/faults/random.test.ts": "stops the platform's parts, on which all others rely",
    "tests/integration/platform.test.ts": "starts a second platform, which takes both processors",
};
const files = globSync("tests/integration/**/*.test.ts").sort();
const atOnce = 2;
/** When more files than these fail, it is no coincidence. */
const maximumSecondChances = 3;
const record = ".ke1/second-chances.txt";

type Results = ReadonlyMap<string, FileResult>;

/** @returns how many tests failed */
async function main(): Promise<number> {
    rmSync(record, { force: true });
    const begun = Date.now();
    const together = files.filter((file) => !(file in alone));
    const first = new Map([...(await run(together, atOnce)), ...(await run(Object.keys(alone), 1))]);
    const failed = failedOf(first);
    const isCoincidence = failed.length > 0 && failed.length <= maximumSecondChances;
    return summary(isCoincidence ? new Map([...first, ...(await secondChance(first, failed))]) : first, begun);
}

async function run(wanted: readonly string[], jobs: number): Promise<Results> {
    const [waiting, results] = [[...wanted], new Map<string, FileResult>()];
    const worker = async (): Promise<void> => {
        for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
            results.set(file, await runFile(file, jobs === 1));
        }
    };
    await Promise.all(Array.from({ length: jobs }, worker));
    return results;
}

async function secondChance(first: Results, failed: readonly string[]): Promise<Results> {
    console.log(`\n  Failed, and run once more, alone: ${failed.join(", ")}`);
    const second = await run(failed, 1);
    mkdirSync(dirname(record), { recursive: true });
    for (const file of failed.filter((candidate) => !failedOf(second).includes(candidate))) {
        const errors = first.get(file)?.errors.join("\n").replace(/^/gm, "    ") ?? "";
        const text = `${file} failed, and did not when it was run alone:\n${errors}\n`;
        appendFileSync(record, text);
        console.log(`\n  ${text}`);
    }
    return second;
}

function failedOf(results: Results): readonly string[] {
    return [...results].filter(([, { errors }]) => errors.length > 0).map(([file]) => file);
}

/** In mocha's words, which `.ci/run` counts. */
function summary(results: Results, begun: number): number {
    const total = (of: (result: FileResult) => number) => [...results.values()].reduce((sum, one) => sum + of(one), 0);
    const failing = total(({ errors }) => errors.length);
    const counts = { passing: total(({ passes }) => passes), pending: total(({ pending }) => pending), failing };
    const took = `(${Math.round((Date.now() - begun) / 60_000)}m)`;
    console.log(`\n  ${counts.passing} passing ${took}\n  ${counts.pending} pending\n  ${counts.failing} failing\n`);
    return failing;
}

main().then(
    (failing) => process.exit(failing === 0 ? 0 : 1),
    (error: unknown) => {
        console.error(error);
        process.exit(1);
    },
);
