import { UserError } from "../../contract/errors";
import type { FindCredential } from "../registry/authorization";
import { RepositoryClient } from "../registry/client";
import { copyImage } from "../registry/copy";
import type { ImageReference } from "../registry/reference";
import { parseReference, shownReference } from "../registry/reference";

/** An image that is to be released. */
export interface PlannedImage {
    /** What it is asked for by at its registry: by digest. */
    readonly digest: string;
    /** As a person writes it. */
    readonly source: string;
    /** With its tag. */
    readonly destination: string;
    readonly from: RepositoryClient;
    readonly to: RepositoryClient;
    readonly tag: string;
}

export interface PushedImage {
    readonly source: string;
    readonly destination: string;
    readonly digest: string;
    /** Whether the destination was so already. */
    readonly unchanged: boolean;
    readonly bytes: number;
}

/**
 * Reads `DESTINATION` (of the build's image) and `SOURCE=DESTINATION`.
 *
 * @param tag what a destination without a tag gets
 * @throws UserError, one line
 */
export function planImages(given: readonly string[], ofBuild: string, tag: string, credentials: FindCredential) {
    return given.map((text) => {
        const names = text.split("=");
        const [source, destination] = names.length > 1 ? names : [ofBuild, names[0]];
        if (names.length > 2 || !source || !destination) {
            throw new UserError(`--image must be DESTINATION or SOURCE=DESTINATION, not ${text}`);
        }
        const from = parseReference(source);
        const to: ImageReference = { tag: imageTag(tag), ...parseReference(destination) };
        if (to.digest !== undefined) {
            throw new UserError(`${destination} is a destination by digest; give it a tag, or none`);
        }
        const client = new RepositoryClient(from, credentials);
        return {
            resolve: async (): Promise<PlannedImage> => ({
                // A tag may be set anew meanwhile: from here on, it is this image.
                digest: from.digest ?? (await resolved(client, from)),
                source: shownReference(from),
                destination: shownReference(to),
                from: client,
                to: new RepositoryClient(to, credentials),
                tag: to.tag ?? "latest",
            }),
        };
    });
}

/** Copies images to where they are released, byte for byte. */
export async function pushImages(
    images: readonly PlannedImage[],
    { replace, say }: { readonly replace: boolean; readonly say: (line: string) => void },
): Promise<readonly PushedImage[]> {
    const pushed: PushedImage[] = [];
    for (const { from, to, digest, source, destination, tag } of images) {
        const result = await copyImage(from, to, digest, { tags: [tag], replace });
        const { copied, mounted, there } = result.blobs;
        say(`${destination}: ${digest} (${copied} layers copied, ${mounted} mounted, ${there} there already)`);
        pushed.push({ source, destination, digest, unchanged: result.tagged.length === 0, bytes: result.bytes });
    }
    return pushed;
}

async function resolved(client: RepositoryClient, reference: ImageReference): Promise<string> {
    const digest = await client.digestOf(reference.tag ?? "latest");
    if (digest === undefined) {
        throw new UserError(`there is no image ${shownReference(reference)}`);
    }
    return digest;
}

/** A version may have a `+`, and a git tag a `/`: the tag of an image has neither. */
function imageTag(tag: string): string {
    return tag.replace(/[^A-Za-z0-9_.-]/g, "-").slice(0, 128);
}
