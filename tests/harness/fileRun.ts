import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** How a test file ended. */
export interface FileResult {
    readonly passes: number;
    readonly pending: number;
    /** Of each test and hook that failed: its title, and the error's stack. */
    readonly errors: readonly string[];
}

/** Milliseconds that a file may take: the longest takes four minutes, and one that hangs must not take CI's time. */
const patience = 15 * 60_000;

/**
 * Runs a test file in a process of its own: mocha's own way to run files side by side loses the run, and says that all is
 * well, where a test breaks its worker.
 *
 * @param isLive whether the output comes as it is printed, and not all at the end
 */
export async function runFile(file: string, isLive: boolean): Promise<FileResult> {
    const directory = mkdtempSync(join(tmpdir(), "ke1-tests-"));
    const results = join(directory, "results.json");
    try {
        const config = ["--config", "tests/mocharc.integration.json"];
        const reporter = ["--reporter", "tests/harness/reporter.ts", "--reporter-option", `results=${results}`];
        const child = spawn("node_modules/.bin/mocha", [...config, ...reporter, file], {
            stdio: isLive ? "inherit" : ["ignore", "pipe", "pipe"],
        });
        const output: Buffer[] = [];
        child.stdout?.on("data", (chunk: Buffer) => output.push(chunk));
        child.stderr?.on("data", (chunk: Buffer) => output.push(chunk));
        const tooLong = setTimeout(() => child.kill("SIGKILL"), patience);
        const closed = once(child, "close");
        const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
        clearTimeout(tooLong);
        // What a test left running may hold the output open for ever.
        await Promise.race([closed, sleep(5_000, undefined, { ref: false })]);
        process.stdout.write(Buffer.concat(output));
        const result = read(results);
        const isSaid = result !== undefined && (code === 0 || result.errors.length > 0);
        const broken = `${file}: mocha ended with ${signal ?? `exit code ${code ?? "none"}`}`;
        return isSaid ? result : { passes: 0, pending: 0, ...result, errors: [broken] };
    } finally {
        rmSync(directory, { recursive: true });
    }
}

function read(results: string): FileResult | undefined {
    try {
        return JSON.parse(readFileSync(results, "utf8")) as FileResult;
    } catch {
        return undefined; // It did not come to its end.
    }
}
