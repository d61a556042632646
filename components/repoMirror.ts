import * as command from "@pulumi/command";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { Mirror } from "../config/mirror";
import { checkoutLabels, mirrorsDirectory } from "./checkout";
import type { BuildEgressArgs } from "./egress";
import { declareEgress, hasName } from "./egress";
import type { GitAccessArgs } from "./gitAccess";
import { gitAccess, programsVolume } from "./gitAccess";
import { commonLabels } from "./labels";
import type { MirrorScripts } from "./mirrorPrograms";
import { programsOf } from "./mirrorPrograms";
import { nameResolution, podSecurity, pullSecrets, restricted } from "./podDefaults";

export interface RepoMirrorArgs extends Omit<GitAccessArgs, "programs"> {
    readonly namespace: pulumi.Input<string>;
    /** Never empty. */
    readonly mirrors: readonly Mirror[];
    /** The remotes that builds' pods may ask themselves, for what is newer than their mirror. */
    readonly checkedOut: readonly string[];
    readonly scripts: MirrorScripts;
    /** Seconds between two looks at a remote. */
    readonly interval: number;
    /** How long a build may take, in seconds: for longer than this, the mirrors keep what a build could have begun with. */
    readonly deadlineSeconds: number;
    readonly runAsUser: number;
    readonly memoryLimit: string;
    readonly volume: MirrorVolumeArgs;
    readonly egress: Pick<BuildEgressArgs, "privateAddresses" | "flavor">;
    readonly imagePullSecrets: readonly pulumi.Input<string>[];
}

/** A volume that the syncer writes to and all builds' pods mount read-only. */
export interface MirrorVolumeArgs {
    readonly size: string;
    /** Empty for the cluster's default. */
    readonly storageClass: string;
    /**
     * A directory of this machine, which is the cluster's only node: the embedded platform, where nothing makes volumes.
     * Empty elsewhere.
     */
    readonly directory: string;
    /** The volume's name, of which there is one in a cluster. */
    readonly name: string;
}

/** Beyond a build's deadline: the time in which its pod ends, and in which its working copy was made. */
const keepMargin = 900;
const name = "ke1-mirror";
/** The embedded platform's one node (platform/settings.ts). */
const platformNode = "ke1";

/**
 * Mirrors of git repositories, in the cluster, that builds clone from: one syncer, which alone writes to their volume,
 * and which has no right in the cluster. Builds do not depend on it: they go on without a mirror that is not there.
 */
export class RepoMirror extends pulumi.ComponentResource {
    /** The claim that builds' pods mount. */
    public readonly claim: pulumi.Output<string>;
    /** The ConfigMap with the programs. */
    public readonly programs: pulumi.Output<string>;

    public constructor(resource: string, args: RepoMirrorArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:RepoMirror", resource, {}, opts);
        const child = { parent: this };
        const labels = { ...commonLabels, "app.kubernetes.io/component": "mirror" };
        const { namespace } = args;

        this.programs = new k8s.core.v1.ConfigMap(
            `${resource}-programs`,
            programsOf(args.scripts, args.mirrors, args.runAsUser, namespace),
            child,
        ).metadata.name;
        this.claim = this.declareVolume(resource, args);
        const account = new k8s.core.v1.ServiceAccount(
            `${resource}-service-account`,
            { metadata: { namespace, name, labels }, automountServiceAccountToken: false },
            child,
        );
        // Not a Deployment: of a StatefulSet there are never two pods, and so never two writers, not even for a moment.
        new k8s.apps.v1.StatefulSet(
            `${resource}-syncer`,
            {
                // Builds go on without: nothing waits for it.
                metadata: { namespace, name, labels, annotations: { "pulumi.com/skipAwait": "true" } },
                spec: {
                    replicas: 1,
                    serviceName: name,
                    // Otherwise one that is not ready, as a remote is down, could not be replaced by a better one.
                    podManagementPolicy: "Parallel",
                    selector: { matchLabels: { "app.kubernetes.io/component": "mirror" } },
                    template: {
                        metadata: { labels },
                        spec: syncerPod(args, account.metadata.name, this.programs, this.claim),
                    },
                },
            },
            child,
        );
        const egress = { ...args.egress, namespace };
        const all = args.mirrors.map(({ remote }) => remote);
        declareEgress(
            `${resource}-egress`,
            { ...egress, policy: "allow-mirror", pods: { "app.kubernetes.io/component": "mirror" }, endpoints: all },
            child,
        );
        if (args.checkedOut.length > 0) {
            declareEgress(
                `${resource}-source-egress`,
                { ...egress, policy: "allow-source", pods: checkoutLabels, endpoints: args.checkedOut },
                child,
            );
        }
        this.registerOutputs({ claim: this.claim, programs: this.programs });
    }

