/**
 * Where the blobs of a build are, below `https://<account>.blob.core.windows.net/<container>/`.
 *
 *     <BUILD_TAG>/bin/<artifact>
 *     <BUILD_TAG>/logs/<UTC timestamp>.log
 *     <BUILD_TAG>/logs/<UTC timestamp>.<container>.log
 *     <BUILD_TAG>/attempts/<n>/started.json finished.json podinfo.json
 *     <BUILD_TAG>/attempts/lease
 *     <BUILD_TAG>/provenance.json
 *     <BUILD_TAG>/provenance.dsse.json
 *     <BUILD_TAG>/manifest.json
 *
 * What is transient is an append blob, what is kept a block blob: a rule that deletes what is old cannot name `logs/`, as
 * the BUILD_TAG comes before it, but it can name a type of blob. So logs and all below `attempts/` are append blobs, and
 * artifacts, provenance and manifest are block blobs. A document in an append blob is a line of JSON; the last line counts,
 * and a blob without one is not there yet. Nothing is written over: a store may have a policy that keeps what there is.
 */
export const layout = {
    binPrefix: (tag: string) => `${tag}/bin/`,
    artifact: (tag: string, name: string) => `${tag}/bin/${name}`,
    logsPrefix: (tag: string) => `${tag}/logs/`,
    /** Of an init container or a sidecar: ISO 8601 basic format, UTC, milliseconds. */
    containerLog: (tag: string, begun: Date, container: string) =>
        `${tag}/logs/${begun.toISOString().replace(/[-:]/g, "")}.${container}.log`,
    attemptsPrefix: (tag: string) => `${tag}/attempts/`,
    started: (tag: string, attempt: number) => `${tag}/attempts/${attempt}/started.json`,
    finished: (tag: string, attempt: number) => `${tag}/attempts/${attempt}/finished.json`,
    podinfo: (tag: string, attempt: number) => `${tag}/attempts/${attempt}/podinfo.json`,
    lease: (tag: string) => `${tag}/attempts/lease`,
    manifest: (tag: string) => `${tag}/manifest.json`,
    provenance: (tag: string) => `${tag}/provenance.json`,
    /** The provenance, signed: a DSSE envelope. Only there when a key is configured. */
    envelope: (tag: string) => `${tag}/provenance.dsse.json`,
} as const;

/**
 * A BUILD_TAG is an image tag, a blob prefix, a Kubernetes label value and a part of a Job's name at once. The narrowest
 * is the label value: at most 63 of `[A-Za-z0-9_.-]`, beginning and ending with a letter or digit
 * (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
 */
export const buildTagPattern = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
