/*
 * In the bundle, in place of `runtime/closure/v8Hooks` of `@pulumi/pulumi` where the runner calls it at its start: nothing is to
 * be initialized for a program that makes no functions into text (the engine refuses dynamic resources).
 */

export function isInitializedAsync(): Promise<void> {
    return Promise.resolve();
}
