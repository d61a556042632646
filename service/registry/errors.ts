/** A registry, or GitHub, that refuses a request. */
export class HttpError extends Error {
    public override readonly name = "HttpError";

    public constructor(
        message: string,
        public readonly status: number,
        /** Milliseconds that the server wants to be left alone for. */
        public readonly retryAfter?: number,
    ) {
        super(message);
    }
}

/** What `Retry-After` says, in milliseconds (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after). */
export function retryAfterOf(headers: Headers): number | undefined {
    const value = headers.get("retry-after");
    if (value === null) {
        return undefined;
    }
    const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
    return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : undefined;
}
