/** A registry, a repository and a digest: the only form in which an image is run. */
export const digestReference = /^[^\s@]+@sha256:[0-9a-f]{64}$/;
/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names */
export const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** What may be configured of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
export const quantity = /^\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$/;
/** Relative, and without a step upwards. */
export const relativePath = /^(?!\/)(?!(.*\/)?\.\.(\/|$)).+$/;
/** What the program gives each container's environment itself (components/buildPod.ts). */
export const reservedVariable = /^(KE1_.*|BUILD_TAG|SOURCE_DATE_EPOCH)$/;
