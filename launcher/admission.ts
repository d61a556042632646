import { setTimeout } from "node:timers/promises";

import type { V1ExpressionWarning, V1Job } from "@kubernetes/client-node";
import { AdmissionregistrationV1Api, ApiException, BatchV1Api } from "@kubernetes/client-node";

import { UserError } from "../contract/errors";
import { buildTagLabel, probeAnnotation } from "../contract/labels";
import type { Cluster } from "./cluster";

/** A ValidatingAdmissionPolicy, as the stack has declared it. */
export interface AwaitedPolicy {
    readonly name: string;
    readonly namespace: string;
    readonly version: string;
    /** The names of its rules, in the order of its validations. */
    readonly rules: readonly string[];
}

const pollInterval = 100;
/** Measured: 0.2 to 1.0 s (the API server looks for new policies once a second). */
const enforcedWithin = 60_000;
/** The types are checked by the controller manager; a cluster may run it without that controller. */
const checkedWithin = 10_000;

/**
 * Waits until the cluster judges Jobs by a policy, and says what is wrong with the types in its rules.
 *
 * @throws UserError, a line for each rule that the cluster's type checker has a word on
 */
export async function awaitPolicy(cluster: Cluster, policy: AwaitedPolicy): Promise<void> {
    const [, warnings] = await Promise.all([awaitEnforcement(cluster, policy), typeWarnings(cluster, policy)]);
    if (warnings.length > 0) {
        throw new UserError(warnings.map((warning) => warningOf(policy, warning)).join("\n"));
    }
}

async function awaitEnforcement(cluster: Cluster, { name, namespace, version }: AwaitedPolicy): Promise<void> {
    const batch = cluster.client(BatchV1Api);
    const expected = `probed ${version}`;
    const start = Date.now();
    for (;;) {
        const answer = await batch
            .createNamespacedJob({ namespace, body: probe, dryRun: "All" })
            .then(() => "it took the Job")
            .catch(refusalOf);
        if (answer.endsWith(expected)) {
            return;
        }
        if (Date.now() - start > enforcedWithin) {
            throw new UserError(
                `the policy ${name} is not in force after ${enforcedWithin / 1000} s; what the cluster said to a Job that it must turn away: ${answer}`,
            );
        }
        await setTimeout(pollInterval);
    }
}

/** What the cluster said when it turned the probe away. Whatever else is wrong is thrown. */
function refusalOf(error: unknown): string {
    if (error instanceof ApiException && [403, 422].includes(error.code)) {
        const { message = "" } = statusOf(error.body);
        if (!/cannot create resource/.test(message)) {
            return message;
        }
    }
    throw error;
}

function statusOf(body: unknown): { readonly message?: string } {
    try {
        return (typeof body === "string" ? JSON.parse(body) : body) as { readonly message?: string };
    } catch {
        return { message: String(body) };
    }
}

async function typeWarnings(cluster: Cluster, { name }: AwaitedPolicy): Promise<readonly V1ExpressionWarning[]> {
    const policies = cluster.client(AdmissionregistrationV1Api);
    const start = Date.now();
    for (;;) {
        const { metadata, status } = await policies.readValidatingAdmissionPolicy({ name });
        if ((status?.observedGeneration ?? 0) >= (metadata?.generation ?? 1)) {
            return status?.typeChecking?.expressionWarnings ?? [];
        }
        if (Date.now() - start > checkedWithin) {
            process.stderr.write(`the cluster has not checked the types of the rules in ${checkedWithin / 1000} s\n`);
            return [];
        }
        await setTimeout(pollInterval);
    }
}

/** `<rule>: <what is wrong>`: of the checker's lines, those that are no drawing of where. */
function warningOf({ name, rules }: AwaitedPolicy, { fieldRef, warning }: V1ExpressionWarning): string {
    const index = /^spec\.validations\[(\d+)\]/.exec(fieldRef)?.[1];
    const rule = index === undefined ? fieldRef : (rules[Number(index)] ?? fieldRef);
    const said = warning
        .split("\n")
        .filter((line) => !/^\s*\|/.test(line))
        .join(" ")
        .replace(/ERROR: <input>:\d+:(\d+): /g, "at character $1: ")
        .trim();
    return `${rule} does not fit what a Job is (policy ${name}): ${said}`;
}

/** A Job that could run; but it is never made, as only its dry run is asked for. */
const probe: V1Job = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
        generateName: "ke1-admission-probe-",
        annotations: { [probeAnnotation]: "" },
        labels: { [buildTagLabel]: "probe" },
    },
    spec: {
        template: {
            spec: {
                restartPolicy: "Never",
                automountServiceAccountToken: false,
                securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
                containers: [
                    {
                        name: "probe",
                        image: "probe",
                        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
                    },
                ],
            },
        },
    },
};
