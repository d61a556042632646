import { setTimeout as sleep } from "node:timers/promises";
import { asString, isArray, isObject, type PropertyMap } from "../../values";
import { annotationOf, type KubeObject, kindOf, metadataOf } from "./objects";

/** Whether an object is ready; what it waits for, or why it will never be. */
export type Readiness =
    { readonly ready: true } | { readonly ready: false; readonly waitingFor: string; readonly failed?: boolean };

const defaultTimeoutSeconds = 600;

/** Kinds that own nothing: deleted in the background they are gone at once, in the foreground after the garbage collector. */
const childless = new Set([
    "v1/ConfigMap",
    "v1/Secret",
    "v1/ServiceAccount",
    "v1/ResourceQuota",
    "v1/LimitRange",
    "networking.k8s.io/v1/NetworkPolicy",
    "policy/v1/PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1/Role",
    "rbac.authorization.k8s.io/v1/RoleBinding",
    "rbac.authorization.k8s.io/v1/ClusterRole",
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
]);

/** Kinds for whose deletion `pulumi.com/skipAwait` counts (DeletedCondition in provider/pkg/metadata/overrides.go). */
const skippedOnDeletion = new Set([
    "v1/Namespace",
    "v1/Pod",
    "v1/ReplicationController",
    "apps/v1/DaemonSet",
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "batch/v1/Job",
]);

/** Kinds whose pods say why they do not become ready. */
const podOwners = new Set(["apps/v1/DaemonSet", "apps/v1/Deployment", "apps/v1/StatefulSet", "batch/v1/Job"]);

export function skipsAwait(inputs: PropertyMap): boolean {
    return annotationOf(inputs, "pulumi.com/skipAwait") === "true";
}

export function skipsAwaitOfDeletion(inputs: PropertyMap): boolean {
    return skipsAwait(inputs) && skippedOnDeletion.has(keyOf(inputs));
}

/** Seconds: of `customTimeouts`, else of the annotation, else ten minutes. */
export function timeoutOf(inputs: PropertyMap, custom: number | undefined): number {
    const annotated = Number(annotationOf(inputs, "pulumi.com/timeoutSeconds"));
    return custom ?? (annotated > 0 ? annotated : defaultTimeoutSeconds);
}

export function propagationOf(inputs: PropertyMap): "Orphan" | "Background" | "Foreground" {
    const asked = annotationOf(inputs, "pulumi.com/deletionPropagationPolicy")?.toLowerCase();
    if (asked === "orphan") {
        return "Orphan";
    }
    return asked === "background" || (asked === undefined && childless.has(keyOf(inputs)))
        ? "Background"
        : "Foreground";
}

/** Readiness of the kinds that become ready; all others are when they are there. */
export function readinessOf(object: KubeObject): Readiness {
    const status = isObject(object.status) ? object.status : {};
    const spec = isObject(object.spec) ? object.spec : {};
    const number = (value: PropertyMap[string] | undefined, byDefault: number): number =>
        typeof value === "number" ? value : byDefault;
    const condition = (type: string): PropertyMap | undefined => conditionOf(status, type);
    const isTrue = (type: string): boolean => condition(type)?.status === "True";
    const why = (type: string): string => reasonOf(condition(type));
    const observed = number(status.observedGeneration, 0) >= number(metadataOf(object).generation, 0);
    const key = keyOf(object);
    if (key === "v1/Pod") {
        const phase = asString(status.phase) ?? "Pending";
        if (phase === "Succeeded" || isTrue("Ready")) {
            return { ready: true };
        }
        const waitingFor = [`the pod is ${phase}`, troubleOf(object)].filter(Boolean).join("; ");
        return { ready: false, waitingFor, failed: phase === "Failed" };
    }
    if (key === "batch/v1/Job") {
        // Not yet with SuccessCriteriaMet: what the Job's pods came to is counted only when it has its terminal condition.
        return isTrue("Complete")
            ? { ready: true }
            : { ready: false, waitingFor: why("Failed") || "the Job is not complete", failed: isTrue("Failed") };
    }
    if (key === "apps/v1/Deployment") {
        const wanted = number(spec.replicas, 1);
        const [updated, total, available] = [status.updatedReplicas, status.replicas, status.availableReplicas].map(
            (value) => number(value, 0),
        );
        if (observed && updated === wanted && total === wanted && available === wanted) {
            return { ready: true };
        }
        const failed = condition("Progressing")?.status === "False";
        const unavailable = isTrue("Available") ? "" : why("Available");
        const reason = failed ? why("Progressing") : why("ReplicaFailure") || unavailable;
        const rollout = updated === total ? "" : `${updated ?? 0} of ${total ?? 0} replicas are up to date`;
        const counts = `${available ?? 0} of ${wanted} replicas are available`;
        const waitingFor = [counts, rollout, reason].filter(Boolean).join("; ");
        return { ready: false, waitingFor, failed };
    }
    if (key === "apps/v1/StatefulSet") {
        const wanted = number(spec.replicas, 1);
        const isCurrent = wanted === 0 || status.currentRevision === status.updateRevision;
        const done = observed && isCurrent && number(status.readyReplicas, 0) === wanted;
        return done
            ? { ready: true }
            : { ready: false, waitingFor: `${number(status.readyReplicas, 0)} of ${wanted} replicas are ready` };
    }
    if (key === "apps/v1/DaemonSet") {
        const wanted = number(status.desiredNumberScheduled, 0);
        const done =
            observed && number(status.numberReady, 0) === wanted && number(status.updatedNumberScheduled, 0) === wanted;
        return done
            ? { ready: true }
            : { ready: false, waitingFor: `${number(status.numberReady, 0)} of ${wanted} pods are ready` };
    }
    return { ready: true };
}

