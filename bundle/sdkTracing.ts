import { trace } from "@opentelemetry/api";
import type { Span } from "@opentelemetry/api";

/*
 * In the bundle, in place of `cmd/run/tracing` of `@pulumi/pulumi`, which loads OpenTelemetry with its exporters. They are
 * needed for the runner's `--tracing` only, and a program that is traced is not run from the bundle (engine/programBundle.ts).
 */

export function newSpan(name: string): Span {
    return trace.getTracer("nodejs-runtime").startSpan(name);
}

export function start(): void {
    throw new Error("this program was started without the modules for tracing");
}

export const stop = (): void => undefined;
