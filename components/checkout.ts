import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { sourceContainer } from "../contract/labels";
import type { Checkout } from "../source/checkout";
import type { GitAccessArgs } from "./gitAccess";
import { gitAccess, programsVolume } from "./gitAccess";

/** How a pod gets the source of its build. */
export interface CheckoutArgs extends Checkout, GitAccessArgs {
    /** The volume with the mirrors; absent where there are none, and all is fetched. */
    readonly claim?: pulumi.Input<string>;
}

type Container = k8s.types.input.core.v1.Container;
type VolumeMount = k8s.types.input.core.v1.VolumeMount;

/** What a checkout adds to a build's pod: to its build container a directory and mounts, to the pod the rest. */
export interface CheckoutParts {
    readonly initContainers: readonly Container[];
    readonly volumes: readonly k8s.types.input.core.v1.Volume[];
    readonly workingDir?: string;
    readonly environment: readonly k8s.types.input.core.v1.EnvVar[];
    readonly volumeMounts: readonly VolumeMount[];
}

/** At the same place wherever it is mounted: working copies name it. */
export const mirrorsDirectory = "/ke1/mirrors";
const sourceDirectory = "/ke1/source";

/** The label of pods that may reach the source's remote. */
export const checkoutLabels = { "ke1.dev/source": "mirror" };

/**
 * The init container that makes the working copy, which alone of the pod may have a credential for the remote, and what
 * the build needs to work in it. The mirrors are mounted read-only by both.
 */
export function checkoutParts(
    checkout: CheckoutArgs,
    pod: {
        readonly resources: k8s.types.input.core.v1.ResourceRequirements;
        readonly securityContext: k8s.types.input.core.v1.SecurityContext;
        readonly diskLimit: string;
    },
): CheckoutParts {
    const { claim, commit, mirror, prefix, remote, tree } = checkout;
    const access = gitAccess(checkout);
    const mounts = [
        { name: "mirrors", mountPath: mirrorsDirectory, readOnly: true },
        { name: "source", mountPath: sourceDirectory },
    ];
    return {
        initContainers: [
            {
                name: sourceContainer,
                image: checkout.image,
                imagePullPolicy: "IfNotPresent",
                command: ["/bin/sh", `${access.directory}/source`],
                env: [
                    { name: "TMPDIR", value: `${sourceDirectory}/tmp` },
                    { name: "KE1_REMOTE", value: remote },
                    { name: "KE1_COMMIT", value: commit },
                    { name: "KE1_TREE", value: tree },
                    { name: "KE1_PREFIX", value: prefix },
                    { name: "KE1_MIRRORS", value: mirrorsDirectory },
                    { name: "KE1_MIRROR", value: mirror },
                    { name: "KE1_WORK", value: sourceDirectory },
                    ...access.environment,
                ],
                resources: pod.resources,
                securityContext: { ...pod.securityContext, readOnlyRootFilesystem: true },
                // The end of its log, which says why there is no source, is in the pod's status: the launcher shows it.
                terminationMessagePolicy: "FallbackToLogsOnError",
                volumeMounts: [...mounts, ...access.volumeMounts],
            },
        ],
        volumes: [
            {
                name: "mirrors",
                ...(claim === undefined
                    ? { emptyDir: {} }
                    : { persistentVolumeClaim: { claimName: claim, readOnly: true } }),
            },
            { name: "source", emptyDir: { sizeLimit: pod.diskLimit } },
            programsVolume(checkout),
            ...access.volumes,
        ],
        workingDir: [`${sourceDirectory}/work`, ...(prefix === "" ? [] : [prefix])].join("/"),
        environment: [{ name: "KE1_LOG_HEAD", value: `${sourceDirectory}/log` }],
        volumeMounts: mounts,
    };
}

export const noCheckout: CheckoutParts = { initContainers: [], volumes: [], environment: [], volumeMounts: [] };
