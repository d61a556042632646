/** The label of a Job and its pods that carries the BUILD_TAG. */
export const buildTagLabel = "ke1.dev/build-tag";

/** The init container that makes a build's working copy, and its exit code when to try again is of no use (mirror/source.sh). */
export const sourceContainer = "source";
export const sourceUnavailable = 3;

/** The label by which Kueue queues a Job (https://kueue.sigs.k8s.io/docs/tasks/run/jobs/). */
export const queueNameLabel = "kueue.x-k8s.io/queue-name";
