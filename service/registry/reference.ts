import { isConfidential } from "../../contract/address";
import { UserError } from "../../contract/errors";

/** An image's name, taken apart. */
export interface ImageReference {
    /** Host, and perhaps a port. */
    readonly registry: string;
    /** Without the registry. */
    readonly repository: string;
    readonly tag?: string;
    readonly digest?: string;
    /** Whether `http://` was written before it: spoken with a registry of this machine or a private network only. */
    readonly isPlain: boolean;
}

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const repositoryPattern = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;
export const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const registryPattern = /^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:\d{1,5})?$/;
export const digestPattern = /^sha256:[0-9a-f]{64}$/;

/** What `docker pull` takes a name without a host for. */
const dockerHub = "docker.io";

/**
 * Reads `[http://][registry/]repository[:tag][@digest]`, as Docker does: the first part is a registry when it has a dot or a
 * port in it, or is `localhost`.
 *
 * @throws UserError, one line
 */
export function parseReference(text: string): ImageReference {
    const [, scheme = "", rest = ""] = /^(https?:\/\/)?(.*)$/s.exec(text) ?? [];
    const [named = "", digest, ...more] = rest.split("@");
    const slash = named.indexOf("/");
    const first = slash < 0 ? "" : named.slice(0, slash);
    const hasRegistry = first === "localhost" || /[.:]/.test(first);
    const registry = hasRegistry ? first : dockerHub;
    const path = hasRegistry ? named.slice(slash + 1) : named;
    const colon = path.lastIndexOf(":");
    const name = colon < 0 ? path : path.slice(0, colon);
    const tag = colon < 0 ? undefined : path.slice(colon + 1);
    const repository = registry === dockerHub && !name.includes("/") ? `library/${name}` : name;
    if (
        more.length > 0 ||
        !registryPattern.test(registry) ||
        !repositoryPattern.test(repository) ||
        (tag !== undefined && !tagPattern.test(tag)) ||
        (digest !== undefined && !digestPattern.test(digest))
    ) {
        throw new UserError(
            `\`${text}\` is not an image; write it as registry/repository, with :tag or @sha256:… or none`,
        );
    }
    if (scheme === "http://" && !isConfidential(new URL(`http://${registry}`))) {
        throw new UserError(`${registry} is neither this machine nor a private address; leave http:// out`);
    }
    return {
        registry,
        repository,
        ...(tag === undefined ? {} : { tag }),
        ...(digest === undefined ? {} : { digest }),
        isPlain: scheme === "http://" || (scheme === "" && isLoopback(registry)),
    };
}

/** The name by which a cluster pulls it: by digest. */
export function pinned({ registry, repository }: ImageReference, digest: string): string {
    return `${registry}/${repository}@${digest}`;
}

/** As a person writes it. */
export function shownReference({ registry, repository, tag, digest }: ImageReference): string {
    return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** Where the registry's API is, without a slash at its end. */
export function registryUrl({ registry, isPlain }: ImageReference): string {
    const host = registry === dockerHub ? "registry-1.docker.io" : registry;
    return `${isPlain ? "http" : "https"}://${host}`;
}

/** Docker's own rule for registries that need no TLS. */
function isLoopback(registry: string): boolean {
    const { hostname } = new URL(`http://${registry}`);
    return hostname === "localhost" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
