import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { dependencyObject } from "../contract/dependencies";
import { identityLabel, skippedContainers, sourceContainer } from "../contract/labels";
import type { SourceIdentity } from "../contract/manifest";
import type { EnvironmentSettings } from "../config/buildEnvironment";
import { environmentParts } from "./buildEnvironment";
import type { CheckoutArgs } from "./checkout";
import { checkoutParts, noCheckout } from "./checkout";
import type { ExportArgs } from "./exports";
import { handOverEnvironment, receiverEnvironment, receiverSecret } from "./exports";
import type { PlacementArgs } from "./placement";
import { placementOf } from "./placement";
import { nameResolution, podSecurity, pullSecrets, restricted } from "./podDefaults";

/** What a build's pod is made of. */
export interface BuildPodArgs extends PlacementArgs, EnvironmentSettings {
    readonly buildTag: string;
    readonly source: SourceIdentity;
    /** Seconds since 1970, given to the build as SOURCE_DATE_EPOCH. */
    readonly sourceDateEpoch: number;
    /** What the build runs. */
    readonly command: readonly string[];
    /** Whether the source has the target `build-wrapper`, which runs the command through `$KE1_WRAP`. */
    readonly usesBuildWrapper: boolean;
    /** Relative to the working directory, the image's or that of the checkout; empty for a step without artifacts. */
    readonly artifactDirectory: string;
    /** By digest. */
    readonly image: pulumi.Input<string>;
    /** How the pod gets the source; absent where it is in the image. */
    readonly checkout?: CheckoutArgs;
    /** By digest. */
    readonly exporterImage: pulumi.Input<string>;
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
    readonly runAsUser: number;
    readonly cpuRequest: string;
    readonly memoryRequest: string;
    readonly diskLimit: string;
    /** A Secret whose values are masked in the log; absent for none. The exporter alone sees it. */
    readonly maskSecret?: string;
    /** A Secret whose key `key` signs the provenance; absent for none. The exporter alone sees it. */
    readonly signingKeySecret?: string;
    /** What a step of a pipeline has in addition; absent for a build that is none. */
    readonly step?: StepPodArgs;
    /** What else the build hands over, and who is told of it. */
    readonly exports: ExportArgs;
    /** A pod of a node that is lost is given up after this, in seconds. */
    readonly nodeLostSeconds: number;
    /** Dependencies that it is told of, and may reach. */
    readonly needs?: readonly string[];
}

/** Of a step of a pipeline. */
export interface StepPodArgs {
    readonly name: string;
    readonly recipe: string;
    readonly env: Readonly<Record<string, string>>;
    /** Earlier steps, whose artifacts the exporter fetches for this one. */
    readonly inputs: readonly string[];
}

/** Paths in a build's pod; the wrapper and the exporter know them from their environment. */
const sharedDirectory = "/ke1/shared";
const wrapperDirectory = "/ke1/bin";
const credentialDirectory = "/ke1/credential";
const maskDirectory = "/ke1/mask";
const signingDirectory = "/ke1/signing";
const inputsDirectory = "/ke1/inputs";

/**
 * Tells the cluster's webhook to give a pod the token of its service account's identity, and which containers not to give
 * it to (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html#pod).
 */
export function workloadIdentity({ checkout, companions: { initContainers, sidecars } }: BuildPodArgs) {
    const companions = [...initContainers, ...sidecars].map(({ name }) => name);
    const others = ["build", ...(checkout ? [sourceContainer] : []), ...companions];
    return {
        labels: { [identityLabel]: "true" },
        annotations: { [skippedContainers]: others.join(";") },
    };
}

/**
 * The pod of a build: the build, and beside it the exporter, which alone has credentials.
 *
 * @param memoryLimit what the build may use
 */
