import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import * as https from "node:https";
import { pipeline } from "node:stream/promises";

export type Role = "reader" | "writer";

export interface RolesSettings {
    /** Address and port to listen on. */
    readonly host: string;
    readonly port: number;
    readonly key: string;
    readonly certificate: string;
    readonly authority: string;
    /** The store behind it, which takes any token. */
    readonly store: string;
}

/**
 * Role assignments in front of a store that knows none: who has no role for a request gets Azure's answer
 * (https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory).
 */
export class Roles {
    /** By client id. */
    public readonly assigned = new Map<string, Role>();
    /** Called for each request that is refused, with the client id. */
    public onRefusal: (clientId: string) => void = () => undefined;
    public readonly endpoint: string;
    private readonly server: https.Server;

    public constructor(private readonly settings: RolesSettings) {
        this.endpoint = `https://${settings.host}:${settings.port}${new URL(settings.store).pathname}`;
        this.server = https.createServer({ key: settings.key, cert: settings.certificate }, (request, response) => {
            this.answer(request, response).catch(() => response.destroy());
        });
    }

    public async start(): Promise<void> {
        this.server.listen(this.settings.port, this.settings.host);
        await once(this.server, "listening");
    }

    public async stop(): Promise<void> {
        this.server.closeAllConnections();
        this.server.close();
        await once(this.server, "close");
    }

    private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
        const client = clientOf(request.headers.authorization ?? "");
        const role = this.assigned.get(client);
        const reads = request.method === "GET" || request.method === "HEAD";
        if (role !== "writer" && !(role === "reader" && reads)) {
            this.onRefusal(client);
            const code = "AuthorizationPermissionMismatch";
            request.resume();
            response
                .writeHead(403, { "x-ms-error-code": code, "content-type": "application/xml" })
                .end(`<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>No.</Message></Error>`);
            return;
        }
        const { host, port } = new URL(this.settings.store);
        const forwarded = https.request({
            ...{ host: host.split(":")[0], port, ca: this.settings.authority, agent: false },
            ...{ method: request.method, path: request.url, headers: { ...request.headers, host } },
        });
        const [, [reply]] = await Promise.all([
            pipeline(request, forwarded),
            once(forwarded, "response") as Promise<[IncomingMessage]>,
        ]);
        response.writeHead(reply.statusCode ?? 500, reply.headers);
        await pipeline(reply, response);
    }
}

/** Whose token a request brings; empty without one. */
function clientOf(authorization: string): string {
    const payload = authorization.replace(/^Bearer /, "").split(".")[1];
    return payload === undefined
        ? ""
        : (JSON.parse(Buffer.from(payload, "base64url").toString()) as { readonly appid: string }).appid;
}
