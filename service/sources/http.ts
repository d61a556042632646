import * as fs from "node:fs";
import { isIP } from "node:net";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { Agent, buildConnector, request } from "undici";

import { messageOf, UserError } from "../../contract/errors";
import { portOf, unbracketed } from "./addresses";
import type { AddressGuard } from "./addresses";
import { ByteLimit } from "./byteLimit";

/** GitHub, GitLab and the clouds' stores need one; who needs more is going in a circle. */
const mostRedirects = 5;
const connectSeconds = 15;
/** Between two pieces of an answer. */
const idleSeconds = 60;

/** An answer, after all redirects. */
export interface Answer {
    readonly status: number;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly body: Readable;
}

export interface Ask {
    readonly method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH";
    /** Sent to the first host alone: a redirect to another origin goes without. */
    readonly authorization?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: Readable | Buffer;
    readonly signal: AbortSignal;
}

/** An HTTP client that connects to nothing but what the guard allows: checked for each connection, so also for each redirect. */
export class GuardedClient {
    private readonly agents = new Map<string, Agent>();

    public constructor(private readonly guard: AddressGuard) {}

    /** @throws UserError, one line, where the host may not be asked or does not answer. */
    public async ask(url: URL, ask: Ask): Promise<Answer> {
        let at = url;
        for (let redirects = 0; ; redirects++) {
            const answer = await this.once(at, {
                ...ask,
                authorization: at.origin === url.origin ? ask.authorization : undefined,
            });
            const location = answer.headers["location"];
            if (![301, 302, 303, 307, 308].includes(answer.status) || typeof location !== "string") {
                return answer;
            }
            answer.body.resume();
            if (redirects === mostRedirects) {
                throw new UserError(`${url.host} redirects more than ${mostRedirects} times`);
            }
            at = redirected(at, location);
        }
    }

    public async close(): Promise<void> {
        await Promise.all([...this.agents.values()].map((agent) => agent.destroy()));
        this.agents.clear();
    }

    private async once(url: URL, { method = "GET", authorization, headers, body, signal }: Ask): Promise<Answer> {
        // An address is never looked up, so that nothing else would check it.
        if (isIP(unbracketed(url.hostname)) !== 0) {
            await this.guard.resolve(url.hostname, portOf(url));
        }
        try {
            const answer = await request(new URL(url.pathname + url.search, url.origin), {
                method,
                dispatcher: this.agentFor(portOf(url)),
                headers: {
                    "user-agent": "ke1",
                    // What is asked for is an archive: it is packed already, and its size is counted.
                    "accept-encoding": "identity",
                    ...headers,
                    ...(authorization === undefined ? {} : { authorization }),
                },
                body: body ?? null,
                signal,
            });
            return { status: answer.statusCode, headers: answer.headers, body: answer.body };
        } catch (error) {
            throw explained(url, error, signal);
        }
    }

    private agentFor(port: string): Agent {
        const agent =
            this.agents.get(port) ??
            new Agent({
                connect: this.connector(port),
                headersTimeout: idleSeconds * 1000,
                bodyTimeout: idleSeconds * 1000,
            });
        this.agents.set(port, agent);
        return agent;
    }

    /** Looks once more at what a socket is connected to, whichever way it came to be. */
    private connector(port: string): buildConnector.connector {
        const connect = buildConnector({
            lookup: this.guard.lookup(port),
            timeout: connectSeconds * 1000,
            allowH2: false,
        });
        return (options, callback) => {
            connect(options, (error, socket) => {
                if (error) {
                    callback(error, null);
                    return;
                }
                const address = socket.remoteAddress ?? "";
                if (!this.guard.allows(unbracketed(options.hostname), port, address)) {
                    socket.destroy();
                    callback(new UserError(`${options.hostname} led to ${address}, which is not allowed`), null);
                    return;
                }
                callback(null, socket);
            });
        };
    }
}

/** Writes an answer's body to a file that did not exist. */
export async function saveBody(
    answer: Answer,
    file: string,
    limit: number,
    what: string,
    signal: AbortSignal,
): Promise<void> {
    const length = Number(answer.headers["content-length"] ?? 0);
    const counted = new ByteLimit(limit, what);
    if (length > limit) {
        answer.body.destroy();
        throw counted.exceeded();
    }
    try {
        await pipeline(answer.body, counted, fs.createWriteStream(file, { flags: "wx", mode: 0o600 }), { signal });
    } catch (error) {
        throw error instanceof UserError || signal.aborted
            ? error
            : new UserError(`${what} broke off: ${messageOf(error)}`);
    }
}

function redirected(from: URL, location: string): URL {
    if (!URL.canParse(location, from.href)) {
        throw new UserError(`${from.host} redirects to what is no address`);
    }
    const to = new URL(location, from);
    if (to.protocol !== "https:" && to.protocol !== "http:") {
        throw new UserError(`${from.host} redirects to ${to.protocol}//, and sources come by http or https`);
    }
    if (from.protocol === "https:" && to.protocol === "http:") {
        throw new UserError(
            `${from.host} redirects from https to http, where anybody on the way could change the source`,
        );
    }
    return to;
}

function explained(url: URL, error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) {
        return signal.reason;
    }
    if (error instanceof UserError) {
        return error;
    }
    const { code, cause } = error as { code?: string; cause?: { code?: string } };
    return new UserError(`${url.host} could not be reached: ${code ?? cause?.code ?? messageOf(error)}`);
}
