import type { BuildRequest } from "../build";
import { pinned } from "../registry/reference";
import type { Trigger } from "./definition";
import { imageSource } from "./imageSource";
import type { Pending } from "./memory";

/** The labels by which a trigger's builds are found again. */
export const triggerLabel = "trigger";
export const runLabel = "trigger-run";

/** A finished Job of a trigger stays for its logs until the next, in seconds: 30 days unless the trigger says otherwise. */
const keptSeconds = 30 * 86_400;

/**
 * What the queue is asked for when a trigger has found a digest.
 *
 * @param serviceId a part of the lane, and so of the name of its stack and namespace
 */
export function requestOf(trigger: Trigger, pending: Pending, serviceId: string): BuildRequest {
    const { tag, digest, run } = pending;
    const image = pinned(trigger.image, digest);
    const filled = (text: string) => fill(text, trigger, pending);
    const release = trigger.release && {
        repository: trigger.release.repository,
        tag: trigger.release.tag === undefined ? undefined : filled(trigger.release.tag),
        images: trigger.release.images.map(filled),
        step: trigger.release.step,
    };
    return {
        kind: "build",
        source: trigger.source === undefined ? imageSource(image, trigger.name) : filled(trigger.source),
        ...(trigger.ref === undefined ? {} : { ref: filled(trigger.ref) }),
        config: {
            ttlSecondsAfterFinished: keptSeconds,
            ...trigger.config,
            [trigger.as]: image,
            // The same source with another image is another build.
            ...(trigger.source === undefined ? {} : { buildTagSuffix: `-${shortDigest(digest)}` }),
        },
        labels: {
            ...trigger.labels,
            [triggerLabel]: trigger.name,
            [runLabel]: run,
            image: imageName(trigger),
            tag,
            digest,
        },
        lane: `trigger-${trigger.name}-${serviceId}`,
        keep: true,
        ...(trigger.timeoutSeconds === undefined ? {} : { timeoutSeconds: trigger.timeoutSeconds }),
        ...(release ? { release } : {}),
    };
}

/** `{tag}`, `{digest}` and `{trigger}` put in. */
function fill(text: string, trigger: Trigger, { tag, digest }: Pending): string {
    const values: Readonly<Record<string, string>> = { tag, digest: shortDigest(digest), trigger: trigger.name };
    return text.replaceAll(/\{(tag|digest|trigger)\}/g, (_, name: string) => values[name] ?? "");
}

function imageName({ image }: Trigger): string {
    return `${image.registry}/${image.repository}`;
}

function shortDigest(digest: string): string {
    return digest.slice("sha256:".length, "sha256:".length + 12);
}
