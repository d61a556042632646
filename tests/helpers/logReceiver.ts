import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

/** A line of a build's log, as Elasticsearch gets it. */
export interface LogDocument {
    readonly "@timestamp": string;
    readonly message: string;
    readonly build_tag: string;
    readonly namespace: string;
    readonly job: string;
    readonly attempt: number;
    readonly source: string;
    readonly line: number;
}

/**
 * A server that takes bulk requests as Elasticsearch documents them, and nothing else: each `create` has an id, and one
 * that is there already is a conflict. It refuses the first request, and then one line of the next, as one that is busy.
 */
export class BulkReceiver {
    public readonly documents = new Map<string, LogDocument>();
    /** What was wrong with requests. */
    public readonly complaints: string[] = [];
    private requests = 0;
    private refused = false;
    private readonly server = createServer((request, response) => {
        void this.receive(request, response).catch((error: unknown) => {
            this.complaints.push(String(error));
            response.writeHead(400).end();
        });
    });

    public constructor(
        private readonly index: string,
        private readonly authorization: string,
    ) {}

    public async start(address: string): Promise<string> {
        this.server.listen(0, address);
        await once(this.server, "listening");
        return `http://${address}:${(this.server.address() as AddressInfo).port}`;
    }

    public async stop(): Promise<void> {
        this.server.closeAllConnections();
        this.server.close();
        await once(this.server, "close");
    }

    private async receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
        const body = (await buffer(request)).toString("utf8");
        const { pathname } = new URL(request.url ?? "", "http://localhost");
        if (request.method !== "POST" || pathname !== `/${this.index}/_bulk`) {
            throw new Error(`${request.method} ${pathname}`);
        }
        if (request.headers.authorization !== this.authorization) {
            this.complaints.push(`authorization ${request.headers.authorization ?? "is missing"}`);
            response.writeHead(401).end();
            return;
        }
        if (request.headers["content-type"] !== "application/x-ndjson" || !body.endsWith("\n")) {
            throw new Error("not NDJSON");
        }
        if (++this.requests === 1) {
            response.writeHead(429, { "Retry-After": "1" }).end();
            return;
        }
        const lines = body.trimEnd().split("\n");
        const items: object[] = [];
        for (let at = 0; at < lines.length; at += 2) {
            const action = JSON.parse(lines[at] ?? "") as { readonly create: { readonly _id: string } };
            const document = JSON.parse(lines[at + 1] ?? "") as LogDocument;
            const status = this.take(action.create._id, document);
            items.push({ create: status === 201 ? { status } : { status, error: { type: "t", reason: "r" } } });
        }
        response.writeHead(200, { "Content-Type": "application/json" });
        response.end(
            JSON.stringify({
                errors: items.some((item) => "error" in Object.values(item as Record<string, object>)[0]!),
                items,
            }),
        );
    }

    private take(id: string, document: LogDocument): number {
        if (!this.refused) {
            this.refused = true;
            return 429;
        }
        if (this.documents.has(id)) {
            return 409;
        }
        this.documents.set(id, document);
        return 201;
    }
}
