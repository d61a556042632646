import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import type { ImageBuilderSettings } from "../config/imageBuilder";
import type { ImageBuild } from "../contract/imageBuild";
import type { BuildImageArgs } from "./buildImage";

export interface ClusterImageArgs extends BuildImageArgs {
    /** The registry as the cluster's nodes have it, with which the image's name begins. */
    readonly registry: string;
    readonly builder: ImageBuilderSettings;
    /** The namespace of the pods that build, known once it is there. */
    readonly namespace: pulumi.Input<string>;
    readonly kubeconfig: pulumi.Input<string>;
    readonly kubeContext: pulumi.Input<string>;
}

/**
 * An image, built from one commit in a pod of the cluster and pushed from there; whatever runs it names it by digest. No
 * Docker is asked, and none is needed (docs/images.md).
 */
export class ClusterImage extends pulumi.ComponentResource {
    /** `<repository>@sha256:<hex>`. */
    public readonly reference: pulumi.Output<string>;

    public constructor(name: string, args: ClusterImageArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:ClusterImage", name, {}, opts);
        const { builder, registry, credential } = args;
        const build = pulumi
            .all([args.imageName, args.buildArgs ?? {}, args.namespace])
            .apply(([imageName, buildArgs, namespace]): ImageBuild => {
                return {
                    imageName,
                    pushName: builder.registry + imageName.slice(registry.length),
                    context: args.context,
                    dockerfile: args.dockerfile ?? "Dockerfile",
                    buildArgs,
                    pod: {
                        namespace,
                        builderImage: builder.image,
                        insecure: builder.insecure,
                        cache: builder.cache,
                        reproducible: builder.reproducible,
                        seccomp: builder.seccomp,
                        appArmor: builder.appArmor,
                        cpuRequest: builder.cpuRequest,
                        memoryLimit: builder.memoryLimit,
                        diskLimit: builder.diskLimit,
                        deadlineSeconds: builder.deadlineSeconds,
                        clusterDns: builder.clusterDns,
                    },
                };
            });
        const made = new command.local.Command(
            `${name}-image`,
            {
                create: "bin/ke1 image-build",
                environment: {
                    KE1_KUBECONFIG: args.kubeconfig,
                    KE1_KUBE_CONTEXT: args.kubeContext,
                    KE1_IMAGE_BUILD: pulumi.jsonStringify(build),
                    ...(builder.credentialFile === "" ? {} : { KE1_REGISTRY_CREDENTIAL_FILE: builder.credentialFile }),
                    ...(credential
                        ? { KE1_REGISTRY_USERNAME: credential.username, KE1_REGISTRY_PASSWORD: credential.password }
                        : {}),
                },
                // What a build printed must not become the environment of the next command.
                addPreviousOutputInEnv: false,
                logging: "stderr",
            },
            { parent: this },
        );
        // All that a command with a secret in its environment gives back counts as one; a digest is none.
        this.reference = pulumi
            .unsecret(made.stdout)
            .apply((result) => (JSON.parse(result) as { readonly reference: string }).reference);

        this.registerOutputs({ reference: this.reference });
    }
}
