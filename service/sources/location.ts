import { UserError } from "../../contract/errors";
import { shown } from "./treeWriter";

/** A source's address, taken apart. */
export type SourceLocation =
    | { readonly kind: "archive"; readonly url: URL; readonly credential?: Credential }
    | { readonly kind: "git"; readonly remote: URL; readonly credential?: Credential }
    | { readonly kind: "image"; readonly image: ImageName; readonly credential?: Credential }
    | { readonly kind: "data"; readonly content: Buffer }
    | { readonly kind: "upload"; readonly id: string }
    | { readonly kind: "directory"; readonly path: string };

/** Who one is to a host. */
export interface Credential {
    readonly username: string;
    readonly password: string;
}

/** `registry.example.com/org/repo:tag`. */
export interface ImageName {
    /** Host, and port where it has one. */
    readonly registry: string;
    readonly repository: string;
    /** A tag, or a digest. */
    readonly reference: string;
}

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const repositoryName = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagName = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const digest = /^sha256:[0-9a-f]{64}$/;
const registryHost = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:\d{1,5})?$/i;
const uploadId = /^[0-9a-f]{32}$/;
/** `user@host:path`, as ssh's addresses are mostly written. */
const sshShort = /^([\w.-]+)@([\w.-]+):(?!\/\/)([^\s]+)$/;
const wanted =
    "it must be an http or https address of an archive, a git address, docker://host/org/repo:tag, a data: URI, or upload:<id>";

/** A name, or an address: it becomes part of a command that git has a shell run. */
const gitHost = /^([a-z0-9]([-a-z0-9._]*[a-z0-9])?|\[[0-9a-f:.]+\])$/i;
/** What a git server's path may have in it: nothing that git or ssh would take for an option or a command. */
const gitPath = /^\/[\w.~+@%-][\w./~+@%-]*$/;

/**
 * @param ref says that it is a git repository, where the address alone does not
 * @throws UserError, one line, which does not have the address in it: there may be a credential in that.
 */
export function parseSource(text: string, ref = ""): SourceLocation {
    const upload = /^upload:(.*)$/s.exec(text)?.[1];
    if (upload !== undefined) {
        if (!uploadId.test(upload)) {
            throw new UserError(`the source upload:${shown(upload)} is not what an upload was answered with`);
        }
        return { kind: "upload", id: upload };
    }
    if (/^data:/i.test(text)) {
        return { kind: "data", content: dataOf(text) };
    }
    const short = text.includes("://") ? undefined : sshShort.exec(text);
    if (short) {
        return gitLocation(new URL(`ssh://${short[1] ?? ""}@${short[2] ?? ""}/${short[3] ?? ""}`));
    }
    if (!text.includes(":") || text.startsWith("/")) {
        if (text === "" || text.includes("\0")) {
            throw new UserError(`the source is missing; ${wanted}`);
        }
        return { kind: "directory", path: text };
    }
    const isGit = /^git\+/i.test(text);
    const plain = text.replace(/^git\+/i, "");
    if (!URL.canParse(plain)) {
        throw new UserError(`the source cannot be read as an address; ${wanted}`);
    }
    const url = new URL(plain);
    switch (url.protocol) {
        case "https:":
        case "http:":
            return isGit || ref !== "" || /\.git\/?$/.test(url.pathname) ? gitLocation(url) : archiveLocation(url);
        case "ssh:":
        case "git:":
            return gitLocation(url);
        case "docker:":
            return imageLocation(plain, url);
        default:
            throw new UserError(`the source begins with ${shown(url.protocol)}; ${wanted}`);
    }
}

/** What may be shown and stored of an address: without a user, a password, or what an address of a cloud's store is signed with. */
export function withoutCredential(text: string): string {
    if (!text.includes("://") || !URL.canParse(text)) {
        return text;
    }
    const shownAuthority = text.replace(/^([a-z+]+:\/\/)[^/?#]*@/i, (match, scheme: string) =>
        // To ssh a user is where one goes, not who one is.
        /^(git\+)?ssh:/i.test(text) && !match.slice(scheme.length).includes(":") ? match : scheme,
    );
    return shownAuthority.replace(/[?#].*$/s, "");
}

function archiveLocation(url: URL): SourceLocation {
    const credential = takeCredential(url);
    url.hash = "";
    return { kind: "archive", url, ...(credential ? { credential } : {}) };
}

function gitLocation(url: URL): SourceLocation {
    const isSsh = url.protocol === "ssh:";
    if (isSsh && url.password !== "") {
        throw new UserError("the source is an ssh address with a password in it; git has no use for one");
    }
    const credential = isSsh ? undefined : takeCredential(url);
    if (!gitHost.test(url.hostname) || !gitPath.test(url.pathname) || (isSsh && !/^[\w.-]*$/.test(url.username))) {
        throw new UserError("the source is no git address; it must be a host and a path of plain characters");
    }
    url.search = "";
    url.hash = "";
    return { kind: "git", remote: url, ...(credential ? { credential } : {}) };
}

function imageLocation(text: string, url: URL): SourceLocation {
    // The scheme is none that URL knows well: it leaves names as they are.
    const credential = takeCredential(url);
    const image = parseImageName(text.replace(/^docker:\/\/([^/]*@)?/i, ""));
    return { kind: "image", image, ...(credential ? { credential } : {}) };
}

/** @throws UserError, one line, for what is no image's name with its registry's host. */
export function parseImageName(text: string): ImageName {
    const [, registry = "", repository = "", reference = "latest"] =
        /^([^/]+)\/([^:@]+)(?:[:@](.+))?$/s.exec(text) ?? [];
    const byDigest = /^(?:[^@]*@)?(sha256:.*)$/s.exec(reference)?.[1] ?? reference;
    if (
        !registryHost.test(registry) ||
        !repositoryName.test(repository) ||
        (!tagName.test(byDigest) && !digest.test(byDigest))
    ) {
        throw new UserError(
            `${shown(text)} is no image; it must be host/org/repo:tag, as docker.io/library/busybox:1.37`,
        );
    }
    return { registry: registry.toLowerCase(), repository, reference: byDigest };
}

function takeCredential(url: URL): Credential | undefined {
    if (url.username === "" && url.password === "") {
        return undefined;
    }
    const credential = { username: decoded(url.username), password: decoded(url.password) };
    url.username = "";
    url.password = "";
    return credential;
}

function decoded(text: string): string {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}

/** RFC 2397, and `data:base64,` without a media type's comma, as the build shuttle's clients write it. */
function dataOf(text: string): Buffer {
    const [, head = "", content = ""] = /^data:([^,]*),(.*)$/is.exec(text) ?? [];
    if (!/(^|;)base64$/i.test(head)) {
        throw new UserError("the source is a data: URI that is not base64; it must be data:;base64,<an archive>");
    }
    const compact = content.replace(/%2b/gi, "+").replace(/%2f/gi, "/").replace(/%3d/gi, "=").replace(/\s+/g, "");
    if (compact === "" || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(compact)) {
        throw new UserError("the source is a data: URI whose content is not base64");
    }
    return Buffer.from(compact, "base64");
}
