import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** What a gate does with a request: answers itself, or passes it on to another path than was asked for. */
export type Rule = (
    request: http.IncomingMessage,
) => { readonly status: number; readonly code: string } | { readonly path: string } | undefined;

/**
 * Stands in front of a real server, a store or a registry, and makes it fail for those who come through here, and for
 * nobody else: it can be closed (connections are refused, as when the server is down), frozen (nobody answers, as when it
 * is stopped), and it can answer some requests itself (a store that is full).
 */
export class Gate {
    /** Answers in place of the server; undefined passes on what was asked for. */
    public rule: Rule | undefined;
    /** Whose answers are lost, after the server has done what was asked for. */
    public losesAnswer: (request: http.IncomingMessage) => boolean = () => false;
    /** Is shown every request as it comes. */
    public onRequest: (request: http.IncomingMessage) => void = () => undefined;
    private server: http.Server | undefined;
    private readonly sockets = new Set<Socket>();
    private thawed: Promise<void> = Promise.resolve();
    private thawNow: () => void = () => undefined;

    private constructor(
        private readonly target: URL,
        private readonly host: string,
        public port: number,
    ) {}

    /** @param target where requests go that pass, for example `http://127.0.0.1:5000` */
    public static async before(target: string, host: string): Promise<Gate> {
        const gate = new Gate(new URL(target), host, 0);
        await gate.open();
        return gate;
    }

    public async open(): Promise<void> {
        this.thaw();
        if (this.server) {
            return;
        }
        this.server = http.createServer((request, response) => void this.pass(request, response));
        // As the SDKs keep connections: without an end of ours.
        this.server.keepAliveTimeout = 60_000;
        this.server.on("connection", (socket) => {
            this.sockets.add(socket);
            socket.on("close", () => this.sockets.delete(socket));
        });
        this.server.listen(this.port, this.host);
        await once(this.server, "listening");
        this.port = (this.server.address() as AddressInfo).port;
    }

    /** Refuses connections, and breaks those that there are. */
    public async close(): Promise<void> {
        const { server } = this;
        this.server = undefined;
        this.thaw();
        if (server) {
            const closed = once(server, "close");
            server.close();
            this.sockets.forEach((socket) => socket.destroy());
            await closed;
        }
    }

    /** Takes requests, and answers none until it is thawed. */
    public freeze(): void {
        this.thawed = new Promise((resolve) => (this.thawNow = resolve));
    }

    public thaw(): void {
        this.thawNow();
        this.thawed = Promise.resolve();
    }

    private async pass(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
        this.onRequest(request);
        await this.thawed;
        const answer = this.rule?.(request);
        if (answer && "status" in answer) {
            request.resume();
            const headers = { "content-type": "application/xml", "x-ms-error-code": answer.code };
            const body = `<?xml version="1.0"?><Error><Code>${answer.code}</Code><Message>${answer.code}</Message></Error>`;
            response.writeHead(answer.status, headers).end(request.method === "HEAD" ? "" : body);
            return;
        }
        const { hostname, port } = this.target;
        const passed = http.request(
            { hostname, port, method: request.method, path: answer?.path ?? request.url, headers: request.headers },
            (reply) => {
                if (this.losesAnswer(request)) {
                    reply.resume();
                    reply.on("end", () => response.destroy());
                    return;
                }
                response.writeHead(reply.statusCode ?? 502, reply.headers);
                reply.pipe(response);
                reply.on("error", () => response.destroy());
            },
        );
        passed.on("error", () => response.destroy());
        request.on("error", () => passed.destroy());
        response.on("close", () => passed.destroy());
        request.pipe(passed);
    }
}
