import * as http from "node:http";
import * as https from "node:https";
import type { LookupFunction } from "node:net";

import { UserError } from "../../contract/errors";
import type { Answer } from "./delivery";

/** An HTTP request with a body. */
export interface Message {
    readonly url: URL;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
}

/** Sends one; rejects when there was no answer. */
export type Send = (message: Message, signal: AbortSignal) => Promise<Reply>;

export interface Reply {
    readonly status: number;
    readonly retryAfter?: string;
}

/** Milliseconds that a reply's body may take. */
const patience = 500;

/** Posts; see `posting`. */
export const post: Send = posting();

/**
 * Posts by Node's own client and not by `fetch`: it follows no redirect, and when it is aborted, nothing of the connection
 * stays behind that would keep the process from ending.
 *
 * @param lookup finds the addresses of the host, where not everybody may choose where it leads
 */
export function posting(lookup?: LookupFunction): Send {
    return (message, signal) => posted(message, signal, lookup);
}

function posted(message: Message, signal: AbortSignal, lookup: LookupFunction | undefined): Promise<Reply> {
    return new Promise((resolve, reject) => {
        const client = message.url.protocol === "https:" ? https : http;
        const headers = { "user-agent": "ke1", connection: "close", ...message.headers };
        const request = client.request(message.url, { method: "POST", headers, lookup }, (response) => {
            const reply = { status: response.statusCode ?? 0, retryAfter: response.headers["retry-after"] };
            // Nobody reads the rest. It may come to its end in peace, but must not hold anybody up.
            const enough = setTimeout(() => resolve(reply), patience);
            enough.unref();
            response.on("error", () => undefined);
            response.on("close", () => {
                clearTimeout(enough);
                resolve(reply);
            });
            response.resume();
        });
        request.on("error", reject);
        // Not left to the option `signal`: a request that is destroyed in the tick that made it hands its socket back while
        // that is connecting, and the process would stay for as long as the connection takes to fail.
        const stop = () => {
            if (request.socket) {
                request.destroy();
            } else {
                request.once("socket", () => request.destroy());
            }
        };
        signal.addEventListener("abort", stop, { once: true });
        request.on("close", () => signal.removeEventListener("abort", stop));
        request.end(message.body);
    });
}

/** What a reply means: done, to be tried again, or not. */
export function answerOf(reply: Reply): Answer {
    const { status } = reply;
    if (status >= 200 && status < 300) {
        return { kind: "told" };
    }
    if (status >= 300 && status < 400) {
        return { kind: "failed", reason: `answered ${status}, and redirects are not followed`, retry: false };
    }
    const retry = status === 408 || status === 429 || status >= 500;
    return { kind: "failed", reason: `answered ${status}`, retry, after: milliseconds(reply.retryAfter) };
}

/** `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3). What cannot be read counts for nothing. */
export function milliseconds(retryAfter: string | undefined, now = Date.now()): number | undefined {
    if (retryAfter === undefined) {
        return undefined;
    }
    if (/^\d+$/.test(retryAfter.trim())) {
        return Number(retryAfter) * 1000;
    }
    const date = Date.parse(retryAfter);
    return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/**
 * An address to send to. What it holds may be a secret, and is not repeated in the error.
 *
 * @param what names it in errors, for example `the webhook`
 * @throws UserError when it is none
 */
export function endpoint(text: string, what: string): URL {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) {
        throw new UserError(`${what} must be a URL that begins with https:// or http://`);
    }
    if (url.hash !== "") {
        throw new UserError(`${what} must be a URL without a fragment (#…)`);
    }
    return url;
}
