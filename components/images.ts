import type * as pulumi from "@pulumi/pulumi";

import type { Settings } from "../config";
import type { BuildImageArgs } from "./buildImage";
import { BuildImage } from "./buildImage";
import { ClusterImage } from "./clusterImage";
import { ClusterImageBuilder } from "./clusterImageBuilder";

/** Declares an image, which has a name among the stack's resources. */
export type DeclareImage = (name: string, image: BuildImageArgs) => BuildImage | ClusterImage;

/** How the stack's images are made: by Docker, or in the cluster, for which the place to do so is declared first. */
export function imagesOf(
    settings: Settings,
    credential: BuildImageArgs["credential"],
    onCluster: pulumi.ComponentResourceOptions,
): DeclareImage {
    const { imageBuilder: builder, registry, kubeconfig, kubeContext } = settings;
    if (builder === undefined) {
        return (name, image) => new BuildImage(name, { ...image, credential });
    }
    const { maxPods, launchers, admission } = settings;
    const place = new ClusterImageBuilder(
        "images",
        { settings: builder, maxPods, launchers, rules: admission.inCluster },
        onCluster,
    );
    const common = { credential, builder, registry, kubeconfig, kubeContext, namespace: place.namespace };
    return (name, image) => new ClusterImage(name, { ...image, ...common }, { dependsOn: [...place.ready] });
}
