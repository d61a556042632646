import type { BuildRequest, BuildSecrets } from "../build";
import { isImageSource } from "../triggers/imageSource";
import { parseSource, withoutCredential } from "./location";

/**
 * A request as it may be stored and shown: what is secret in the source's address, a user, a password, what a cloud's store
 * signs addresses with, is with the secrets instead. So is a `data:` URI, which is an archive rather than an address.
 *
 * @throws UserError where the source can never be had
 */
export function takeIn(
    request: BuildRequest,
    secrets: BuildSecrets,
): { readonly request: BuildRequest; readonly secrets: BuildSecrets } {
    if (isImageSource(request.source)) {
        return { request, secrets };
    }
    const { kind } = parseSource(request.source, request.ref);
    const source = kind === "data" ? "data:" : withoutCredential(request.source);
    return source === request.source
        ? { request, secrets }
        : { request: { ...request, source }, secrets: { ...secrets, [sourceSecret]: request.source } };
}

/** The source's address with all that was in it. */
const sourceSecret = "source";

export function wholeSource(request: BuildRequest, secrets: BuildSecrets): string {
    return secrets[sourceSecret] ?? request.source;
}
