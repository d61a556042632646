import { writeFileSync } from "node:fs";

import Mocha from "mocha";

import type { FileResult } from "./fileRun";

/**
 * mocha's own output, less its summary, which is one of all files together; and what came of a file, as a document for who
 * started mocha: `--reporter-option results=FILE`.
 */
class FileReporter extends Mocha.reporters.Spec {
    public constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
        super(runner, options);
        const errors: string[] = [];
        runner.on("fail", (test, error: unknown) => {
            errors.push(
                `${test.fullTitle()}\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
            );
        });
        runner.once("end", () => {
            const { passes = 0, pending = 0 } = runner.stats ?? {};
            const { results } = options.reporterOptions as { readonly results: string };
            writeFileSync(results, JSON.stringify({ passes, pending, errors } satisfies FileResult));
        });
    }

    public override epilogue(): void {
        if (this.failures.length > 0) {
            // Not in @types/mocha: https://github.com/mochajs/mocha/blob/v11.7.5/lib/reporters/base.js#L227
            const { list } = Mocha.reporters.Base as unknown as { list: (failures: readonly Mocha.Test[]) => void };
            list(this.failures);
        }
    }
}

// What mocha finds by `--reporter` is the module itself.
export = FileReporter;
