import { isConfidential } from "../../contract/address";
import { UserError } from "../../contract/errors";
import type { RegistryCredential } from "../../engine/providers/docker/credentials";
import { HttpError, retryAfterOf } from "./errors";

/** Finds who one is to a registry; empty where nobody has said. */
export type FindCredential = (registry: string) => Promise<RegistryCredential>;

/** `WWW-Authenticate`, taken apart. */
interface Challenge {
    readonly scheme: string;
    readonly parameters: Readonly<Record<string, string>>;
}

/** A token lives so long where its server does not say (https://distribution.github.io/distribution/spec/auth/token/). */
const defaultTokenSeconds = 60;
/** A token that is about to end is not used any more: so long before, in milliseconds, or half of its time. */
const margin = 10_000;

/**
 * The `Authorization` of requests to one registry: none at first, then what the registry asks for. Basic, or a bearer token
 * from the server that it names, which alone is sent the credential.
 */
export class Authorization {
    private basic: string | undefined;
    private readonly tokens = new Map<string, { readonly token: string; readonly until: number }>();
    private credential: Promise<RegistryCredential> | undefined;

    public constructor(
        private readonly registry: string,
        private readonly base: string,
        private readonly find: FindCredential,
    ) {}

    /** @param scope such as `repository:team/app:pull` */
    public header(scope: string): string | undefined {
        const known = this.tokens.get(scope);
        return known && known.until > Date.now() ? `Bearer ${known.token}` : this.basic;
    }

    /**
     * Answers a registry's 401.
     *
     * @param sent what it has refused
     * @returns whether there is something new to try
     */
    public async answer(
        challenges: string | null,
        scope: string,
        sent: string | undefined,
        signal?: AbortSignal,
    ): Promise<boolean> {
        const all = parseChallenges(challenges ?? "");
        const bearer = all.find(({ scheme }) => scheme === "bearer");
        if (bearer) {
            this.tokens.set(scope, await this.fetchToken(bearer, scope, signal));
            return true;
        }
        if (all.some(({ scheme }) => scheme === "basic")) {
            // Another request may have been refused, and have answered, meanwhile.
            this.basic ??= basicOf(await this.own());
            return this.basic !== undefined && this.basic !== sent;
        }
        return false;
    }

    private async own(): Promise<RegistryCredential> {
        return (this.credential ??= this.find(this.registry));
    }

    private async fetchToken({ parameters }: Challenge, scope: string, signal?: AbortSignal) {
        const realm = parameters["realm"] ?? "";
        if (!URL.canParse(realm)) {
            throw new UserError(`${this.registry} names no server for its tokens`);
        }
        const url = new URL(realm);
        // A registry that is spoken to in the clear has its token's server near; any other may not ask for a password so.
        if (!isConfidential(url) || (url.protocol === "http:" && this.base.startsWith("https:"))) {
            throw new UserError(`${this.registry} wants the password to be sent in the clear, to ${url.host}`);
        }
        const { username, password, identitytoken } = await this.own();
        const service = parameters["service"];
        const common = { ...(service === undefined ? {} : { service }), scope };
        let response: Response;
        if (identitytoken !== undefined) {
            // https://distribution.github.io/distribution/spec/auth/oauth/
            const body = new URLSearchParams({
                grant_type: "refresh_token",
                refresh_token: identitytoken,
                client_id: "ke1",
                ...common,
            });
            response = await fetch(url, { method: "POST", body, redirect: "error", ...(signal ? { signal } : {}) });
        } else {
            Object.entries(common).forEach(([name, value]) => url.searchParams.set(name, value));
            const authorization = basicOf({ serveraddress: this.registry, username, password });
            response = await fetch(url, {
                headers: authorization === undefined ? {} : { authorization },
                redirect: "error",
                ...(signal ? { signal } : {}),
            });
        }
        if (!response.ok) {
            await response.body?.cancel();
            throw new HttpError(
                `${this.registry} gives no token for ${scope}: ${url.host} answers ${response.status}`,
                response.status,
                retryAfterOf(response.headers),
            );
        }
        const answer = (await response.json()) as {
            readonly token?: string;
            readonly access_token?: string;
            readonly expires_in?: number;
        };
        const token = answer.token ?? answer.access_token;
        if (token === undefined || token === "") {
            throw new Error(`${url.host} has answered without a token`);
        }
        const lasts = (answer.expires_in ?? defaultTokenSeconds) * 1000;
        return { token, until: Date.now() + Math.max(lasts - margin, lasts / 2) };
    }
}

function basicOf({ username, password }: RegistryCredential): string | undefined {
    return username === undefined || username === ""
        ? undefined
        : `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}`;
}

/** https://www.rfc-editor.org/rfc/rfc9110#field.www-authenticate */
export function parseChallenges(header: string): readonly Challenge[] {
    const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
    const part = /([A-Za-z0-9._-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([A-Za-z][A-Za-z0-9._-]*)/g;
    for (const [, name, quoted, plain, scheme] of header.matchAll(part)) {
        if (scheme !== undefined) {
            challenges.push({ scheme: scheme.toLowerCase(), parameters: {} });
        } else if (name !== undefined) {
            const last = challenges.at(-1);
            if (last) {
                last.parameters[name.toLowerCase()] = quoted?.replace(/\\(.)/g, "$1") ?? plain ?? "";
            }
        }
    }
    return challenges;
}
