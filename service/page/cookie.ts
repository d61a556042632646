import type { FastifyRequest } from "fastify";

/** What the browser is told to keep, or to forget. */
export function sessionCookie(request: FastifyRequest, id: string | undefined): string {
    const parts = [
        `${cookieName(request)}=${id ?? ""}`,
        "Path=/",
        "HttpOnly",
        "SameSite=Strict",
        ...(isLoopback(request) ? [] : ["Secure"]),
        ...(id === undefined ? ["Max-Age=0"] : []),
    ];
    return parts.join("; ");
}

/** What the browser sent of it. */
export function sessionOf(request: FastifyRequest): string | undefined {
    const begin = `${cookieName(request)}=`;
    const pairs = (request.headers.cookie ?? "").split(";").map((pair) => pair.trim());
    return pairs.find((pair) => pair.startsWith(begin))?.slice(begin.length) || undefined;
}

/**
 * Whether a request comes from a page of this service, as the browser says: a form that is sent has an Origin, and what is
 * newer says it outright (https://w3c.github.io/webappsec-fetch-metadata/#sec-fetch-site-header).
 */
export function isFromHere(request: FastifyRequest): boolean {
    const site = request.headers["sec-fetch-site"];
    if (site !== undefined) {
        return site === "same-origin";
    }
    const { origin, host } = request.headers;
    return origin !== undefined && URL.canParse(origin) && new URL(origin).host === host;
}

/** A name with `__Host-` is taken over HTTPS alone, and from this host alone; cookies do not tell ports apart. */
function cookieName(request: FastifyRequest): string {
    return isLoopback(request) ? `ke1-${request.socket.localPort ?? 0}` : "__Host-ke1";
}

function isLoopback(request: FastifyRequest): boolean {
    return /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i.test(request.headers.host ?? "");
}