/** By which labels the pods are found that an object is made of; undefined where it is of none. */
export function podSelectorOf(object: KubeObject): string | undefined {
    const spec = isObject(object.spec) ? object.spec : {};
    const { matchLabels } = isObject(spec.selector) ? spec.selector : {};
    return isObject(matchLabels) && podOwners.has(keyOf(object))
        ? Object.entries(matchLabels)
              .map(([key, value]) => `${key}=${asString(value) ?? ""}`)
              .join(",")
        : undefined;
}

/** Why a pod is not as it is to be: it cannot be scheduled, was evicted, or what its containers wait for or ended with. */
export function troubleOf(pod: KubeObject): string {
    const status = isObject(pod.status) ? pod.status : {};
    const unscheduled = conditionOf(status, "PodScheduled");
    const containers = [status.initContainerStatuses, status.containerStatuses]
        .flatMap((list) => (isArray(list) ? list : []))
        .filter(isObject);
    return [reasonOf(unscheduled), reasonOf(status), ...containers.map(troubleOfContainer)].filter(Boolean).join("; ");
}

function troubleOfContainer({ name, state, lastState }: PropertyMap): string {
    const { waiting, terminated } = isObject(state) ? state : {};
    const { terminated: earlier } = isObject(lastState) ? lastState : {};
    const ended = [terminated, earlier].find((end): end is PropertyMap => isObject(end) && end.exitCode !== 0);
    const parts = [
        isObject(waiting) ? reasonOf(waiting) : "",
        ended ? `ended with exit code ${Number(ended.exitCode)} (${reasonOf(ended)})` : "",
    ].filter(Boolean);
    return parts.length === 0 ? "" : `container ${asString(name) ?? ""}: ${parts.join("; ")}`;
}

function conditionOf(status: PropertyMap, type: string): PropertyMap | undefined {
    return (isArray(status.conditions) ? status.conditions : []).filter(isObject).find((entry) => entry.type === type);
}

/** `<reason>: <message>`, as far as they are there. */
function reasonOf(object: PropertyMap | undefined): string {
    return [asString(object?.reason), asString(object?.message)?.trim()].filter(Boolean).join(": ");
}

/**
 * Asks again and again, more slowly as it goes on.
 *
 * @param ask gives a result, or undefined to be asked again.
 * @returns undefined when the time is up.
 */
export async function poll<T>(
    seconds: number,
    signal: AbortSignal,
    ask: () => Promise<T | undefined>,
): Promise<T | undefined> {
    const end = Date.now() + seconds * 1000;
    for (let pause = 30; ; pause = Math.min(500, pause * 1.5)) {
        const result = await ask();
        if (result !== undefined || Date.now() > end) {
            return result;
        }
        await sleep(pause, undefined, { signal });
    }
}

function keyOf(object: PropertyMap): string {
    const { apiVersion, kind } = kindOf(object);
    return `${apiVersion}/${kind}`;
}
