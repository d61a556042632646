import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
    readonly id: string;
    readonly timestamp: number;
    readonly signed: boolean;
    readonly contentType: string;
    readonly body: Record<string, any>;
    /** Milliseconds since the first. */
    readonly after: number;
}

type Answerer = (response: ServerResponse, nth: number, request: IncomingMessage) => void;

/** Who receives a webhook: verifies as Standard Webhooks asks of it, and answers as the test wants. */
export class WebhookReceiver {
    public readonly received: Received[] = [];
    public answer: Answerer = (response) => response.writeHead(204).end();
    private first: number | undefined;
    private readonly server = createServer((request, response) => {
        void this.receive(request, response).catch(() => response.destroy());
    });

    public constructor(private readonly secret: string) {}

    public async start(): Promise<string> {
        this.server.listen(0, "127.0.0.1");
        await once(this.server, "listening");
        return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/hook?token=in-the-address`;
    }

    public async stop(): Promise<void> {
        this.server.closeAllConnections();
        this.server.close();
        await once(this.server, "close");
    }

    private async receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
        const chunks: Buffer[] = [];
        for await (const chunk of request) {
            chunks.push(chunk as Buffer);
        }
        const raw = Buffer.concat(chunks);
        const header = (name: string) => String(request.headers[name]);
        this.first ??= performance.now();
        this.received.push({
            id: header("webhook-id"),
            timestamp: Number(header("webhook-timestamp")),
            signed: this.verify(header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), raw),
            contentType: header("content-type"),
            body: JSON.parse(raw.toString("utf8")) as Record<string, any>,
            after: performance.now() - this.first,
        });
        this.answer(response, this.received.length, request);
    }

    private verify(id: string, timestamp: string, signature: string, raw: Buffer): boolean {
        const key = Buffer.from(this.secret.replace(/^whsec_/, ""), "base64");
        const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(raw).digest();
        const given = Buffer.from(signature.replace(/^v1,/, ""), "base64");
        const fresh = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300;
        return fresh && given.length === expected.length && timingSafeEqual(given, expected);
    }
}
