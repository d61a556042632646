import * as assert from "node:assert/strict";
import * as path from "node:path";

import { runProcess } from "../../service/process";
import { TemporaryDirectory } from "../helpers/temporary";

describe("a process of the service", () => {
    let directory: TemporaryDirectory;
    beforeEach(() => {
        directory = new TemporaryDirectory();
    });
    afterEach(() => directory.remove());

    const run = async (script: string, interrupt: AbortSignal, interruptSeconds?: number) =>
        runProcess({
            command: ["/bin/sh", "-c", script],
            environment: process.env,
            directory: directory.path,
            logFile: path.join(directory.path, "log"),
            pidFile: path.join(directory.path, "pid"),
            interrupt,
            abandon: new AbortController().signal,
            ...(interruptSeconds === undefined ? {} : { interruptSeconds }),
        });

    it("ends in order when it is interrupted", async () => {
        const { exitCode, stdout } = await run(
            "trap 'echo ended; exit 3' INT; while :; do sleep 0.05; done",
            AbortSignal.timeout(300),
        );
        assert.deepEqual([exitCode, stdout], [3, "ended\n"]);
    });

    it("is interrupted once more before its time is over, upon which it ends at once", async () => {
        const twice = "n=0; trap 'n=$((n + 1)); [ $n -lt 2 ] || exit 130' INT; while :; do sleep 0.05; done";
        assert.equal((await run(twice, AbortSignal.timeout(200), 1.5)).exitCode, 130);
    });

    it("is killed when it has not ended in time", async () => {
        const begun = Date.now();
        const { exitCode } = await run("trap '' INT; sleep 8", AbortSignal.timeout(200), 0.3);
        assert.equal(exitCode, 137);
        assert.ok(Date.now() - begun < 5000);
    });
});
