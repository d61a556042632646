import * as fs from "node:fs";
import * as path from "node:path";

import type { BuildRequest, BuildSecrets } from "../build";
import { ownRegistryKeys, pullCredential, pushCredential } from "../imageRequest";
import type { ServiceSettings } from "../settings";
import type { PreparedSource, SourceProvider } from "../sourceProvider";
import { AddressGuard, unbracketed } from "./addresses";
import { GuardedClient } from "./http";
import { copyImage } from "./image";
import { wholeSource } from "./intake";
import { type ImageName, parseImageName, parseSource } from "./location";
import { defaultSourceLimits } from "./policy";
import { prepareSource } from "./prepare";
import { Uploads } from "./uploads";

/** What of the stacks' own configuration matters here. */
export interface OwnRegistry {
    /** Host, and perhaps the beginning of the repositories' names. */
    readonly registry: string;
    readonly imageName: string;
}

/** All forms of sources that a service takes; those of this machine only where it is told to. */
export function serviceSources(
    settings: Pick<ServiceSettings, "dataDirectory" | "allowSources" | "localSources">,
    own: OwnRegistry,
): SourceProvider {
    // Before the first build, so that a mistake is said when the service starts.
    const guard = new AddressGuard(settings.allowSources);
    return async (request, secrets, directory, signal) => {
        await checkTarget(request, guard);
        const source = wholeSource(request, secrets);
        const location = parseSource(source, request.ref);
        if (request.kind === "image" && location.kind === "image") {
            return takeOver(request, secrets, location, own, settings.allowSources, directory, signal);
        }
        const prepared = await prepareSource(source, request.ref ?? "", directory, {
            limits: defaultSourceLimits,
            policy: settings,
            uploads: new Uploads(uploadsDirectory(settings)),
            signal,
            credential: location.kind === "image" ? pullCredential(secrets) : undefined,
        });
        return { directory: prepared.directory, ref: prepared.buildTag };
    };
}

export function uploadsDirectory({ dataDirectory }: Pick<ServiceSettings, "dataDirectory">): string {
    return path.join(dataDirectory, "uploads");
}

/**
 * Whoever asks says where the image is pushed to: that is an address like any other. Where Docker pushes, it looks up the name
 * anew, so that this is judged of the name, and not of what is connected to (docs/service.md).
 */
async function checkTarget({ config }: BuildRequest, guard: AddressGuard): Promise<void> {
    const { registry } = config;
    if (typeof registry === "string") {
        const [host = "", port = "443"] = (registry.split("/", 1)[0] ?? "").split(":");
        await guard.resolve(host === "docker.io" ? "registry-1.docker.io" : unbracketed(host), port);
    }
}

/** An image that is there already is not built: it is copied, as it is, under the name that was asked for. */
async function takeOver(
    request: BuildRequest,
    secrets: BuildSecrets,
    { image, credential }: { readonly image: ImageName; readonly credential?: { username: string; password: string } },
    own: OwnRegistry,
    allowSources: readonly string[],
    directory: string,
    signal: AbortSignal,
): Promise<PreparedSource> {
    const { registry = own.registry, imageName = own.imageName, imageTags } = request.config;
    const isOwn = request.config["registry"] === undefined;
    const target = parseImageName(`${String(registry)}/${String(imageName)}`);
    const tags =
        Array.isArray(imageTags) && imageTags.length > 0
            ? imageTags.map(String)
            : [image.reference.replace(/^sha256:/, "")];
    // Where the service's own registry is reached as the target, it is not thereby a source.
    const from = new GuardedClient(new AddressGuard(allowSources));
    const to = new GuardedClient(new AddressGuard(isOwn ? [...allowSources, target.registry] : allowSources));
    try {
        const digest = await copyImage(
            { client: from, image, credential: credential ?? pullCredential(secrets) },
            { client: to, image: target, credential: pushCredential(secrets), tags },
            path.dirname(directory),
            defaultSourceLimits,
            signal,
        );
        const reference = `${target.registry}/${target.repository}@${digest}`;
        fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
        // The tree that the build is named by.
        fs.writeFileSync(path.join(directory, "image"), `${reference}\n`);
        const config = Object.fromEntries(ownRegistryKeys.map((key) => [key, undefined]));
        return { directory, ref: "", config: { ...config, imageTags: [], image: reference } };
    } finally {
        await Promise.all([from.close(), to.close()]);
    }
}
