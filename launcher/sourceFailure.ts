import type { V1ContainerStatus, V1Pod } from "@kubernetes/client-node";

import { sourceContainer } from "../contract/labels";

/** How lines begin that mirror/source.sh says, and git does not. */
const saidBy = "ke1: source: ";

/** The init container that makes the working copy, where a build has one. */
export function sourceStatus(pod: V1Pod): V1ContainerStatus | undefined {
    return pod.status?.initContainerStatuses?.find(({ name }) => name === sourceContainer);
}

/**
 * Why a build has no source, where that is what ended its pod: in the words of the init container, whose last lines kubelet
 * has put into the pod's status, and which are so kept with it.
 */
export function sourceFailure(pod: V1Pod): string | undefined {
    const ended = sourceStatus(pod)?.state?.terminated;
    if (!ended || ended.exitCode === 0) {
        return undefined;
    }
    if (ended.reason === "OOMKilled") {
        return "the source could not be had: git used more memory than memoryLimit";
    }
    const lines = (ended.message ?? "").split("\n").filter((line) => line.trim() !== "");
    const own = lines.filter((line) => line.startsWith(saidBy)).map((line) => line.slice(saidBy.length));
    const said = own.length > 0 ? own : lines;
    return `the source could not be had: ${said.join("; ") || `exit code ${ended.exitCode}`}`;
}
