/**
 * Labels of everything that a stack creates in the cluster
 * (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
 */
export const commonLabels = {
    "app.kubernetes.io/name": "ke-1-build",
    "app.kubernetes.io/managed-by": "pulumi",
} as const;
