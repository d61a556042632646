import type * as k8s from "@pulumi/kubernetes";

import type { NodeRequirement, Placement } from "../config/placement";
import { queueNameLabel } from "../contract/labels";

/** Where a build's pod may, and had best, run. */
export type PlacementArgs = Placement;

type Toleration = k8s.types.input.core.v1.Toleration;

/** What of a pod's spec says where it runs; `always` are tolerations that every build has. */
export function placementOf(
    args: PlacementArgs,
    always: readonly Toleration[],
): Partial<k8s.types.input.core.v1.PodSpec> {
    const { nodeRequirements, nodePreferences, tolerations, priorityClass } = args;
    const required =
        nodeRequirements.length > 0
            ? {
                  requiredDuringSchedulingIgnoredDuringExecution: {
                      nodeSelectorTerms: [{ matchExpressions: nodeRequirements.map(expression) }],
                  },
              }
            : {};
    const preferred =
        nodePreferences.length > 0
            ? {
                  preferredDuringSchedulingIgnoredDuringExecution: nodePreferences.map(({ weight, requirement }) => ({
                      weight,
                      preference: { matchExpressions: [expression(requirement)] },
                  })),
              }
            : {};
    const nodeAffinity = { ...required, ...preferred };
    return {
        ...(Object.keys(nodeAffinity).length > 0 ? { affinity: { nodeAffinity } } : {}),
        tolerations: [...always, ...tolerations.map((toleration) => ({ ...toleration }))],
        ...(priorityClass === "" ? {} : { priorityClassName: priorityClass }),
    };
}

/** Puts a Job into a queue. */
export function queueLabel({ queue }: PlacementArgs): Readonly<Record<string, string>> {
    return queue === "" ? {} : { [queueNameLabel]: queue };
}

function expression({ key, operator, values }: NodeRequirement): k8s.types.input.core.v1.NodeSelectorRequirement {
    return values.length > 0 ? { key, operator, values: [...values] } : { key, operator };
}
