import { createHash } from "node:crypto";

import { isConfidential } from "../contract/address";
import { UserError } from "../contract/errors";

/** The port of each transport where an address names none. */
export const gitPorts: Readonly<Record<string, number>> = { "https:": 443, "http:": 80, "ssh:": 22, "git:": 9418 };

/** `user@host:path`, as ssh's addresses are mostly written (https://git-scm.com/docs/git-clone#_git_urls). */
const shortForm = /^(?:([\w.-]+)@)?([\w.-]+):(?!\/\/)(.+)$/;
/** What a host and a path may be made of: nothing that a shell, a line of a list, or git would read as something else. */
const host = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/i;
const repositoryPath = /^\/[\w.~+@%-][\w./~+@%-]*$/;

/**
 * The address of a repository as pods reach it, in one form: `ssh://user@host/path` for `user@host:path`, and without the
 * user of an https address, who is in the Secret.
 *
 * @param setting who says so, for the message
 * @throws UserError, one line: a path of this machine, a password, a transport that git's servers do not have, or one that
 * anybody on the way could listen to or change.
 */
export function parseRemote(text: string, setting: string): string {
    const short = /^[a-z+]+:\/\//i.test(text) || text.startsWith("/") ? undefined : shortForm.exec(text);
    const written = short ? `ssh://${short[1] ? `${short[1]}@` : ""}${short[2] ?? ""}/${short[3] ?? ""}` : text;
    const url = URL.canParse(written) ? new URL(written) : undefined;
    if (!url || gitPorts[url.protocol] === undefined) {
        throw new UserError(
            `${setting} must be an https, ssh or git address that pods can reach, such as ` +
                `https://github.com/kerbodyne/ke-1.git; it is \`${text.replace(/\/\/[^@/]*@/, "//")}\``,
        );
    }
    if (url.password !== "") {
        throw new UserError(`${setting} has a password in it; put it in a Secret, and set mirrorSecret to its name`);
    }
    if (!host.test(url.hostname) || !repositoryPath.test(url.pathname) || url.search !== "" || url.hash !== "") {
        throw new UserError(`${setting} must be a host and a path of plain characters; it is \`${text}\``);
    }
    if (url.protocol !== "ssh:" && !isConfidential(new URL(written.replace(/^git:/i, "http:")))) {
        throw new UserError(
            `${setting} must begin with https:// or ssh://, as ${url.host} is not in a private network`,
        );
    }
    if (url.protocol !== "ssh:") {
        url.username = "";
    }
    return url.href.replace(/\/+$/, "");
}

/** Where a credential for an http or https address is sent to; undefined for other addresses. */
export function originOf(remote: string): string | undefined {
    const { protocol, host: where } = new URL(remote);
    return protocol === "https:" || protocol === "http:" ? `${protocol}//${where}` : undefined;
}

/** The name of a repository's mirror: one that a person knows it by, and of no other repository. */
export function mirrorName(remote: string): string {
    const { hostname, pathname } = new URL(remote);
    const readable = `${hostname}${pathname}`
        .toLowerCase()
        .replace(/\.git$/, "")
        .replace(/[^a-z0-9.]+/g, "-")
        .replace(/^[-.]+/, "")
        .slice(0, 60);
    return `${readable}-${createHash("sha256").update(remote).digest("hex").slice(0, 8)}.git`;
}
