import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import type { BuildSecrets } from "../build";
import type { SourceProvider } from "../sourceProvider";
import { refuseRepository } from "../sources/archive";
import { Clone } from "./clone";
import type { WatchedRepository } from "./repository";

/** What the queue keeps for the watcher beside a request. In the secrets, because no caller of the service can set these. */
const secretName = "watch";

interface FromClone {
    readonly address: string;
    readonly local: boolean;
    readonly directory: string;
    readonly commit: string;
    readonly clones: string;
}

/** Says that a build's source is a commit of a clone. */
export function cloneSecret(repository: WatchedRepository, clone: Clone, commit: string): BuildSecrets {
    const { address, local, directory } = repository;
    const from: FromClone = { address, local, directory, commit, clones: path.dirname(clone.directory) };
    return { [secretName]: JSON.stringify(from) };
}

/** Makes working copies of what a watcher has fetched; all else is for the next provider. */
export function watchedSources(next: SourceProvider): SourceProvider {
    return async (request, secrets, directory, signal) => {
        const secret = secrets[secretName];
        if (secret === undefined) {
            return next(request, secrets, directory, signal);
        }
        const from = JSON.parse(secret) as FromClone;
        const clone = new Clone(from.clones, from);
        await clone.checkOut(from.commit, directory, signal);
        if (request.ref !== undefined && request.ref !== from.commit) {
            await clone.tag(directory, request.ref, from.commit);
        }
        refuseRepositories(directory, from.directory);
        return { directory: path.join(directory, from.directory), ref: request.ref ?? from.commit };
    };
}

/** Git looks for a repository in a directory, and in all above it, before it comes to the working copy's own `.git`. */
function refuseRepositories(top: string, inside: string): void {
    const named = path.join(top, inside);
    // A commit may have no such directory, or a file of its name: that is told of later, as for any source.
    if (!fs.statSync(named, { throwIfNoEntry: false })?.isDirectory()) {
        return;
    }
    const [root, real] = [fs.realpathSync(top), fs.realpathSync(named)];
    if (real !== root && !real.startsWith(root + path.sep)) {
        throw new UserError(`the directory ${inside} of the repository is a link that leads out of it`);
    }
    for (let directory = real; directory !== root; directory = path.dirname(directory)) {
        refuseRepository(directory);
    }
}
