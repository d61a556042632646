import { createHash, timingSafeEqual } from "node:crypto";

import type { FastifyReply, FastifyRequest } from "fastify";
import { createRemoteJWKSet, jwtVerify } from "jose";

import { messageOf, UserError } from "../../contract/errors";
import type { BuildRecord } from "../build";
import type { Scope } from "../scopes";
import { scopes } from "../scopes";
import { TokenFile } from "../tokens";

/** Who asks. */
export interface Caller {
    readonly name: string;
    readonly scopes: ReadonlySet<Scope>;
}

/** Whose JSON Web Tokens are taken. */
export interface OidcSettings {
    readonly issuer: string;
    readonly audience: string;
}

/**
 * Tells callers by their bearer tokens (RFC 6750): those of a file, of which only hashes are kept, and JWTs of one OIDC
 * issuer, whose claim `scope` says what they may.
 */
export class Authenticator {
    /** A token is looked at once for each request: for its limit, and by its route. */
    private readonly known = new WeakMap<FastifyRequest, Caller>();
    private readonly keys: ReturnType<typeof createRemoteJWKSet> | undefined;

    private constructor(
        private readonly tokens: TokenFile | undefined,
        private readonly oidc: OidcSettings | undefined,
        jwksUri: string | undefined,
    ) {
        this.keys = jwksUri === undefined ? undefined : createRemoteJWKSet(new URL(jwksUri));
    }

    /** @param tokenFile what `readTokens` reads */
    public static async open(tokenFile: string | undefined, oidc: OidcSettings | undefined): Promise<Authenticator> {
        const tokens = tokenFile === undefined ? undefined : new TokenFile(tokenFile);
        return new Authenticator(tokens, oidc, oidc && (await discover(oidc.issuer)));
    }

    /** Whether anybody at all can be let in. */
    public get isOpenToSomebody(): boolean {
        return (this.tokens?.entries() ?? []).length > 0 || this.oidc !== undefined;
    }

    /** @returns undefined for a token that is nobody's. */
    public async callerOf(token: string): Promise<Caller | undefined> {
        const hash = createHash("sha256").update(token).digest();
        // All of them are compared, so that the time says nothing of which one it was.
        const found = (this.tokens?.entries() ?? []).filter((entry) => timingSafeEqual(entry.hash, hash)).at(0);
        if (found) {
            return { name: found.name, scopes: found.scopes };
        }
        return token.split(".").length === 3 ? this.fromJwt(token) : undefined;
    }

    /** Whose bearer token a request has. */
    public async callerFrom(request: FastifyRequest): Promise<Caller | undefined> {
        const before = this.known.get(request);
        if (before) {
            return before;
        }
        const [, token] = /^Bearer ([!-~]+)$/i.exec(request.headers.authorization ?? "") ?? [];
        const caller = token === undefined ? undefined : await this.callerOf(token);
        if (caller) {
            this.known.set(request, caller);
        }
        return caller;
    }

    /** A handler that lets a request pass whose caller has the scope. */
    public require(scope: Scope, callers: WeakMap<FastifyRequest, Caller>) {
        return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
            const caller = await this.callerFrom(request);
            if (!caller) {
                await reply
                    .code(401)
                    .header("www-authenticate", 'Bearer realm="ke1"')
                    .send(problem(401, "a bearer token is needed, and this is none that is known"));
                return;
            }
            if (!allows(caller, scope)) {
                await reply
                    .code(403)
                    .header("www-authenticate", `Bearer error="insufficient_scope", scope="${scope}"`)
                    .send(problem(403, `the token of ${caller.name} lacks the scope ${scope}`));
                return;
            }
            callers.set(request, caller);
        };
    }

    private async fromJwt(token: string): Promise<Caller | undefined> {
        if (!this.oidc || !this.keys) {
            return undefined;
        }
        try {
            const { payload } = await jwtVerify(token, this.keys, {
                issuer: this.oidc.issuer,
                audience: this.oidc.audience,
                // Whatever the token says: none, and no shared secret.
                algorithms: ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
                requiredClaims: ["sub", "exp"],
            });
            const claimed = typeof payload["scope"] === "string" ? payload["scope"].split(" ") : [];
            return {
                name: `${payload.iss ?? ""}#${payload.sub ?? ""}`,
                scopes: new Set(scopes.filter((scope) => claimed.includes(scope))),
            };
        } catch {
            return undefined;
        }
    }
}

/** Whoever launches builds may look at them, and an administrator may all of it. */
export function allows({ scopes: has }: Caller, scope: Scope): boolean {
    return has.has(scope) || has.has("admin") || (scope === "builds:read" && has.has("builds:write"));
}

/** Whoever is no administrator acts on the builds that it asked for, and no others. */
export function isTheirs({ name, scopes: has }: Caller, build: BuildRecord): boolean {
    return has.has("admin") || name === build.caller;
}

/** The body of every refusal: https://www.rfc-editor.org/rfc/rfc9457 */
export function problem(status: number, detail: string): { readonly status: number; readonly detail: string } {
    return { status, detail };
}

/** https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig */
async function discover(issuer: string): Promise<string> {
    const address = `${issuer.replace(/\/+$/, "")}/.well-known/openid-configuration`;
    try {
        const response = await fetch(address, { redirect: "error", signal: AbortSignal.timeout(10_000) });
        const document = (await response.json()) as { readonly issuer?: string; readonly jwks_uri?: string };
        if (!response.ok || document.issuer !== issuer || document.jwks_uri === undefined) {
            throw new Error(`it answers ${response.status}, for the issuer ${document.issuer ?? "none"}`);
        }
        return document.jwks_uri;
    } catch (error) {
        throw new UserError(`--oidc-issuer ${issuer} does not describe itself: ${messageOf(error)}`);
    }
}
