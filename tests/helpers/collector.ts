import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";

/** A span, as it came. */
export interface CollectedSpan {
    readonly service: string;
    readonly name: string;
    readonly traceId: string;
    readonly spanId: string;
    readonly parentSpanId?: string;
    readonly kind: number;
    /** Milliseconds since 1970. */
    readonly start: number;
    readonly end: number;
    readonly failed: boolean;
    readonly attributes: Readonly<Record<string, unknown>>;
}

/** An OpenTelemetry collector: takes OTLP over HTTP, as JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp). */
export class Collector {
    public readonly spans: CollectedSpan[] = [];
    public readonly headers: NodeJS.Dict<string | string[]>[] = [];
    private readonly server = createServer((request, response) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => {
            const raw = Buffer.concat(chunks);
            const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw;
            this.headers.push(request.headers);
            this.take(JSON.parse(body.toString("utf8")));
            response
                .writeHead(request.url === "/v1/traces" ? 200 : 404, { "content-type": "application/json" })
                .end("{}");
        });
    });

    public async start(): Promise<string> {
        this.server.listen(0, "127.0.0.1");
        await once(this.server, "listening");
        return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    }

    public async stop(): Promise<void> {
        this.server.closeAllConnections();
        this.server.close();
        await once(this.server, "close");
    }

    /** The spans of a trace, once these are there. */
    public async trace(traceId: string, names: readonly string[]): Promise<readonly CollectedSpan[]> {
        for (let tries = 0; ; tries++) {
            const found = this.spans.filter((span) => span.traceId === traceId);
            const missing = names.filter((name) => !found.some((span) => span.name === name));
            if (missing.length === 0) {
                return found;
            }
            if (tries > 200) {
                throw new Error(
                    `no ${missing.join(", ")} in ${this.spans.map(({ name, traceId: id }) => `${id} ${name}`).join("; ")}`,
                );
            }
            await sleep(50);
        }
    }

    private take({ resourceSpans }: any): void {
        for (const { resource, scopeSpans } of resourceSpans) {
            const service = String(valuesOf(resource.attributes)["service.name"]);
            for (const span of scopeSpans.flatMap(({ spans }: any) => spans as unknown[])) {
                this.spans.push({
                    service,
                    name: span.name,
                    traceId: span.traceId,
                    spanId: span.spanId,
                    parentSpanId: span.parentSpanId,
                    kind: span.kind,
                    start: Number(BigInt(span.startTimeUnixNano) / 1_000_000n),
                    end: Number(BigInt(span.endTimeUnixNano) / 1_000_000n),
                    failed: span.status?.code === 2,
                    attributes: valuesOf(span.attributes),
                });
            }
        }
    }
}

function valuesOf(attributes: readonly any[]): Record<string, unknown> {
    return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value as object)[0]]));
}
