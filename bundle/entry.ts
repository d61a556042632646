import * as path from "node:path";

import type { Log, Resources } from "../engine/quietSdk";
import { withoutDebugMessages, withoutPositions } from "../engine/quietSdk";
import { startOrder } from "./startOrder";

/*
 * The process of the program, run from one file: the SDK's own runner, and main.ts where it asks for the program. Started before
 * it is known what is to be run (engine/preparedProgram.ts), it loads what every run needs, and waits to be told.
 */

declare global {
    /** The directory of main.ts. */
    var ke1ProjectRoot: string;
    /** Of `@pulumi/pulumi` (runtime/state). */
    var globalStore: SdkStore | undefined;
}

interface SdkStore {
    readonly resourceModules: unknown;
    readonly resourcePackages: unknown;
}

globalThis.ke1ProjectRoot = path.dirname(__dirname);

/* eslint-disable @typescript-eslint/no-require-imports */

function run(): void {
    // The runner requires the file that package.json names: what is in the cache is not looked for on the disk.
    const main = require.resolve(path.join(globalThis.ke1ProjectRoot, "main.ts"));
    const program = Object.create(module, {
        // When the runner is ready for it, and not before.
        exports: { get: () => require("../main") as unknown },
    }) as NodeJS.Module;
    require.cache[main] = Object.assign(program, { id: main, filename: main, loaded: true, children: [] });

    withoutDebugMessages(require("@pulumi/pulumi/log") as Log);
    withoutPositions(require("@pulumi/pulumi/resource") as Resources);
    require("@pulumi/pulumi/cmd/run/index.js");
    renewStore();
}

/**
 * The SDK reads what it was started with when the first of its modules asks. Where that was before there was an answer, it is
 * read again; only the classes of resources that were registered since are kept.
 */
function renewStore(): void {
    const { LocalStore } = require("@pulumi/pulumi/runtime/state") as { LocalStore: new () => SdkStore };
    if (globalThis.globalStore !== undefined) {
        const { resourceModules, resourcePackages } = globalThis.globalStore;
        globalThis.globalStore = Object.assign(new LocalStore(), { resourceModules, resourcePackages });
    }
}

if (process.send === undefined) {
    run();
} else {
    const order = startOrder();
    // While the engine finds out what there is to do.
    require("./preload");
    void order.then(run);
}
