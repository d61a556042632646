import type { V1Pod } from "@kubernetes/client-node";

/** What the plugins say that were to make room, of which preemption is the last. */
const afterReasons = /(?<=\.) (?:[^.]*, )?preemption: /;

/**
 * Whether a pod without a node waits for others to end: nodes are full that would take it if they were not. The scheduler
 * tells it from a pod that asks for more than any node has: for each node it says whether it would help to take pods away
 * (`preemption: …`; PostFilter of pkg/scheduler/framework/preemption, and since Kubernetes 1.34 noderesources/fit.go, which
 * compares with what the whole node has).
 *
 * @param detail the message of the pod's condition `PodScheduled`
 */
export function waitsForRoom(detail: string): boolean {
    const [reasons = "", preemption = ""] = detail.split(afterReasons);
    if (!/\d+ (Too many pods|Insufficient )/.test(reasons)) {
        return false;
    }
    const [, nodes] = /^\d+\/\d+ nodes are available: (.*)$/s.exec(preemption) ?? [];
    // A pod of a priority that never takes another's place has no such list: it is not known to be too large.
    return nodes === undefined || nodes.split(/, (?=\d+ )/).some((each) => !each.includes("is not helpful"));
}

/** The scheduler's message without what it says of preemption: of a hundred nodes it is long enough. */
export function withoutPreemption(detail: string): string {
    return detail.split(afterReasons)[0] ?? "";
}

/**
 * How many pods that have no node either came before one. Which of them the scheduler takes next is its own affair: those of
 * a higher priority come first, of the same priority mostly the oldest.
 */
export function countBefore(pods: readonly V1Pod[], pod: V1Pod): number {
    const own = placeOf(pod);
    return pods.filter(
        (other) =>
            other.metadata?.uid !== pod.metadata?.uid &&
            other.status?.phase === "Pending" &&
            !other.spec?.nodeName &&
            comesBefore(placeOf(other), own),
    ).length;
}

/** Priority, then age; pods of the same second, which is all that Kubernetes notes, by their names. */
type Place = readonly [priority: number, created: number, name: string];

function placeOf({ metadata, spec }: V1Pod): Place {
    return [-(spec?.priority ?? 0), new Date(metadata?.creationTimestamp ?? 0).getTime(), metadata?.name ?? ""];
}

function comesBefore(a: Place, b: Place): boolean {
    const different = a.findIndex((value, index) => value !== b[index]);
    return different >= 0 && (a[different] ?? 0) < (b[different] ?? 0);
}
