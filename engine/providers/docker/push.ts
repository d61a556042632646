import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../../../contract/errors";
import type { CallContext } from "../provider";
import type { RegistryCredential } from "./credentials";
import { type DockerDaemon, encodeCredential } from "./daemon";

/** Milliseconds before the second try of a push, and before each that follows. */
const delays: readonly number[] = [500, 1000, 2000, 4000];

/**
 * What the daemon says where the registry itself failed, or has too much to do. It tries layers again, but not the
 * manifest; and a registry that keeps its data in files, as the platform's, fails so where two push one tag at once.
 */
const mayPass = /received unexpected HTTP status: (5\d\d|429)\b/;

/**
 * Pushes an image of the daemon's store, and again where the registry failed.
 *
 * @returns `<repository>@sha256:<hex>`, as the registry has confirmed it.
 */
export async function pushImage(
    context: CallContext,
    daemon: DockerDaemon,
    name: string,
    credential: RegistryCredential,
): Promise<string> {
    const { repository, tag } = parseImageName(name);
    for (let attempt = 0; ; attempt++) {
        try {
            context.log("info", `pushing ${name}`, true);
            return `${normalizedRepository(repository)}@${await pushOnce(context, daemon, repository, tag, credential)}`;
        } catch (error) {
            const { message } = error as Error;
            const delay = mayPass.test(message) ? delays[attempt] : undefined;
            if (delay === undefined || context.signal.aborted) {
                throw new Error(`The image ${name} could not be pushed: ${message}`, { cause: error });
            }
            context.log("info", `${message}: pushing again in ${delay / 1000} s`, true);
            // An interruption is said by the try that follows, in the daemon's client's words.
            await sleep(delay, undefined, { signal: context.signal }).catch(() => undefined);
        }
    }
}

/** @returns the digest, `sha256:<hex>`. */
async function pushOnce(
    context: CallContext,
    daemon: DockerDaemon,
    repository: string,
    tag: string,
    credential: RegistryCredential,
): Promise<string> {
    let digest: string | undefined;
    await daemon.follow(
        `/images/${repository}/push`,
        { tag },
        {
            headers: { "X-Registry-Auth": encodeCredential(credential) },
            signal: context.signal,
            onMessage: ({ aux, status, id }) => {
                const pushed = (aux as { readonly Digest?: string } | undefined)?.Digest;
                digest = pushed ?? digest;
                if (status !== undefined) {
                    context.log("info", id === undefined ? status : `${id}: ${status}`, true);
                }
            },
        },
    );
    if (digest === undefined) {
        throw new Error("the registry has not said which digest it has");
    }
    return digest;
}

function parseImageName(name: string): { readonly repository: string; readonly tag: string } {
    if (name.includes("@")) {
        throw new UserError(`The image name ${name} has a digest; it must have a tag, or nothing.`);
    }
    const [, repository = name, tag = "latest"] = /^(.*?)(?::([\w][\w.-]{0,127}))?$/.exec(name) ?? [];
    return { repository, tag };
}

/** As Docker writes names in full: `docker.io/library/ubuntu`. */
function normalizedRepository(repository: string): string {
    const parts = repository.split("/");
    const hasHost = parts.length > 1 && /[.:]|^localhost$/.test(parts[0] ?? "");
    const path = hasHost ? parts.slice(1) : parts;
    const host = hasHost ? parts[0] : "docker.io";
    return [host, ...(host === "docker.io" && path.length === 1 ? ["library"] : []), ...path].join("/");
}
