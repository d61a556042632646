import * as command from "@pulumi/command";
import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import type { PlatformPlaces } from "../config/service";
import { commonLabels } from "./labels";

export interface ServiceVolumesArgs {
    readonly namespace: pulumi.Input<string>;
    /** Names the volumes of the embedded platform, of which there is one in a cluster. */
    readonly namespaceName: string;
    readonly storage: string;
    /** Empty for the cluster's default. */
    readonly storageClass: string;
    readonly runAsUser: number;
    readonly onPlatform?: PlatformPlaces;
}

/** Claims that the service's pod mounts. */
export interface ServiceVolumes {
    readonly data: pulumi.Output<string>;
    /** With the sockets of API server and registry; absent where the pod reaches them by the network. */
    readonly gateway?: pulumi.Output<string>;
}

/** The embedded platform's one node (platform/settings.ts). */
const platformNode = "ke1";

/**
 * The volume with the queue, the sources and the stacks' state. Whoever destroys the stack destroys it: what was built is in
 * the store. The embedded platform, where nothing makes volumes, has directories of this machine for them.
 */
export function declareVolumes(
    name: string,
    args: ServiceVolumesArgs,
    opts: { readonly parent: pulumi.Resource },
): ServiceVolumes {
    const { onPlatform, namespaceName, storage } = args;
    if (!onPlatform) {
        return { data: declareClaim(`${name}-data`, args, { name: "ke1-data", mode: "ReadWriteOnce" }, opts) };
    }
    const directory = new command.local.Command(
        `${name}-directory`,
        {
            create: "bin/ke1 service-directory make",
            delete: "bin/ke1 service-directory remove",
            environment: { KE1_SERVICE_DIRECTORY: onPlatform.data, KE1_SERVICE_OWNER: String(args.runAsUser) },
            addPreviousOutputInEnv: false,
            logging: "stderr",
        },
        opts,
    );
    const onNode = { ...opts, dependsOn: [directory] };
    const declare = (what: "data" | "gateway", path: string, mode: string) => {
        const claim = { name: `ke1-${what}`, mode };
        const volume = new k8s.core.v1.PersistentVolume(
            `${name}-${what}-volume`,
            {
                metadata: { name: `ke1-${what}-${namespaceName}`, labels: commonLabels },
                spec: {
                    accessModes: [mode],
                    volumeMode: "Filesystem",
                    capacity: { storage },
                    // Of no class: left out, as the CLI's provider does not keep an empty one.
                    persistentVolumeReclaimPolicy: "Retain",
                    // Nobody else's.
                    claimRef: {
                        apiVersion: "v1",
                        kind: "PersistentVolumeClaim",
                        namespace: args.namespace,
                        name: claim.name,
                    },
                    local: { path },
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
            onNode,
        );
        return declareClaim(`${name}-${what}`, args, { ...claim, volume: volume.metadata.name }, opts);
    };
    return {
        data: declare("data", onPlatform.data, "ReadWriteOnce"),
        gateway: declare("gateway", onPlatform.gateway, "ReadOnlyMany"),
    };
}

function declareClaim(
    name: string,
    { namespace, storage, storageClass }: ServiceVolumesArgs,
    claim: { readonly name: string; readonly mode: string; readonly volume?: pulumi.Input<string> },
    opts: pulumi.CustomResourceOptions,
): pulumi.Output<string> {
    return new k8s.core.v1.PersistentVolumeClaim(
        `${name}-claim`,
        {
            metadata: {
                namespace,
                name: claim.name,
                labels: commonLabels,
                // Some classes make a volume only when a pod asks for it.
                annotations: { "pulumi.com/skipAwait": "true" },
            },
            spec: {
                accessModes: [claim.mode],
                volumeMode: "Filesystem",
                resources: { requests: { storage } },
                ...(claim.volume ? { storageClassName: "", volumeName: claim.volume } : {}),
                ...(storageClass === "" ? {} : { storageClassName: storageClass }),
            },
        },
        opts,
    ).metadata.name;
}
