import { createHash } from "node:crypto";

import * as command from "@pulumi/command";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { buildTagLabel } from "../contract/labels";
import type { BuildResult } from "../contract/result";
import type { SourceIdentity } from "../contract/manifest";
import { commonLabels } from "./labels";
import type { PlacementArgs } from "./placement";
import { placementOf, queueLabel } from "./placement";

export interface BuildJobArgs extends PlacementArgs {
    readonly buildTag: string;
    readonly source: SourceIdentity;
    /** Seconds since 1970, given to the build as SOURCE_DATE_EPOCH. */
    readonly sourceDateEpoch: number;
    /** What the build runs. */
    readonly command: readonly string[];
    /** Whether the source has the target `build-wrapper`, which runs the command through `$KE1_WRAP`. */
    readonly usesBuildWrapper: boolean;
    /** Relative to the image's working directory. */
    readonly artifactDirectory: string;
    /** By digest. */
    readonly image: pulumi.Input<string>;
    /** By digest. */
    readonly exporterImage: pulumi.Input<string>;
    readonly namespace: pulumi.Input<string>;
    readonly serviceAccount: pulumi.Input<string>;
    /**
     * The Secret whose key `sas` is the exporter's credential. Absent: the service account is an identity of Azure, and
     * the cluster's webhook gives its token to the exporter.
     */
    readonly credentialSecret?: pulumi.Input<string>;
    /** Pull secrets of the namespace. */
    readonly imagePullSecrets: readonly pulumi.Input<string>[];
    /** The ConfigMap whose key `wrap` is the wrapper script. */
    readonly wrapperConfigMap: pulumi.Input<string>;
    /** `<endpoint>/<container>`. */
    readonly containerUrl: pulumi.Input<string>;
    /** Whether the exporter looks up names: those of the store and of its token's endpoint. */
    readonly resolvesNames: boolean;
    readonly kubeconfig: pulumi.Input<string>;
    readonly kubeContext: pulumi.Input<string>;
    readonly deadlineSeconds: number;
    readonly ttlSecondsAfterFinished: number;
    readonly retries: number;
    readonly runAsUser: number;
    readonly cpuRequest: string;
    readonly memoryRequest: string;
    readonly memoryLimit: string;
    readonly diskLimit: string;
}

/** Paths in a build's pod; the wrapper and the exporter know them from their environment. */
const sharedDirectory = "/ke1/shared";
const wrapperDirectory = "/ke1/bin";
const credentialDirectory = "/ke1/credential";

/**
 * The exporter's exit code that says that no retry can help: the BUILD_TAG was built from another tree
 * (docs/exporter.md).
 */
const exporterConflict = 3;
/** The wrapper's exit code when the build is not to blame: it was turned away or told to end (docs/exporter.md). */
const notTheBuildsFault = 75;
/** The exporter's exit code for a configuration that it cannot work with. */
const exporterMisconfigured = 2;

/**
 * Tells the cluster's webhook to give a pod the token of its service account's identity, and which containers not to give
 * it to (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html#pod).
 */
const workloadIdentity = {
    labels: { "azure.workload.identity/use": "true" },
    annotations: { "azure.workload.identity/skip-containers": "build" },
};

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

        const podSpec = podSpecOf(args);
        // A Job's template cannot be changed, and deletion is not waited for: so a changed Job has another name.
        const jobName = pulumi
            .jsonStringify([podSpec, args.deadlineSeconds, args.retries, args.source.tree, args.command])
            .apply((spec) => jobNameOf(args.buildTag, spec));
        const labels = {
            ...commonLabels,
            "app.kubernetes.io/component": "build",
            [buildTagLabel]: args.buildTag,
        };
        const podIdentity = args.credentialSecret === undefined ? workloadIdentity : undefined;
        const job = new k8s.batch.v1.Job(
            `${name}-job`,
            {
                metadata: {
                    name: jobName,
                    namespace: args.namespace,
                    labels: { ...labels, ...queueLabel(args) },
                    // The provider's own wait ends after ten minutes and does not say why; `ke1 await` does.
                    annotations: { "pulumi.com/skipAwait": "true" },
                },
                spec: {
                    activeDeadlineSeconds: args.deadlineSeconds,
                    ttlSecondsAfterFinished: args.ttlSecondsAfterFinished,
                    backoffLimit: args.retries,
                    completions: 1,
                    parallelism: 1,
                    podReplacementPolicy: "Failed",
                    podFailurePolicy: {
                        rules: [
                            // Evicted, preempted, drained: not the build's fault, and not counted.
                            { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
                            {
                                action: "FailJob",
                                onExitCodes: {
                                    containerName: "exporter",
                                    operator: "In",
                                    values: [exporterMisconfigured, exporterConflict],
                                },
                            },
                            // A build that failed will fail again; one that was turned away or told to end did not fail.
                            {
                                action: "FailJob",
                                onExitCodes: {
                                    containerName: "build",
                                    operator: "NotIn",
                                    values: [0, notTheBuildsFault],
                                },
                            },
                        ],
                    },
                    template: {
                        metadata: {
                            labels: { ...labels, ...podIdentity?.labels },
                            annotations: podIdentity?.annotations,
                        },
                        spec: podSpec,
                    },
                },
            },
            { parent: this },
        );
        this.job = pulumi.interpolate`${job.metadata.namespace}/${job.metadata.name}`;

        const wait = new command.local.Command(
            `${name}-await`,
            {
                create: "bin/ke1 await",
                environment: {
                    KE1_KUBECONFIG: args.kubeconfig,
                    KE1_KUBE_CONTEXT: args.kubeContext,
                    KE1_NAMESPACE: job.metadata.namespace,
                    KE1_JOB: job.metadata.name,
                    // Not read: a Job that was made anew is awaited anew.
                    KE1_JOB_UID: job.metadata.uid,
                    KE1_BUILD_TAG: args.buildTag,
                    KE1_SOURCE_TREE: args.source.tree,
                    KE1_COMMAND: JSON.stringify(args.command),
                    KE1_CONTAINER_URL: args.containerUrl,
                },
                // What a build printed must not become the environment of the next command.
                addPreviousOutputInEnv: false,
                logging: "stderr",
            },
            { parent: this },
        );
        this.result = wait.stdout.apply((stdout) => JSON.parse(stdout) as BuildResult);

        this.registerOutputs({ job: this.job, result: this.result });
    }
}

