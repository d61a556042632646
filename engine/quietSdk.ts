/*
 * Keeps the SDK, in the process of a program, from making what this engine has no use for: with a thousand resources that is
 * more than half of its work. A module that is not as it is expected stays as it is.
 */

export interface Log {
    debug: () => Promise<void>;
}

export interface Resources {
    readonly Resource: { callsites: () => readonly unknown[] };
}

/** Messages for debugging are sent one by one, three for each resource, and this engine shows none. */
export function withoutDebugMessages(module: Partial<Log>): void {
    if (typeof module.debug === "function") {
        module.debug = () => Promise.resolve();
    }
}

/** Where in the program a resource was declared is sent with it, and this engine does not keep it. */
export function withoutPositions({ Resource }: Partial<Resources>): void {
    if (typeof Resource?.callsites === "function") {
        Resource.callsites = () => [];
    }
}
