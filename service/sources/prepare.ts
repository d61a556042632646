import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import { AddressGuard, type Resolve } from "./addresses";
import { archiveKind, unpackArchive } from "./archive";
import { sizeText } from "./byteLimit";
import { cloneRepository } from "./git";
import { GuardedClient, saveBody } from "./http";
import { unpackImage } from "./image";
import { type Credential, parseSource } from "./location";
import type { SourceLimits, SourcePolicy } from "./policy";
import { shown } from "./treeWriter";
import type { Uploads } from "./uploads";

/** A source that can be built. */
export interface ReadySource {
    /** Where it is: the directory that was asked for, or that of this machine which the source names. */
    readonly directory: string;
    /** The commit of a repository. */
    readonly commit?: string;
    /** What the stack's `buildTag` should be: the tag or commit that was asked for; empty for what HEAD is. */
    readonly buildTag: string;
    /** The archive as it was received. */
    readonly archive?: string;
}

export interface SourceTools {
    readonly limits: SourceLimits;
    readonly policy: SourcePolicy;
    /** Uploaded archives; absent where there are none. */
    readonly uploads?: Uploads;
    readonly signal?: AbortSignal;
    /** Instead of the system's. */
    readonly resolve?: Resolve;
    /** For a source whose address has none: for example a registry's login that came beside it. */
    readonly credential?: Credential;
}

/**
 * Makes the source of a build ready in a directory, which must not be there yet: a working copy of a git repository, or the
 * tree of an archive or image. An archive is kept beside it, as `<directory>.archive`.
 *
 * @throws UserError, one line without any credential, where there is no such source, it is too large, or is refused.
 */
export async function prepareSource(
    source: string,
    ref: string,
    directory: string,
    tools: SourceTools,
): Promise<ReadySource> {
    const { limits, policy } = tools;
    const timeout = AbortSignal.timeout(limits.seconds * 1000);
    const signal = tools.signal ? AbortSignal.any([tools.signal, timeout]) : timeout;
    fs.mkdirSync(path.dirname(directory), { recursive: true, mode: 0o700 });
    const archive = `${directory}.archive`;
    for (const stale of [directory, archive]) {
        fs.rmSync(stale, { recursive: true, force: true });
    }
    const guard = new AddressGuard(policy.allowSources, tools.resolve);
    const client = new GuardedClient(guard);
    const location = parseSource(source, ref);
    try {
        switch (location.kind) {
            case "directory":
                return localDirectory(location.path, ref, policy);
            case "git": {
                const copy = await cloneRepository(location.remote, ref, directory, {
                    guard,
                    limits,
                    credential: location.credential ?? tools.credential,
                    signal,
                });
                return { directory, commit: copy.commit, buildTag: copy.tag ?? "" };
            }
            case "image":
                refuseRef(ref, "an image");
                await unpackImage(
                    client,
                    location.image,
                    location.credential ?? tools.credential,
                    directory,
                    limits,
                    signal,
                );
                return { directory, buildTag: "" };
            case "archive":
                await download(client, location.url, location.credential ?? tools.credential, archive, limits, signal);
                break;
            case "upload":
                if (!tools.uploads) {
                    throw new UserError("there are no uploads here; give the source's address");
                }
                fs.copyFileSync(tools.uploads.find(location.id), archive, fs.constants.COPYFILE_FICLONE);
                break;
            case "data":
                if (location.content.length > limits.archiveBytes) {
                    throw new UserError(
                        `the source is larger than ${sizeText(limits.archiveBytes)}, which is the most that a source may be`,
                    );
                }
                fs.writeFileSync(archive, location.content, { mode: 0o600 });
                break;
        }
        refuseRef(ref, "an archive");
        archiveKind(archive);
        await unpackArchive(archive, directory, limits, signal);
        return { directory, buildTag: "", archive };
    } catch (error) {
        fs.rmSync(directory, { recursive: true, force: true });
        if (timeout.aborted && !tools.signal?.aborted) {
            throw new UserError(
                `the source was not there after ${limits.seconds} seconds, which is the most that it may take`,
            );
        }
        throw error;
    } finally {
        await client.close();
    }
}

function localDirectory(name: string, ref: string, policy: SourcePolicy): ReadySource {
    if (!policy.localSources) {
        throw new UserError(
            "the source is a directory of the service's machine, which is not allowed here; give an address",
        );
    }
    if (!path.isAbsolute(name)) {
        throw new UserError(`the source ${shown(name)} is a relative directory; give the whole path`);
    }
    if (!fs.statSync(name, { throwIfNoEntry: false })?.isDirectory()) {
        throw new UserError(`there is no directory ${shown(name)}`);
    }
    return { directory: name, buildTag: ref };
}

function refuseRef(ref: string, what: string): void {
    if (ref !== "") {
        throw new UserError(`ref is ${shown(ref)}, and the source is ${what}, which has none; leave it out`);
    }
}

async function download(
    client: GuardedClient,
    url: URL,
    credential: Credential | undefined,
    file: string,
    limits: SourceLimits,
    signal: AbortSignal,
): Promise<void> {
    const authorization =
        credential && `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString("base64")}`;
    const answer = await client.ask(url, { signal, authorization });
    if (answer.status !== 200) {
        answer.body.resume();
        const hint = answer.status === 401 || answer.status === 403 ? ": it wants a credential, or another one" : "";
        throw new UserError(`${url.host} answered HTTP ${answer.status} for the source${hint}`);
    }
    await saveBody(answer, file, limits.archiveBytes, "the archive", signal);
}
