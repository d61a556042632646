/**
 * Names a build in the store: its BUILD_TAG or, for a step of a pipeline, `<BUILD_TAG>/steps/<step>`. It stands in place of
 * the BUILD_TAG in the names of all blobs, and is the only thing that is different there.
 */
export type BuildKey = string;

/** The key of a build, or of a step. */
export function buildKey(buildTag: string, step?: string): BuildKey {
    return step === undefined ? buildTag : `${buildTag}/steps/${step}`;
}

/** What a person calls a build by, and types: `BUILD_TAG` or `BUILD_TAG/STEP`. */
export function buildName(buildTag: string, step?: string): string {
    return step === undefined ? buildTag : `${buildTag}/${step}`;
}

/** The key of what a person calls a build by. */
export function keyOfName(name: string): BuildKey {
    const [buildTag = "", step] = name.split("/", 2);
    return buildKey(buildTag, step);
}

/** What a person calls a build by, from its key. */
export function nameOfKey(key: BuildKey): string {
    return key.replace("/steps/", "/");
}

/**
 * Where the blobs of a build are, below `https://<account>.blob.core.windows.net/<container>/`.
 *
 *     <BUILD_TAG>/bin/<artifact>
 *     <BUILD_TAG>/logs/<UTC timestamp>.log
 *     <BUILD_TAG>/logs/<UTC timestamp>.<container>.log
 *     <BUILD_TAG>/logs/<UTC timestamp>/<log file>
 *     <BUILD_TAG>/attempts/<n>/started.json finished.json podinfo.json
 *     <BUILD_TAG>/attempts/lease
 *     <BUILD_TAG>/provenance.json
 *     <BUILD_TAG>/provenance.dsse.json
 *     <BUILD_TAG>/manifest.json
 *     <BUILD_TAG>/steps/<step>/…            the same again, for each step of a pipeline
 *     <BUILD_TAG>/pipeline.json             the result of a pipeline
 *
 * What is transient is an append blob, what is kept a block blob: a rule that deletes what is old cannot name `logs/`, as
 * the BUILD_TAG comes before it, but it can name a type of blob. So logs and all below `attempts/` are append blobs, and
 * artifacts, provenance and manifest are block blobs. A document in an append blob is a line of JSON; the last line counts,
 * and a blob without one is not there yet. Nothing is written over: a store may have a policy that keeps what there is.
 */
export const layout = {
    binPrefix: (key: BuildKey) => `${key}/bin/`,
    artifact: (key: BuildKey, name: string) => `${key}/bin/${name}`,
    logsPrefix: (key: BuildKey) => `${key}/logs/`,
    /** Of an init container or a sidecar: ISO 8601 basic format, UTC, milliseconds. */
    containerLog: (key: BuildKey, begun: Date, container: string) =>
        `${key}/logs/${begun.toISOString().replace(/[-:]/g, "")}.${container}.log`,
    /** @param log the path of the attempt's log, below the build's */
    logFilesPrefix: (key: BuildKey, log: string) => `${key}/${log.replace(/\.log$/, "")}/`,
    logFile: (key: BuildKey, log: string, name: string) => `${key}/${log.replace(/\.log$/, "")}/${name}`,
    attemptsPrefix: (key: BuildKey) => `${key}/attempts/`,
    started: (key: BuildKey, attempt: number) => `${key}/attempts/${attempt}/started.json`,
    finished: (key: BuildKey, attempt: number) => `${key}/attempts/${attempt}/finished.json`,
    podinfo: (key: BuildKey, attempt: number) => `${key}/attempts/${attempt}/podinfo.json`,
    lease: (key: BuildKey) => `${key}/attempts/lease`,
    manifest: (key: BuildKey) => `${key}/manifest.json`,
    provenance: (key: BuildKey) => `${key}/provenance.json`,
    /** The provenance, signed: a DSSE envelope. Only there when a key is configured. */
    envelope: (key: BuildKey) => `${key}/provenance.dsse.json`,
    /** The result of a pipeline; the launcher adds a line at the end of each run. Only for a BUILD_TAG, not for a step. */
    pipeline: (tag: string) => `${tag}/pipeline.json`,
    stepsPrefix: (tag: string) => `${tag}/steps/`,
} as const;

/**
 * A BUILD_TAG is an image tag, a blob prefix, a Kubernetes label value and a part of a Job's name at once. The narrowest
 * is the label value: at most 63 of `[A-Za-z0-9_.-]`, beginning and ending with a letter or digit
 * (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
 */
export const buildTagPattern = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;

/** The name of a step: a blob prefix and a part of a Job's name and of a path. */
export const stepPattern = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;
