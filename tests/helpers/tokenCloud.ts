import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as https from "node:https";
import { text } from "node:stream/consumers";

import type { KeySet } from "./entra";
import { Entra, exchangeAudience } from "./entra";
import { kubectl, platform } from "./ke1";
import { Roles } from "./roles";
import type { TemporaryDirectory } from "./temporary";
import type { ServerCertificate } from "./tlsAzurite";
import { freePort } from "./ports";
import { makeCertificate, TlsAzurite } from "./tlsAzurite";

/** The part of Azure that a token goes through, on the embedded platform's bridge: a directory, roles, and a store. */
export class TokenCloud {
    /** Client ids: who builds, and who launches. */
    public readonly identities = { build: randomUUID(), launcher: randomUUID() } as const;
    public readonly container = "builds";
    public readonly certificate: ServerCertificate;
    private readonly host = new URL(platform().blobEndpoint).hostname;
    private azurite?: TlsAzurite;
    private parts?: { readonly entra: Entra; readonly roles: Roles };

    public constructor(
        private readonly directory: TemporaryDirectory,
        private readonly namespace: string,
    ) {
        this.certificate = makeCertificate(directory, this.host);
    }

    public get entra(): Entra {
        return started(this.parts).entra;
    }

    public get roles(): Roles {
        return started(this.parts).roles;
    }

    public get containerUrl(): string {
        return `${this.roles.endpoint}/${this.container}`;
    }

    public async start(): Promise<void> {
        const { host, namespace, identities } = this;
        const [authority, certificate, key] = ["authority", "certificate", "key"].map((name) =>
            fs.readFileSync(this.certificate[name as keyof ServerCertificate], "utf8"),
        ) as [string, string, string];
        this.azurite = new TlsAzurite(host, await freePort(host), this.certificate);
        const [discovery, jwks] = await Promise.all(
            ["/.well-known/openid-configuration", "/openid/v1/jwks"].map((url) => kubectl("get", "--raw", url)),
        );
        const entra = new Entra({
            ...{ host, port: await freePort(host), key, certificate },
            issuer: (JSON.parse(discovery ?? "") as { readonly issuer: string }).issuer,
            jwks: JSON.parse(jwks ?? "") as KeySet,
            credentials: [
                { clientId: identities.build, subject: `system:serviceaccount:${namespace}:ke1-build` },
                { clientId: identities.launcher, subject: `system:serviceaccount:${namespace}:launcher` },
            ],
        });
        const roles = new Roles({
            ...{ host, port: await freePort(host), key, certificate, authority, store: this.azurite.endpoint },
        });
        this.parts = { entra, roles };
        await Promise.all([entra.start(), roles.start(), this.azurite.ready()]);
    }

    public async stop(): Promise<void> {
        await Promise.all([this.parts?.entra.stop(), this.parts?.roles.stop(), this.azurite?.stop()]);
    }

    /** A token of the cluster for a service account of the namespace. */
    public async serviceAccountToken(account: string, audience = exchangeAudience): Promise<string> {
        return (await kubectl("-n", this.namespace, "create", "token", account, "--audience", audience)).trim();
    }

    /** The environment of a process that is logged in with a service account's token, as the launcher's identity. */
    public async loginOf(account: string): Promise<NodeJS.ProcessEnv> {
        return {
            AZURE_STORAGE_CONNECTION_STRING: "",
            AZURE_STORAGE_KEY: "",
            AZURE_CLIENT_ID: this.identities.launcher,
            AZURE_TENANT_ID: this.entra.tenantId,
            AZURE_AUTHORITY_HOST: this.entra.authority,
            AZURE_FEDERATED_TOKEN_FILE: this.directory.file(`${account}.jwt`, await this.serviceAccountToken(account)),
            NODE_EXTRA_CA_CERTS: this.certificate.authority,
        };
    }

    /** The names and the contents of all blobs, read with the token that was given out last. */
    public async blobs(): Promise<ReadonlyMap<string, string>> {
        const token = this.entra.lastToken;
        const url = `${started(this.azurite).endpoint}/${this.container}`;
        const list = await this.get(`${url}?restype=container&comp=list`, token);
        const names = [...list.matchAll(/<Name>([^<]+)<\/Name>/g)].map((match) => match[1] ?? "");
        return new Map(
            await Promise.all(
                names.map(async (name) => [name, await this.get(`${url}/${name}`, token)] as [string, string]),
            ),
        );
    }

    private async get(url: string, token: string): Promise<string> {
        return new Promise((resolve, reject) => {
            const options = {
                ca: fs.readFileSync(this.certificate.authority),
                headers: { authorization: `Bearer ${token}`, "x-ms-version": "2024-11-04" },
            };
            https
                .get(url, options, (response) => {
                    text(response).then((content) => {
                        if (response.statusCode === 200) {
                            resolve(content);
                        } else {
                            reject(new Error(`${url}: ${response.statusCode} ${content}`));
                        }
                    }, reject);
                })
                .on("error", reject);
        });
    }
}

function started<T>(part: T | undefined): T {
    if (part === undefined) {
        throw new Error("it is not started");
    }
    return part;
}
