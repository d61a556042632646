import type { V1ContainerStatus, V1Pod } from "@kubernetes/client-node";

import type { CompanionEnd } from "../contract/manifest";

/** The init containers proper, without the sidecars, which Kubernetes lists with them. */
function initStatuses(pod: V1Pod): readonly V1ContainerStatus[] {
    const sidecars = sidecarNames(pod);
    return (pod.status?.initContainerStatuses ?? []).filter(({ name }) => !sidecars.has(name));
}

function sidecarNames(pod: V1Pod): ReadonlySet<string> {
    const containers = pod.spec?.initContainers ?? [];
    return new Set(containers.filter(({ restartPolicy }) => restartPolicy === "Always").map(({ name }) => name));
}

/** The init container that is running. */
export function runningInit(pod: V1Pod): string | undefined {
    return initStatuses(pod).find(({ state }) => state?.running)?.name;
}

/**
 * An init container that ended by what nobody could say to the exporter: it was killed, with its wrapper, or is not this
 * program's own.
 */
export function failedInit(pod: V1Pod): { readonly name: string; readonly exitCode: number } | undefined {
    const failed = initStatuses(pod).find(({ state }) => (state?.terminated?.exitCode ?? 0) !== 0);
    return failed && { name: failed.name, exitCode: failed.state?.terminated?.exitCode ?? 0 };
}

/** The init container in which the kernel's OOM killer struck. What befalls a sidecar is the manifest's to tell. */
export function initOutOfMemory(pod: V1Pod): string | undefined {
    return initStatuses(pod).find(({ state }) => state?.terminated?.reason === "OOMKilled")?.name;
}

/** The init container or sidecar that could not be started at all, and why. A sidecar is tried again and again. */
export function unstartableCompanion(
    pod: V1Pod,
): { readonly name: string; readonly message: string | undefined } | undefined {
    for (const { name, state, lastState } of pod.status?.initContainerStatuses ?? []) {
        const ended = state?.terminated ?? lastState?.terminated;
        if (ended && ["StartError", "ContainerCannotRun"].includes(ended.reason ?? "")) {
            return { name, message: ended.message ?? ended.reason };
        }
    }
    return undefined;
}

/** The exit code of what SIGTERM ended: where that is how a sidecar is told of the build's end, it is no trouble. */
const terminated = 143;

/** What a person is to know of the containers that did not go as they should, one line each. */
export function troubleOf(ends: readonly CompanionEnd[] = []): readonly string[] {
    return ends.flatMap(({ name, role, exitCode, problem }) => {
        const what = role === "init" ? "init container" : "sidecar";
        if (problem !== undefined) {
            return [`the ${what} \`${name}\`: ${problem}`];
        }
        return exitCode === undefined || exitCode === 0 || (role === "sidecar" && exitCode === terminated)
            ? []
            : [`the ${what} \`${name}\` ended with exit code ${exitCode}`];
    });
}
