import type { JsonWebKey, KeyObject } from "node:crypto";
import { createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import * as https from "node:https";
import { text } from "node:stream/consumers";

/** A federated credential: whose token of the cluster is good for which identity. */
export interface FederatedCredential {
    readonly clientId: string;
    readonly subject: string;
}

/** https://datatracker.ietf.org/doc/html/rfc7517#section-5 */
export interface KeySet {
    readonly keys: readonly (JsonWebKey & { readonly kid: string })[];
}

export interface EntraSettings {
    /** Address and port to listen on. */
    readonly host: string;
    readonly port: number;
    readonly key: string;
    readonly certificate: string;
    /** The cluster's issuer, as its tokens name it. */
    readonly issuer: string;
    /** The cluster's keys, as `/openid/v1/jwks` has them. */
    readonly jwks: KeySet;
    readonly credentials: readonly FederatedCredential[];
}

/** The one audience that Azure's documentation tells to use for federated credentials. */
export const exchangeAudience = "api://AzureADTokenExchange";

interface Claims {
    readonly iss: string;
    readonly sub: string;
    readonly aud: string | readonly string[];
    readonly exp: number;
    readonly nbf: number;
}

/** What Entra answers instead of a token. */
class Refusal extends Error {
    public constructor(
        public readonly status: number,
        public readonly error: string,
        public readonly code: number,
        description: string,
    ) {
        super(description);
    }
}

/**
 * A stand-in for Entra's token endpoint, over TLS. It checks a workload's assertion as the real one does: the signature by
 * the cluster's own keys, issuer, audience, time, and that the subject is exactly the one of the client's federated
 * credential; and refuses with Entra's codes. What it gives out is what a store takes for one of Entra's tokens
 * (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow).
 */
export class Entra {
    public readonly tenantId = randomUUID();
    public readonly authority: string;
    /** All assertions and tokens that went through: none may be seen anywhere else. */
    public readonly secrets = new Set<string>();
    /** The token that was given out last. */
    public lastToken = "";
    /** What was asked for, and how that ended: `<client> issued`, `<client> 700213`. */
    public readonly exchanges: string[] = [];
    /** Requests for anything else. */
    public readonly strays: string[] = [];
    private readonly server: https.Server;
    private readonly signingKey: KeyObject = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;

    public constructor(private readonly settings: EntraSettings) {
        this.authority = `https://${settings.host}:${settings.port}/`;
        this.server = https.createServer({ key: settings.key, cert: settings.certificate }, (request, response) => {
            void this.answer(request).then(({ status, body }) => {
                response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
            });
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

    private async answer(request: IncomingMessage): Promise<{ readonly status: number; readonly body: object }> {
        const base = `${this.authority}${this.tenantId}`;
        const { pathname } = new URL(request.url ?? "/", this.authority);
        if (pathname === `/${this.tenantId}/v2.0/.well-known/openid-configuration`) {
            return {
                status: 200,
                body: {
                    issuer: `${base}/v2.0`,
                    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
                    token_endpoint: `${base}/oauth2/v2.0/token`,
                    jwks_uri: `${base}/discovery/v2.0/keys`,
                },
            };
        }
        if (pathname.endsWith("/v2.0/.well-known/openid-configuration")) {
            return refusal(new Refusal(400, "invalid_tenant", 90002, `Tenant '${pathname.split("/")[1]}' not found.`));
        }
        const form = new URLSearchParams(await text(request));
        if (request.method !== "POST" || pathname !== `/${this.tenantId}/oauth2/v2.0/token`) {
            this.strays.push(`${request.method} ${pathname}`);
            return { status: 404, body: {} };
        }
        const client = form.get("client_id") ?? "";
        try {
            const token = this.exchange(client, form);
            this.exchanges.push(`${client} issued`);
            return {
                status: 200,
                body: { token_type: "Bearer", expires_in: 3599, ext_expires_in: 3599, access_token: token },
            };
        } catch (error) {
            if (!(error instanceof Refusal)) {
                throw error;
            }
            this.exchanges.push(`${client} ${error.code}`);
            return refusal(error);
        }
    }

    private exchange(client: string, form: URLSearchParams): string {
        const scopes = (form.get("scope") ?? "").split(" ");
        if (form.get("grant_type") !== "client_credentials" || !scopes.includes("https://storage.azure.com/.default")) {
            throw new Refusal(400, "invalid_request", 900144, "The request body is not one for a token of a store.");
        }
        const credentials = this.settings.credentials.filter(({ clientId }) => clientId === client);
        if (credentials.length === 0) {
            throw new Refusal(
                400,
                "unauthorized_client",
                700016,
                `Application with identifier '${client}' was not found in the directory 'test'.`,
            );
        }
        const assertion = form.get("client_assertion") ?? "";
        this.secrets.add(assertion);
        const claims = this.verified(assertion);
        const unmatched = (what: string, value: string) =>
            new Refusal(
                401,
                "invalid_client",
                { issuer: 700211, audience: 700212, subject: 700213 }[what] ?? 0,
                `No matching federated identity record found for presented assertion ${what} '${value}'.`,
            );
        if (claims.iss !== this.settings.issuer) {
            throw unmatched("issuer", claims.iss);
        }
        if ([claims.aud].flat().join() !== exchangeAudience) {
            throw unmatched("audience", [claims.aud].flat().join());
        }
        if (!credentials.some(({ subject }) => subject === claims.sub)) {
            throw unmatched("subject", claims.sub);
        }
        const now = Date.now() / 1000;
        if (now < claims.nbf || now > claims.exp) {
            throw new Refusal(401, "invalid_client", 700024, "Client assertion is not within its valid time range.");
        }
        return this.issue(client);
    }

    private verified(assertion: string): Claims {
        const [header = "", payload = "", signature = ""] = assertion.split(".");
        const { kid, alg } = decode(header) as { readonly kid?: string; readonly alg?: string };
        const jwk = this.settings.jwks.keys.find((key) => key.kid === kid);
        // The cluster's own keys are EC ones; another cluster's might be RSA. Nothing else, and `none` least of all.
        const signed =
            jwk !== undefined &&
            (alg === "ES256" || alg === "RS256") &&
            verify(
                "sha256",
                Buffer.from(`${header}.${payload}`),
                { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" },
                Buffer.from(signature, "base64url"),
            );
        if (!signed) {
            throw new Refusal(401, "invalid_client", 50027, "JWT token is invalid or malformed.");
        }
        return decode(payload) as Claims;
    }

    private issue(client: string): string {
        const now = Math.floor(Date.now() / 1000);
        const claims = {
            aud: "https://storage.azure.com",
            iss: `https://sts.windows.net/${this.tenantId}/`,
            iat: now,
            nbf: now,
            exp: now + 3599,
            appid: client,
            appidacr: "2",
            oid: client,
            sub: client,
            tid: this.tenantId,
            ver: "1.0",
        };
        const content = [{ typ: "JWT", alg: "RS256" }, claims]
            .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
            .join(".");
        const token = `${content}.${sign("sha256", Buffer.from(content), this.signingKey).toString("base64url")}`;
        this.secrets.add(token);
        this.lastToken = token;
        return token;
    }
}

function refusal({ status, error, code, message }: Refusal) {
    const ids = `Trace ID: ${randomUUID()} Correlation ID: ${randomUUID()} Timestamp: ${new Date().toISOString()}`;
    return {
        status,
        body: { error, error_description: `AADSTS${code}: ${message} ${ids}`, error_codes: [code] },
    };
}

function decode(part: string): unknown {
    try {
        return JSON.parse(Buffer.from(part, "base64url").toString());
    } catch {
        return {};
    }
}
