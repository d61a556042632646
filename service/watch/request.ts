import { buildTagPattern } from "../../contract/layout";
import type { BuildRequest } from "../build";
import { isBranch, shortRef } from "./patterns";
import type { WatchedRepository } from "./repository";

/** Who the queue says has asked for a watcher's builds. */
export const watchCaller = "watch";

/** How long Kubernetes leaves the pod of one that is kept: a week is longer than anybody looks into a failure. */
const keptSeconds = 7 * 24 * 3600;

/** What the queue is asked for: one commit of a branch or a tag, in the lane that is theirs. */
export function requestFor(
    repository: WatchedRepository,
    at: { readonly ref: string; readonly commit: string; readonly lane: string; readonly ownNamespace: boolean },
): BuildRequest {
    const { ref, commit, lane, ownNamespace } = at;
    const debug = repository.debug === true;
    const tag = isBranch(ref) ? undefined : ref.slice("refs/tags/".length);
    return {
        kind: "build",
        source: repository.address,
        // A tag that cannot be a BUILD_TAG is built as its commit.
        ref: tag !== undefined && buildTagPattern.test(tag) ? tag : commit,
        config: { ...(debug ? { ttlSecondsAfterFinished: keptSeconds } : {}), ...repository.config },
        labels: {
            repo: repository.name,
            ...(tag === undefined ? { branch: shortRef(ref) } : { tag }),
            sha: commit,
            ...organisation(repository),
        },
        lane,
        ...(ownNamespace ? { namespace: lane } : {}),
        ...(debug ? { keepFailed: true } : {}),
    };
}

/** `github.com/kerbodyne/ke-1` is of `kerbodyne`. */
function organisation({ address, local }: WatchedRepository): Readonly<Record<string, string>> {
    const [, name, repository] = local ? [] : new URL(address).pathname.split("/");
    return name === undefined || repository === undefined ? {} : { org: name };
}