    private declareVolume(resource: string, { namespace, runAsUser, volume }: RepoMirrorArgs): pulumi.Output<string> {
        const child = { parent: this };
        const spec = { accessModes: ["ReadWriteMany"], volumeMode: "Filesystem" };
        const onNode = volume.directory === "" ? undefined : declareDirectory(resource, volume, runAsUser, this);
        const local =
            onNode &&
            new k8s.core.v1.PersistentVolume(
                `${resource}-volume`,
                {
                    metadata: { name: volume.name, labels: commonLabels },
                    spec: {
                        ...spec,
                        capacity: { storage: volume.size },
                        persistentVolumeReclaimPolicy: "Retain",
                        // Nobody else's.
                        claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace, name },
                        local: { path: volume.directory },
                        nodeAffinity: {
                            required: {
                                nodeSelectorTerms: [
                                    {
                                        matchExpressions: [
                                            { key: "kubernetes.io/hostname", operator: "In", values: [platformNode] },
                                        ],
                                    },
                                ],
                            },
                        },
                    },
                },
                { ...child, dependsOn: [onNode] },
            );
        const claim = new k8s.core.v1.PersistentVolumeClaim(
            `${resource}-claim`,
            {
                metadata: {
                    namespace,
                    name,
                    labels: commonLabels,
                    // Some classes make a volume only when a pod asks for it.
                    annotations: { "pulumi.com/skipAwait": "true" },
                },
                spec: {
                    ...spec,
                    resources: { requests: { storage: volume.size } },
                    ...(local ? { storageClassName: "", volumeName: local.metadata.name } : {}),
                    ...(volume.storageClass === "" ? {} : { storageClassName: volume.storageClass }),
                },
            },
            child,
        );
        return claim.metadata.name;
    }
}

/** The directory is made, and removed, on the launching machine: it is the node. */
function declareDirectory(
    resource: string,
    volume: MirrorVolumeArgs,
    owner: number,
    parent: pulumi.Resource,
): command.local.Command {
    return new command.local.Command(
        `${resource}-directory`,
        {
            create: "bin/ke1 mirrors make",
            delete: "bin/ke1 mirrors remove",
            environment: { KE1_MIRROR_DIRECTORY: volume.directory, KE1_MIRROR_OWNER: String(owner) },
            addPreviousOutputInEnv: false,
            logging: "none",
        },
        { parent },
    );
}

function syncerPod(
    args: RepoMirrorArgs,
    serviceAccountName: pulumi.Input<string>,
    programs: pulumi.Input<string>,
    claim: pulumi.Input<string>,
): k8s.types.input.core.v1.PodSpec {
    const access = gitAccess({ ...args, programs });
    const run = (what: string) => ["/bin/sh", `${access.directory}/sync`, what];
    return {
        serviceAccountName,
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        ...nameResolution(args.mirrors.some(({ remote }) => hasName(remote))),
        ...pullSecrets(args.imagePullSecrets),
        terminationGracePeriodSeconds: 30,
        securityContext: podSecurity(args.runAsUser),
        containers: [
            {
                name: "syncer",
                image: args.image,
                imagePullPolicy: "IfNotPresent",
                command: run("run"),
                env: [
                    { name: "TMPDIR", value: "/tmp" },
                    { name: "KE1_MIRRORS", value: mirrorsDirectory },
                    { name: "KE1_INTERVAL", value: String(args.interval) },
                    { name: "KE1_KEEP", value: String(args.deadlineSeconds + keepMargin) },
                    ...access.environment,
                ],
                // Ready: all mirrors are fresh. Nothing asks a mirror for anything: it is for those who look.
                readinessProbe: { exec: { command: run("ready") }, periodSeconds: 10, timeoutSeconds: 10 },
                livenessProbe: { exec: { command: run("alive") }, periodSeconds: 60, timeoutSeconds: 10 },
                resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { memory: args.memoryLimit } },
                securityContext: { ...restricted, readOnlyRootFilesystem: true },
                volumeMounts: [
                    { name: "mirrors", mountPath: mirrorsDirectory },
                    { name: "tmp", mountPath: "/tmp" },
                    ...access.volumeMounts,
                ],
            },
        ],
        volumes: [
            { name: "mirrors", persistentVolumeClaim: { claimName: claim } },
            { name: "tmp", emptyDir: { sizeLimit: "64Mi" } },
            programsVolume({ programs }),
            ...access.volumes,
        ],
    };
}
