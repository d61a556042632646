import type { TokenCredential } from "@azure/identity";

import { messageOf, UserError } from "../contract/errors";

/**
 * The Azure login of the person or process that runs this, for one store: what DefaultAzureCredential finds first in the
 * environment (CI, a pod), or `az login` (https://aka.ms/azsdk/js/identity/credential-chains#defaultazurecredential-overview).
 * The login's library is loaded when a token is needed, and not before: no other store needs it.
 */
export function azureLogin(endpoint: string): TokenCredential {
    let credential: Promise<TokenCredential> | undefined;
    return {
        getToken: async (scopes, options) => {
            credential ??= load();
            try {
                return await (await credential).getToken(scopes, options);
            } catch (error) {
                throw explained(error, endpoint);
            }
        },
    };
}

async function load(): Promise<TokenCredential> {
    const { DefaultAzureCredential } = await import("@azure/identity");
    return new DefaultAzureCredential({
        // Who names an authority of their own vouches for it: Microsoft's list of authorities does not know all of them.
        disableInstanceDiscovery: Boolean(process.env["AZURE_AUTHORITY_HOST"]),
    });
}

/** The library's many lines as one that says what to do. */
function explained(error: unknown, endpoint: string): unknown {
    const entra = /AADSTS\d+:.*?(?=\s*(Trace ID:|[\r\n]|$))/.exec(messageOf(error))?.[0];
    if (entra !== undefined) {
        return new UserError(`Entra gives no token for ${endpoint}: ${entra}`);
    }
    const unavailable = ["CredentialUnavailableError", "AggregateAuthenticationError", "AuthenticationRequiredError"];
    if (error instanceof Error && unavailable.includes(error.name)) {
        return new UserError(`there is no login to Azure, which ${endpoint} needs: run \`az login\``);
    }
    return error;
}
