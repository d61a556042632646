import { readFileSync } from "node:fs";
import { request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { createConnection } from "node:net";
import { join } from "node:path";

/** Long enough for a loaded machine, short enough to notice a daemon that hangs. */
const probeTimeoutMs = 3000;

export interface Answer {
    readonly status: number;
    readonly headers: NodeJS.Dict<string | string[]>;
    readonly body: string;
}

/** A GET on a daemon of this machine, without any proxy. */
export async function get(target: string | RequestOptions): Promise<Answer> {
    const secure = typeof target === "string" ? target.startsWith("https:") : target.protocol === "https:";
    const options: RequestOptions = { timeout: probeTimeoutMs, agent: false };
    return new Promise((resolve, reject) => {
        const send = secure ? httpsRequest : httpRequest;
        const request = typeof target === "string" ? send(target, options) : send({ ...target, ...options });
        request.once("timeout", () => request.destroy(new Error(`no answer in ${probeTimeoutMs / 1000} s`)));
        request.once("error", reject);
        request.once("response", (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.once("error", reject);
            response.once("end", () => {
                const body = Buffer.concat(chunks).toString("utf8");
                resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
            });
        });
        request.end();
    });
}

/** A GET with a client certificate of the platform's own. `pki` is the directory, `ca` and `client` are base names. */
export async function getWithCertificate(
    url: string,
    pki: string,
    { ca, client }: { readonly ca: string; readonly client: string },
): Promise<Answer> {
    const { hostname, port, pathname, search } = new URL(url);
    return get({
        protocol: "https:",
        hostname,
        port,
        path: pathname + search,
        ...{
            ca: readFileSync(join(pki, `${ca}.crt`)),
            cert: readFileSync(join(pki, `${client}.crt`)),
            key: readFileSync(join(pki, `${client}.key`)),
        },
    });
}

/** @throws Error unless the answer has the status */
export function expectStatus(answer: Answer, status: number): void {
    if (answer.status !== status) {
        throw new Error(`answered ${answer.status}: ${answer.body.slice(0, 200).trim()}`);
    }
}

/** @throws Error unless something accepts a connection on the socket */
export async function connectTo(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
        const socket = createConnection({ path }, () => {
            socket.destroy();
            resolve();
        });
        socket.once("error", reject);
        socket.setTimeout(probeTimeoutMs, () => socket.destroy(new Error("no answer")));
    });
}