export function podSpecOf(args: BuildPodArgs, memoryLimit: string): k8s.types.input.core.v1.PodSpec {
    const shared = { name: "shared", mountPath: sharedDirectory };
    const secrets = exporterSecrets(args);
    const inputs = inputsOf(args);
    const resources = {
        // The limit on disk is the whole pod's, its image's writable layer included. Without a request, it would be set
        // aside for each build.
        requests: { cpu: args.cpuRequest, memory: args.memoryRequest, "ephemeral-storage": "0" },
        limits: { memory: memoryLimit, "ephemeral-storage": args.diskLimit },
    };
    const pod = { resources, securityContext: restricted, diskLimit: args.diskLimit };
    const checkout = args.checkout ? checkoutParts(args.checkout, pod) : noCheckout;
    const environment = environmentParts(args);
    const initContainers = [...checkout.initContainers, ...environment.initContainers];
    return {
        restartPolicy: "Never",
        serviceAccountName: args.serviceAccount,
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        ...nameResolution(args.resolvesNames),
        ...pullSecrets(args.imagePullSecrets),
        ...placementOf(args, lostNode(args.nodeLostSeconds)),
        terminationGracePeriodSeconds: 30,
        securityContext: podSecurity(args.runAsUser),
        ...(initContainers.length > 0 ? { initContainers } : {}),
        containers: [
            {
                name: "build",
                image: args.image,
                imagePullPolicy: "IfNotPresent",
                workingDir: environment.build.workingDir ?? checkout.workingDir,
                command: ["/bin/sh", `${wrapperDirectory}/wrap`],
                // Not left to the image's ENTRYPOINT: make as PID 1 would not end on SIGTERM (see the wrapper).
                args: args.usesBuildWrapper ? ["--init", "make", "build-wrapper"] : [...args.command],
                env: [
                    { name: "BUILD_TAG", value: args.buildTag },
                    { name: "SOURCE_DATE_EPOCH", value: String(args.sourceDateEpoch) },
                    { name: "KE1_DIR", value: sharedDirectory },
                    { name: "KE1_WRAP", value: `/bin/sh ${wrapperDirectory}/wrap` },
                    { name: "KE1_ARTIFACT_DIR", value: args.artifactDirectory },
                    ...checkout.environment,
                    ...environment.build.env.filter(({ name }) => args.step?.env[name] === undefined),
                    ...Object.entries(args.step?.env ?? {}).map(([name, value]) => ({ name, value })),
                    ...handOverEnvironment(args.exports, sharedDirectory),
                ],
                // Left there by the launcher before the build begins.
                ...(args.needs?.length
                    ? { envFrom: args.needs.map((name) => ({ configMapRef: { name: dependencyObject(name) } })) }
                    : {}),
                resources: {
                    requests: { ...resources.requests, ...args.extendedResources },
                    limits: { ...resources.limits, ...args.extendedResources, ...environment.build.limits },
                },
                securityContext: { ...restricted, ...environment.build.securityContext },
                volumeMounts: [
                    shared,
                    { name: "wrapper", mountPath: wrapperDirectory, readOnly: true },
                    ...checkout.volumeMounts,
                    ...environment.build.volumeMounts,
                    ...inputs.mounts.map((mount) => ({ ...mount, readOnly: true })),
                ],
            },
            {
                name: "exporter",
                image: args.exporterImage,
                imagePullPolicy: "IfNotPresent",
                env: [
                    { name: "KE1_DIR", value: sharedDirectory },
                    { name: "KE1_BUILD_TAG", value: args.buildTag },
                    { name: "KE1_CONTAINER_URL", value: args.containerUrl },
                    ...secrets.map(({ variable, value }) => ({ name: variable, value })),
                    { name: "KE1_SOURCE_COMMIT", value: args.source.commit ?? "" },
                    { name: "KE1_SOURCE_TREE", value: args.source.tree },
                    { name: "KE1_COMMAND", value: JSON.stringify(args.command) },
                    { name: "KE1_IMAGE", value: args.image },
                    { name: "KE1_ARTIFACT_DIR", value: args.artifactDirectory },
                    ...(args.artifactDirectory === "" && !args.step ? [{ name: "KE1_NO_ARTIFACTS", value: "1" }] : []),
                    ...stepVariables(args.step),
                    ...receiverEnvironment(args.exports),
                    field("KE1_JOB_NAMESPACE", "metadata.namespace"),
                    field("KE1_JOB_NAME", "metadata.labels['batch.kubernetes.io/job-name']"),
                    field("KE1_POD_NAME", "metadata.name"),
                    field("KE1_POD_UID", "metadata.uid"),
                    field("KE1_NODE_NAME", "spec.nodeName"),
                    ...environment.exporter.env,
                ],
                resources: { requests: { cpu: "10m", memory: "32Mi" }, limits: { memory: "256Mi" } },
                securityContext: { ...restricted, readOnlyRootFilesystem: true },
                volumeMounts: [
                    shared,
                    ...secrets.map(({ name, directory }) => ({ name, mountPath: directory, readOnly: true })),
                    ...environment.exporter.volumeMounts,
                    ...inputs.mounts,
                ],
            },
        ],
        volumes: [
            { name: "shared", emptyDir: { sizeLimit: args.diskLimit } },
            { name: "wrapper", configMap: { name: args.wrapperConfigMap, defaultMode: 0o555 } },
            ...secrets.map(({ name, secretName }) => ({ name, secret: { secretName, defaultMode: 0o440 } })),
            ...inputs.volumes,
            ...checkout.volumes,
            ...environment.volumes,
        ],
    };
}

