import * as pulumi from "@pulumi/pulumi";

import type { BuildImageArgs } from "./buildImage";
import { BuildImage } from "./buildImage";

export interface PushedImageArgs extends BuildImageArgs {
    /** At least one; they take the place of that of `imageName`. */
    readonly tags: readonly string[];
}

/** One image under one or several tags of a repository. */
export class PushedImage extends pulumi.ComponentResource {
    /** `<repository>@sha256:<hex>`. */
    public readonly reference: pulumi.Output<string>;

    public constructor(name: string, args: PushedImageArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:PushedImage", name, {}, opts);

        const repository = pulumi.output(args.imageName).apply((imageName) => imageName.replace(/:[^:/]*$/, ""));
        const images: BuildImage[] = [];
        for (const tag of args.tags) {
            images.push(
                new BuildImage(
                    `${name}-${tag}`,
                    { ...args, imageName: pulumi.interpolate`${repository}:${tag}` },
                    // One after another: the builder has made the first, and gives it the other names.
                    { parent: this, dependsOn: images.slice(-1) },
                ),
            );
        }
        this.reference = images[0]?.reference ?? pulumi.output("");

        this.registerOutputs({ reference: this.reference });
    }
}
