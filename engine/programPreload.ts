import Module from "node:module";
import { dirname, join } from "node:path";

import type { Log, Resources } from "./quietSdk";
import { withoutDebugMessages, withoutPositions } from "./quietSdk";

/*
 * Loaded into the process of the program before the SDK's runner (engine/program.ts), to keep the SDK from making what nobody
 * reads (quietSdk.ts). What it does not find as it expects it stays as it is.
 */

interface Debuggable {
    debugPromiseLeaks: boolean;
    debuggablePromise: (promise: unknown, context: unknown) => unknown;
}

/** The SDK is the one that the runner, `cmd/run/index.js`, is a part of. */
const sdk = join(dirname(process.argv[1] ?? ""), "..", "..");

/** A module of the SDK, where it has been loaded: in the runner's process, but not in one that the program starts in turn. */
function loaded<T>(module: string): Partial<T> {
    return (require.cache[join(sdk, module)]?.exports ?? {}) as Partial<T>;
}

/** Each promise is given the stack of its making, which is printed for PULUMI_DEBUG_PROMISE_LEAKS alone. */
function withoutStacks(module: Partial<Debuggable>): void {
    const original = module.debuggablePromise;
    if (typeof original !== "function" || module.debugPromiseLeaks !== false) {
        return;
    }
    module.debuggablePromise = (promise, context) => {
        const limit = Error.stackTraceLimit;
        Error.stackTraceLimit = 0;
        try {
            return original(promise, context);
        } finally {
            Error.stackTraceLimit = limit;
        }
    };
}

/** What a program is packed with by functions that are made into text: as long to load as all the rest of the SDK's own. */
function withoutPackager(): void {
    const name = "@npmcli/arborist";
    const user = join(sdk, "runtime", "closure", "codePaths.js");
    const loader = Module as unknown as {
        _load: (request: string, parent?: NodeJS.Module, isMain?: boolean) => unknown;
    };
    const load = loader._load;
    loader._load = (request, parent, isMain) => {
        if (request !== name || parent?.filename !== user) {
            return load(request, parent, isMain);
        }
        loader._load = load;
        let packager: Readonly<Record<string | symbol, unknown>> | undefined;
        return new Proxy(
            {},
            {
                get: (_, key) => {
                    // Or its exports would be copied, one by one, as soon as it is required.
                    if (key === "__esModule") {
                        return true;
                    }
                    packager ??= load(request, parent, isMain) as NonNullable<typeof packager>;
                    return packager[key];
                },
            },
        );
    };
}

withoutPackager();

// Once the runner has been loaded, with all of the SDK that it needs, and before it loads the program.
process.nextTick(() => {
    withoutStacks(loaded<Debuggable>("runtime/debuggable.js"));
    withoutDebugMessages(loaded<Log>("log/index.js"));
    withoutPositions(loaded<Resources>("resource.js"));
});
