import * as path from "node:path";

import type { BuildSecrets } from "../build";
import type { SourceProvider } from "../sourceProvider";
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
        return { directory: path.join(directory, from.directory), ref: request.ref ?? from.commit };
    };
}
