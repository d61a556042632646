/**
 * What a page may do in the browser (https://www.w3.org/TR/CSP3/): load what this service has, and talk to it. No script or
 * style stands in a page itself, so that whatever a build, a label or a log has in it is text and nothing else.
 */
export const pageHeaders: Readonly<Record<string, string>> = {
    "content-security-policy": [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ].join("; "),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    // With no referrer at all, a browser would send forms without an origin.
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
};

/** Of a drawing, which is an image with its styles inside. */
export const drawingPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/** Of what a build has made: it is handed over, and never shown. */
export const artifactPolicy = "default-src 'none'; sandbox";