/** `ke-1-build-<tag>-<hash>`: a DNS label, at most 52 characters so that the pods' names keep it whole. */
function jobNameOf(buildTag: string, spec: string): string {
    const hash = createHash("sha256").update(spec).digest("hex").slice(0, 8);
    const tag = buildTag
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .slice(0, 31)
        .replace(/-+$/, "");
    return `ke-1-build-${tag}-${hash}`;
}

function podSpecOf(args: BuildJobArgs): k8s.types.input.core.v1.PodSpec {
    const restricted = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
    const shared = { name: "shared", mountPath: sharedDirectory };
    const secretName = args.credentialSecret;
    return {
        restartPolicy: "Never",
        serviceAccountName: args.serviceAccount,
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        // Without a name to look up, the node's own resolver does, and no cluster DNS is needed. With one, the policy lets
        // pods reach the cluster's DNS alone; a name with a dot is then tried as it is before any search domain.
        ...(args.resolvesNames
            ? { dnsPolicy: "ClusterFirst", dnsConfig: { options: [{ name: "ndots", value: "1" }] } }
            : { dnsPolicy: "Default" }),
        ...(args.imagePullSecrets.length > 0
            ? { imagePullSecrets: args.imagePullSecrets.map((secret) => ({ name: secret })) }
            : {}),
        ...placementOf(args),
        terminationGracePeriodSeconds: 30,
        securityContext: {
            runAsNonRoot: true,
            runAsUser: args.runAsUser,
            runAsGroup: args.runAsUser,
            fsGroup: args.runAsUser,
            fsGroupChangePolicy: "OnRootMismatch",
            seccompProfile: { type: "RuntimeDefault" },
        },
        containers: [
            {
                name: "build",
                image: args.image,
                imagePullPolicy: "IfNotPresent",
                command: ["/bin/sh", `${wrapperDirectory}/wrap`],
                // Not left to the image's ENTRYPOINT: make as PID 1 would not end on SIGTERM (see the wrapper).
                args: args.usesBuildWrapper ? ["--init", "make", "build-wrapper"] : [...args.command],
                env: [
                    { name: "BUILD_TAG", value: args.buildTag },
                    { name: "SOURCE_DATE_EPOCH", value: String(args.sourceDateEpoch) },
                    { name: "KE1_DIR", value: sharedDirectory },
                    { name: "KE1_WRAP", value: `/bin/sh ${wrapperDirectory}/wrap` },
                    { name: "KE1_ARTIFACT_DIR", value: args.artifactDirectory },
                ],
                resources: {
                    requests: { cpu: args.cpuRequest, memory: args.memoryRequest },
                    limits: { memory: args.memoryLimit },
                },
                securityContext: restricted,
                volumeMounts: [shared, { name: "wrapper", mountPath: wrapperDirectory, readOnly: true }],
            },
            {
                name: "exporter",
                image: args.exporterImage,
                imagePullPolicy: "IfNotPresent",
                env: [
                    { name: "KE1_DIR", value: sharedDirectory },
                    { name: "KE1_BUILD_TAG", value: args.buildTag },
                    { name: "KE1_CONTAINER_URL", value: args.containerUrl },
                    ...(secretName === undefined
                        ? []
                        : [{ name: "KE1_CREDENTIAL_FILE", value: `${credentialDirectory}/sas` }]),
                    { name: "KE1_SOURCE_COMMIT", value: args.source.commit ?? "" },
                    { name: "KE1_SOURCE_TREE", value: args.source.tree },
                    { name: "KE1_COMMAND", value: JSON.stringify(args.command) },
                    { name: "KE1_IMAGE", value: args.image },
                    { name: "KE1_ARTIFACT_DIR", value: args.artifactDirectory },
                    field("KE1_JOB_NAMESPACE", "metadata.namespace"),
                    field("KE1_JOB_NAME", "metadata.labels['batch.kubernetes.io/job-name']"),
                    field("KE1_POD_NAME", "metadata.name"),
                    field("KE1_POD_UID", "metadata.uid"),
                    field("KE1_NODE_NAME", "spec.nodeName"),
                ],
                resources: { requests: { cpu: "10m", memory: "32Mi" }, limits: { memory: "256Mi" } },
                securityContext: { ...restricted, readOnlyRootFilesystem: true },
                volumeMounts: [
                    shared,
                    ...(secretName === undefined
                        ? []
                        : [{ name: "credential", mountPath: credentialDirectory, readOnly: true }]),
                ],
            },
        ],
        volumes: [
            { name: "shared", emptyDir: { sizeLimit: args.diskLimit } },
            { name: "wrapper", configMap: { name: args.wrapperConfigMap, defaultMode: 0o555 } },
            ...(secretName === undefined ? [] : [{ name: "credential", secret: { secretName, defaultMode: 0o440 } }]),
        ],
    };
}

function field(name: string, fieldPath: string): k8s.types.input.core.v1.EnvVar {
    return { name, valueFrom: { fieldRef: { fieldPath } } };
}