/** Where the exporter puts the artifacts of earlier steps: it alone writes there, the build reads. */
function inputsOf(args: BuildPodArgs) {
    return args.step === undefined || args.step.inputs.length === 0
        ? { mounts: [], volumes: [] }
        : {
              mounts: [{ name: "inputs", mountPath: inputsDirectory }],
              volumes: [{ name: "inputs", emptyDir: { sizeLimit: args.diskLimit } }],
          };
}

/** How the exporter is told of the step. */
function stepVariables(step: StepPodArgs | undefined): k8s.types.input.core.v1.EnvVar[] {
    return step === undefined
        ? []
        : [
              { name: "KE1_STEP", value: step.name },
              { name: "KE1_STEP_RECIPE", value: step.recipe },
              { name: "KE1_STEP_INPUTS", value: JSON.stringify(step.inputs) },
              { name: "KE1_INPUTS_DIR", value: inputsDirectory },
          ];
}

function field(name: string, fieldPath: string): k8s.types.input.core.v1.EnvVar {
    return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** The Secrets that the exporter has, and how it is told of them. */
function exporterSecrets(args: BuildPodArgs) {
    const all = [
        {
            name: "credential",
            secretName: args.credentialSecret,
            directory: credentialDirectory,
            variable: "KE1_CREDENTIAL_FILE",
            value: `${credentialDirectory}/sas`,
        },
        {
            name: "mask",
            secretName: args.maskSecret || undefined,
            directory: maskDirectory,
            variable: "KE1_MASK_DIR",
            value: maskDirectory,
        },
        {
            name: "signing",
            secretName: args.signingKeySecret || undefined,
            directory: signingDirectory,
            variable: "KE1_SIGNING_KEY_FILE",
            value: `${signingDirectory}/key`,
        },
        receiverSecret(args.exports),
    ];
    return all.flatMap((secret) =>
        secret.secretName === undefined ? [] : [{ ...secret, secretName: secret.secretName }],
    );
}

/**
 * How long a pod stays bound to a node that does not answer; Kubernetes' own default is 300 s
 * (https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions).
 */
function lostNode(tolerationSeconds: number): k8s.types.input.core.v1.Toleration[] {
    return ["not-ready", "unreachable"].map((condition) => ({
        key: `node.kubernetes.io/${condition}`,
        operator: "Exists",
        effect: "NoExecute",
        tolerationSeconds,
    }));
}
