import type { StartOrder } from "../engine/preparedProgram";

/** Put in by bundle/build.ts. */
declare const KE1_BUNDLE_ID: string;

/**
 * Waits until the engine says what is to be run, and makes this process what it would be, had it been started with that. Ends it
 * when the engine has gone, or has no need of it.
 */
export function startOrder(): Promise<void> {
    return new Promise((resolve) => {
        const notNeeded = (): never => process.exit(0);
        process.once("disconnect", notNeeded);
        process.once("message", (order: StartOrder) => {
            process.off("disconnect", notNeeded);
            process.disconnect();
            if (order.bundle !== KE1_BUNDLE_ID) {
                process.stderr.write("error: the program was made anew while this began; try again\n");
                process.exit(1);
            }
            process.argv.push(...order.arguments);
            Object.keys(process.env)
                .filter((name) => !(name in order.environment))
                .forEach((name) => Reflect.deleteProperty(process.env, name));
            Object.assign(process.env, order.environment);
            resolve();
        });
    });
}
