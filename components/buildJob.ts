import { createHash } from "node:crypto";

import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { BuildResult } from "../contract/result";
import type { AwaitArgs } from "./awaitCommand";
import { awaitCommand } from "./awaitCommand";
import { podSpecOf } from "./buildPod";
import type { JobArgs } from "./jobSpec";
import { jobOf } from "./jobSpec";

export interface BuildJobArgs extends JobArgs, AwaitArgs {
    /**
     * What a build may use, as Kubernetes quantities: at first, and then each time that it ran out of memory. Never empty.
     */
    readonly memorySteps: readonly string[];
}

/**
 * One build of one BUILD_TAG: a Job with the build and, beside it, the exporter that carries log and artifacts out; and
 * the wait for its outcome. Its outputs come from the manifest.
 */
export class BuildJob extends pulumi.ComponentResource {
    /** `<namespace>/<name>`. */
    public readonly job: pulumi.Output<string>;
    public readonly result: pulumi.Output<BuildResult>;

    public constructor(name: string, args: BuildJobArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:BuildJob", name, {}, opts);

        const needs = args.needs ?? [];
        const [first, ...more] = args.memorySteps.map((memoryLimit, step) =>
            declareJob(
                step === 0 ? `${name}-job` : `${name}-job-${memoryLimit}`,
                args,
                memoryLimit,
                step > 0 || needs.length > 0,
                this,
            ),
        );
        if (!first) {
            throw new Error("memorySteps is empty");
        }
        const jobs = [first, ...more];
        this.job = pulumi.interpolate`${first.metadata.namespace}/${first.metadata.name}`;

        const stdout = awaitCommand(
            `${name}-await`,
            "bin/ke1 await",
            args,
            {
                KE1_NAMESPACE: first.metadata.namespace,
                // The others are let go, one after the other, when a build runs out of memory.
                KE1_JOBS: pulumi.jsonStringify(jobs.map((job) => job.metadata.name)),
                KE1_MEMORY: JSON.stringify(args.memorySteps),
                // Not read: a Job that was made anew is awaited anew.
                KE1_JOB_UID: first.metadata.uid,
                KE1_COMMAND: JSON.stringify(args.command),
                ...(needs.length > 0 ? { KE1_NEEDS: JSON.stringify(needs) } : {}),
            },
            this,
        );
        this.result = stdout.apply((text) => JSON.parse(text) as BuildResult);

        this.registerOutputs({ job: this.job, result: this.result });
    }
}

/**
 * A build's Job.
 *
 * @param waits whether it is made suspended, for when the build has run out of memory in the one before, or for when it is
 * the step's turn
 */
export function declareJob(
    name: string,
    args: JobArgs,
    memoryLimit: string,
    waits: boolean,
    parent: pulumi.Resource,
): k8s.batch.v1.Job {
    const podSpec = podSpecOf(args, memoryLimit);
    // A Job's template cannot be changed, and deletion is not waited for: so a changed Job has another name.
    const jobName = pulumi
        .jsonStringify([podSpec, args.deadlineSeconds, args.retries, args.source.tree, args.command])
        .apply((spec) => jobNameOf(args.buildTag, args.step?.name, spec));
    return new k8s.batch.v1.Job(
        name,
        jobOf({ ...args, name: jobName, waits }, podSpec),
        // Whether it runs is the launcher's to say, from then on.
        { parent, ignoreChanges: waits ? ["spec.suspend"] : [] },
    );
}

/**
 * `ke-1-build-<tag>-<hash>`, or `ke-1-build-<tag>-<step>-<hash>`: a DNS label, at most 52 characters so that the pods' names
 * keep it whole.
 */
function jobNameOf(buildTag: string, step: string | undefined, spec: string): string {
    const hash = createHash("sha256").update(spec).digest("hex").slice(0, 8);
    const tag = nameOf(buildTag, step === undefined ? 31 : 14);
    return `ke-1-build-${tag}-${step === undefined ? "" : `${nameOf(step, 16)}-`}${hash}`;
}

function nameOf(text: string, length: number): string {
    return text
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .slice(0, length)
        .replace(/-+$/, "");
}
