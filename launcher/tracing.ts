import { createHash } from "node:crypto";

import type * as api from "@opentelemetry/api";
import type { Attributes, SpanContext, Tracer } from "@opentelemetry/api";
import type { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";

import { version } from "../package.json";

/** A place in a trace, as the header `traceparent` has it (https://www.w3.org/TR/trace-context/#traceparent-header). */
export type TraceParent = string;

/** The variable by which a place in a trace is handed to a child process. */
export const traceParentVariable = "TRACEPARENT";

/** Something that took time. */
export interface RecordedSpan {
    readonly name: string;
    readonly start: Date;
    readonly end: Date;
    /** What it is a part of; none makes a trace of its own. */
    readonly parent?: TraceParent;
    /** Known before it has ended, to whom it was handed on; by default a new one. */
    readonly id?: string;
    readonly traceId?: string;
    readonly isServer?: boolean;
    readonly attributes?: Readonly<Record<string, string | number | boolean | undefined>>;
    /** Why it failed, if it did. */
    readonly error?: string;
}

type Api = typeof api;

/** What the next span's ids are to be; they are made by chance where that is not said. */
interface WantedIds {
    traceId?: string;
    spanId?: string;
}

/** Milliseconds that the end of a process may be held up by a collector that does not answer. */
const usualPatience = 3000;

/**
 * Whether the standard variables ask for traces
 * (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
 */
export function isTraced(environment: NodeJS.ProcessEnv = process.env): boolean {
    const set = (name: string): boolean => (environment[name] ?? "") !== "";
    return (
        (set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")) &&
        environment["OTEL_SDK_DISABLED"] !== "true" &&
        environment["OTEL_TRACES_EXPORTER"] !== "none"
    );
}

/** An id that is the same whoever makes it for the same thing: a span can be handed on before it is recorded. */
export function traceId(of: string): string {
    return createHash("sha256").update(of).digest("hex").slice(0, 32);
}

/** As `traceId`, for a span. */
export function spanId(of: string): string {
    return createHash("sha256").update(of).digest("hex").slice(0, 16);
}

/** The one that was given, if it can be one. */
export function traceParentOf(text: string | undefined): TraceParent | undefined {
    return text !== undefined && /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(text)
        ? text
        : undefined;
}

/** Records spans, and sends them to an OpenTelemetry collector by OTLP over HTTP. Nothing of it fails or waits. */
export class Tracing {
    private constructor(
        private readonly provider: BasicTracerProvider,
        private readonly tracer: Tracer,
        private readonly api: Api,
        private readonly wanted: WantedIds,
    ) {}

    /** @returns undefined, with nothing loaded, where the environment asks for no traces. */
    public static async open(environment: NodeJS.ProcessEnv = process.env): Promise<Tracing | undefined> {
        if (!isTraced(environment)) {
            return undefined;
        }
        const [loaded, sdk, { OTLPTraceExporter }, resources] = await Promise.all([
            import("@opentelemetry/api"),
            import("@opentelemetry/sdk-trace-base"),
            import("@opentelemetry/exporter-trace-otlp-http"),
            import("@opentelemetry/resources"),
        ]);
        const wanted: WantedIds = {};
        const random = new sdk.RandomIdGenerator();
        const named = resources.resourceFromAttributes({ "service.name": "ke1", "service.version": version });
        // A request that is under way keeps the process from ending: its usual limit is ten seconds.
        const limited = ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"].some(
            (name) => (environment[name] ?? "") !== "",
        );
        const exporter = new OTLPTraceExporter(limited ? {} : { timeoutMillis: usualPatience });
        const provider = new sdk.BasicTracerProvider({
            // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last, and count.
            resource: named.merge(resources.detectResources({ detectors: [resources.envDetector] })),
            idGenerator: {
                generateTraceId: () => wanted.traceId ?? random.generateTraceId(),
                generateSpanId: () => wanted.spanId ?? random.generateSpanId(),
            },
            spanProcessors: [new sdk.BatchSpanProcessor(exporter, { scheduledDelayMillis: 1000 })],
        });
        return new Tracing(provider, provider.getTracer("ke1", version), loaded, wanted);
    }

    /** Records a span that has ended. @returns its place, for what is a part of it */
    public record(span: RecordedSpan): TraceParent {
        const started = this.start(span);
        started.setAttributes(present(span.attributes ?? {}));
        if (span.error !== undefined) {
            started.setStatus({ code: this.api.SpanStatusCode.ERROR, message: span.error });
        }
        started.end(span.end);
        return traceParent(started.spanContext());
    }

    /** The place of a span that is recorded later; whether it is sampled is decided here. */
    public place(span: Pick<RecordedSpan, "name" | "parent" | "id" | "traceId">): TraceParent {
        // What does not end is not sent.
        return traceParent(this.start({ ...span, start: new Date() }).spanContext());
    }

    /** Sends what there is. Never rejects. */
    public async close(milliseconds = usualPatience): Promise<void> {
        let timer: NodeJS.Timeout | undefined;
        const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, milliseconds)));
        await Promise.race([this.provider.shutdown().catch(() => undefined), enough]);
        clearTimeout(timer);
    }

    private start({ name, parent, start, id, traceId: own, isServer }: Omit<RecordedSpan, "end">) {
        const { ROOT_CONTEXT, SpanKind, trace } = this.api;
        const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContext(parent));
        this.wanted.traceId = own;
        this.wanted.spanId = id;
        const kind = isServer ? SpanKind.SERVER : SpanKind.INTERNAL;
        const span = this.tracer.startSpan(name, { kind, startTime: start }, context);
        this.wanted.traceId = undefined;
        this.wanted.spanId = undefined;
        return span;
    }
}

function traceParent({ traceId: trace, spanId: span, traceFlags }: SpanContext): TraceParent {
    return `00-${trace}-${span}-${traceFlags.toString(16).padStart(2, "0")}`;
}

function spanContext(parent: TraceParent): SpanContext {
    const [, trace = "", span = "", flags = "00"] = parent.split("-");
    return { traceId: trace, spanId: span, traceFlags: parseInt(flags, 16), isRemote: true };
}

function present(attributes: NonNullable<RecordedSpan["attributes"]>): Attributes {
    return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
