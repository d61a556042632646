import type * as pulumi from "@pulumi/pulumi";

import type { Settings } from "../config";
import type { BuildImageArgs } from "./buildImage";
import { BuildImage } from "./buildImage";
import { ClusterImage } from "./clusterImage";
import { ClusterImageBuilder } from "./clusterImageBuilder";
import type { ServiceAccountName } from "./clusterImageBuilder";

/** Declares an image, which has a name among the stack's resources. */
export type DeclareImage = (name: string, image: BuildImageArgs) => BuildImage | ClusterImage;

/**
 * How the stack's images are made: by Docker, or in the cluster, for which the place to do so is declared first.
 *
 * @param accounts who may build images there besides `launchers`
 */
export function imagesOf(
    settings: Settings,
    credential: BuildImageArgs["credential"],
    onCluster: pulumi.ComponentResourceOptions,
    accounts: readonly ServiceAccountName[] = [],
): DeclareImage {
    const { imageBuilder: builder, registry, kubeconfig, kubeContext } = settings;
    if (builder === undefined) {
        return (name, image) => new BuildImage(name, { ...image, credential });
    }
    const common = { credential, builder, registry, kubeconfig, kubeContext };
    if (settings.preparedNamespace) {
        // A service's stack has made all of it ready.
        return (name, image) => new ClusterImage(name, { ...image, ...common, namespace: builder.namespace });
    }
    const { maxPods, launchers, admission } = settings;
    const { namespace, ready } = new ClusterImageBuilder(
        "images",
        { settings: builder, maxPods, launchers, accounts, rules: admission.inCluster },
        onCluster,
    );
    return (name, image) => new ClusterImage(name, { ...image, ...common, namespace }, { dependsOn: [...ready] });
}
