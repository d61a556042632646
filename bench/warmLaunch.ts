import * as fs from "node:fs";
import * as path from "node:path";

import { projectDirectory, run, TemporaryStack } from "../tests/helpers/ke1";
import { TemporaryRepository } from "../tests/helpers/temporary";
import { reportTable } from "./report";
import { summarize } from "./statistics";

/**
 * What `make launch-build` of a new commit costs over `make build` by hand: the example's tree, with one line of its source
 * changed each time, so that its image is built, pushed and pulled, and nothing was built before. By hand it is built from
 * nothing too, as in the image. The sides take turns in one run.
 */
const runs = Number(process.env["RUNS"] ?? "7");

async function main(): Promise<void> {
    const repository = new TemporaryRepository();
    fs.cpSync(path.join(projectDirectory, "example", "ke-1"), repository.path, { recursive: true });
    const stack = new TemporaryStack("bench", { source: repository.path });
    const environment = { ...stack.environment, MAKEFLAGS: "", MAKELEVEL: "" };
    const make = async (what: string, args: readonly string[]) => {
        const { code, seconds, stderr } = await run("make", args, environment);
        if (code !== 0) {
            throw new Error(`make ${what} failed:\n${stderr}`);
        }
        return seconds;
    };
    const byHand: number[] = [];
    const launched: number[] = [];
    try {
        // The first pair also makes all that is not there yet.
        for (let number = 0; number <= runs; number++) {
            fs.appendFileSync(path.join(repository.path, "src", "main.c"), `/* run ${number} */\n`);
            const tag = repository.commit(`run ${number}`);
            await make("clean", ["-C", repository.path, "clean"]);
            const hand = await make("build", ["-C", repository.path, "build", `BUILD_TAG=${tag}`]);
            const launch = await make("launch-build", ["launch-build", `STACK=${stack.name}`]);
            if (number > 0) {
                byHand.push(hand);
                launched.push(launch);
            }
        }
    } finally {
        await stack.remove();
        repository.remove();
    }
    reportTable(
        "warm-launch",
        "seconds, a new commit of the example",
        {
            "make build, by hand": summarize(byHand),
            "make launch-build": summarize(launched),
            "more than by hand": summarize(launched.map((seconds, index) => seconds - (byHand[index] ?? NaN))),
        },
        { runs },
    );
}

main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
});
