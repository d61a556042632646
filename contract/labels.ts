/** The label of a Job and its pods that carries the BUILD_TAG. */
export const buildTagLabel = "ke1.dev/build-tag";

/** The label of a pipeline's Jobs and their pods that carries the step's name. */
export const stepLabel = "ke1.dev/step";

/** The init container that makes a build's working copy, and its exit code when to try again is of no use (mirror/source.sh). */
export const sourceContainer = "source";
export const sourceUnavailable = 3;

/** The label by which Kueue queues a Job (https://kueue.sigs.k8s.io/docs/tasks/run/jobs/). */
export const queueNameLabel = "kueue.x-k8s.io/queue-name";

/** The annotation of a Job that only asks which admission rules are in force. */
export const probeAnnotation = "ke1.dev/admission-probe";

/**
 * By these Azure's webhook gives a pod the token of its service account's identity, and leaves some containers alone:
 * https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html#pod
 */
export const identityLabel = "azure.workload.identity/use";
export const skippedContainers = "azure.workload.identity/skip-containers";
