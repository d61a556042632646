import * as fs from "node:fs";

import { UserError } from "../../contract/errors";
import { portOf, unbracketed } from "./addresses";
import type { AddressGuard } from "./addresses";
import { sizeText } from "./byteLimit";
import { runGit } from "./gitProcess";
import type { Credential } from "./location";
import type { SourceLimits } from "./policy";
import { linkTarget, shown } from "./treeWriter";

/** A working copy of one commit. */
export interface WorkingCopy {
    readonly commit: string;
    /** The tag that was asked for; absent for a branch or a commit. */
    readonly tag?: string;
    readonly branch?: string;
}

const fullHash = /^[0-9a-f]{40}([0-9a-f]{24})?$/;
const someHash = /^[0-9a-f]{7,64}$/;
/** git-check-ref-format, and nothing that begins like an option. */
const refName = /^(?![-/.])(?!.*(\.\.|@\{|\/\/|\/\.|\.lock(\/|$)))[^\u0000-\u0020\u007f~^:?*[\\]+(?<![/.])$/;

/**
 * Makes a working copy of a branch, tag or commit of a remote repository, with as little history as the server gives.
 * git gets no configuration but this, no way to ask, no hooks, no submodules, no redirects; and it connects to the address
 * that was checked.
 *
 * @param ref empty for what the server's HEAD is
 */
export async function cloneRepository(
    remote: URL,
    ref: string,
    directory: string,
    {
        guard,
        limits,
        credential,
        signal,
    }: {
        readonly guard: AddressGuard;
        readonly limits: SourceLimits;
        readonly credential?: Credential;
        readonly signal: AbortSignal;
    },
): Promise<WorkingCopy> {
    if (ref !== "" && !refName.test(ref)) {
        throw new UserError(`ref must be a branch, a tag or a commit; it is ${shown(ref)}`);
    }
    const connection = await connectionTo(remote, guard, credential);
    fs.mkdirSync(directory, { mode: 0o755 });
    const git = async (...args: readonly string[]) => {
        const { status, stdout, stderr } = await runGit(args, directory, connection.configuration, limits, signal);
        if (status !== 0) {
            throw new UserError(explained(remote, stderr, limits));
        }
        return stdout;
    };
    await git("init", "--quiet", "--initial-branch=main");
    await git("remote", "add", "origin", remote.href);
    const asked = await findRef(ref, connection.address, git);
    const fetchOptions = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
    const target = "refs/ke1/source";
    if (asked.name !== undefined) {
        const also = asked.tag === undefined ? [] : [`+${asked.name}:${asked.name}`];
        await git(...fetchOptions, "--depth=1", connection.address, `+${asked.name}:${target}`, ...also);
    } else if (
        fullHash.test(ref) &&
        (await succeeds(git(...fetchOptions, "--depth=1", connection.address, `+${ref}:${target}`), signal))
    ) {
        // Most servers give any commit that a branch or tag leads to.
    } else {
        await git(
            ...fetchOptions,
            connection.address,
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*",
        );
        await git("update-ref", target, `${ref}^{commit}`).catch((error: unknown) => {
            throw signal.aborted
                ? error
                : new UserError(`${remote.host} has no branch, tag or commit ${shown(ref)} in ${remote.pathname}`);
        });
    }
    const commit = (await git("rev-parse", `${target}^{commit}`)).trim();
    const listing = await git("ls-tree", "-r", "-l", "-z", "--full-tree", commit);
    checkTree(listing, limits);
    await checkLinks(listing, (id) => git("cat-file", "blob", id));
    await git("checkout", "--quiet", "--detach", "--no-recurse-submodules", commit);
    return {
        commit,
        ...(asked.tag === undefined ? {} : { tag: asked.tag }),
        ...(asked.branch === undefined ? {} : { branch: asked.branch }),
    };
}

interface Found {
    /** The full name; absent where the server has none of that name, so that it may be a commit. */
    readonly name?: string;
    readonly tag?: string;
    readonly branch?: string;
}

async function findRef(
    ref: string,
    address: string,
    git: (...args: readonly string[]) => Promise<string>,
): Promise<Found> {
    if (fullHash.test(ref)) {
        return {};
    }
    const listed = await git(
        "ls-remote",
        "--quiet",
        address,
        ...(ref === "" ? ["HEAD"] : [`refs/tags/${ref}`, `refs/heads/${ref}`, ref]),
    );
    const names = new Set(listed.split("\n").map((line) => line.split("\t")[1] ?? ""));
    if (ref === "") {
        if (!names.has("HEAD")) {
            throw new UserError("the repository has no commit yet, or no HEAD; name a branch, tag or commit as ref");
        }
        return { name: "HEAD" };
    }
    const plain = ref.replace(/^refs\/(heads|tags)\//, "");
    const tag = ref.startsWith("refs/heads/") ? undefined : `refs/tags/${plain}`;
    const branch = ref.startsWith("refs/tags/") ? undefined : `refs/heads/${plain}`;
    if (tag !== undefined && names.has(tag)) {
        return { name: tag, tag: plain };
    }
    if (branch !== undefined && names.has(branch)) {
        return { name: branch, branch: plain };
    }
    if (!someHash.test(ref)) {
        throw new UserError(`the repository has no branch or tag ${shown(ref)}`);
    }
    return {};
}

interface Connection {
    /** What git is given: for git:// with the address in it, as nothing else can be told which one to use. */
    readonly address: string;
    /** Names and values. In git's environment, so that neither a list of processes nor the working copy shows a credential. */
    readonly configuration: readonly (readonly [string, string])[];
}

async function connectionTo(remote: URL, guard: AddressGuard, credential: Credential | undefined): Promise<Connection> {
    const isHttp = remote.protocol === "https:" || remote.protocol === "http:";
    const port = isHttp ? portOf(remote) : remote.port || (remote.protocol === "ssh:" ? "22" : "9418");
    const [first] = await guard.resolve(remote.hostname, port);
    const address = first?.address ?? "";
    const bracketed = first?.family === 6 ? `[${address}]` : address;
    if (isHttp) {
        const basic = credential && Buffer.from(`${credential.username}:${credential.password}`).toString("base64");
        return {
            address: remote.href,
            configuration: [
                ["http.curloptResolve", `${unbracketed(remote.hostname)}:${port}:${bracketed}`],
                ["http.followRedirects", "false"],
                ["http.proxy", ""],
                ...(basic === undefined
                    ? []
                    : [[`http.${remote.origin}/.extraHeader`, `Authorization: Basic ${basic}`] as const]),
            ],
        };
    }
    if (remote.protocol === "git:") {
        const numeric = new URL(remote.href);
        numeric.hostname = bracketed;
        return { address: numeric.href, configuration: [] };
    }
    const options = {
        HostName: address,
        // As its key is known by: it is not looked for under the address.
        HostKeyAlias: port === "22" ? unbracketed(remote.hostname) : `[${unbracketed(remote.hostname)}]:${port}`,
        StrictHostKeyChecking: "yes",
        BatchMode: "yes",
        ProxyCommand: "none",
        ProxyJump: "none",
        PermitLocalCommand: "no",
        ForwardAgent: "no",
    };
    const command = Object.entries(options).map(([key, value]) => `-o '${key}=${value}'`);
    return { address: remote.href, configuration: [["core.sshCommand", `ssh ${command.join(" ")}`]] };
}

/** How much there is, before it is written out: a small pack can hold very much. */
function checkTree(listing: string, limits: SourceLimits): void {
    let bytes = 0;
    const entries = listing.split("\0").filter((entry) => entry !== "");
    if (entries.length > limits.files) {
        throw new UserError(`the source has ${entries.length} files, which is more than ${limits.files}`);
    }
    for (const entry of entries) {
        bytes += Number(/^\d+ \w+ [0-9a-f]+ +(\d+)\t/.exec(entry)?.[1] ?? 0);
    }
    if (bytes > limits.unpackedBytes) {
        throw new UserError(
            `the source is larger than ${sizeText(limits.unpackedBytes)}, which is the most that a source may be`,
        );
    }
}

async function checkLinks(listing: string, read: (id: string) => Promise<string>): Promise<void> {
    for (const entry of listing.split("\0")) {
        const [, id, name] = /^120000 blob ([0-9a-f]+) +\d+\t(.*)$/s.exec(entry) ?? [];
        if (id === undefined || name === undefined) {
            continue;
        }
        const target = await read(id);
        if (linkTarget(name, target) !== target) {
            throw new UserError(`the source has a link that leads out of it: ${shown(name)} to ${shown(target)}`);
        }
    }
}

async function succeeds(work: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
    try {
        await work;
        return true;
    } catch (error) {
        if (signal.aborted) {
            throw error;
        }
        return false;
    }
}

/** One line, without what the server may have echoed of the address. */
function explained(remote: URL, stderr: string, limits: SourceLimits): string {
    const where = `${remote.host}${remote.pathname}`;
    if (/File size limit exceeded|File too large|signal 25/.test(stderr)) {
        return `what ${where} sends is larger than ${sizeText(limits.archiveBytes)}, which is the most that a source may be`;
    }
    if (
        /Authentication failed|could not read (Username|Password)|terminal prompts disabled|Permission denied|error: 40[13]/.test(
            stderr,
        )
    ) {
        return `${where} wants a credential, or another one: put it into the address (https://user:token@host/path), or leave it out`;
    }
    if (/Host key verification failed/.test(stderr)) {
        return `the service's user does not know the key of ${remote.host}: add it to its known_hosts, once it is known to be right`;
    }
    if (/unable to update url base from redirection|redirect|error: 30\d/.test(stderr)) {
        return `${where} redirects, which git is not to follow here; give the address that it redirects to`;
    }
    if (/not found|does not exist|does not appear to be a git repository|error: 404/i.test(stderr)) {
        return `there is no git repository at ${where}`;
    }
    const line = stderr.split("\n").find((text) => /^(fatal|error|ssh):/.test(text)) ?? stderr.split("\n")[0] ?? "";
    return `git could not get ${where}: ${shown(line.replace(/^(fatal|error|ssh): /, "").replace(/\/\/[^@/\s]*@/g, "//"))}`;
}
