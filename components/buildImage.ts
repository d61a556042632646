import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

export interface BuildImageArgs {
    /** `<registry>/<repository>:<tag>`. */
    readonly imageName: pulumi.Input<string>;
    /** The directory with the Dockerfile's context, relative to the project. */
    readonly context: string;
    /** The Dockerfile, relative to the context. */
    readonly dockerfile?: string;
    /** Build arguments. They can be read in the image: never a credential. */
    readonly buildArgs?: Readonly<Record<string, pulumi.Input<string>>>;
    /** Who pushes; absent: whom the Docker configuration knows (`docker login`, a credential helper). */
    readonly credential?: {
        /** The registry's host. */
        readonly server: pulumi.Input<string>;
        readonly username: pulumi.Input<string>;
        /** A secret output: state holds it encrypted. */
        readonly password: pulumi.Output<string>;
    };
}

/** An image, built from one commit and pushed; whatever runs it names it by digest. */
export class BuildImage extends pulumi.ComponentResource {
    /** `<repository>@sha256:<hex>`. */
    public readonly reference: pulumi.Output<string>;

    public constructor(name: string, args: BuildImageArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:BuildImage", name, {}, opts);

        const image = new docker.Image(
            `${name}-image`,
            {
                imageName: args.imageName,
                build: {
                    context: args.context,
                    dockerfile: `${args.context}/${args.dockerfile ?? "Dockerfile"}`,
                    args: args.buildArgs ?? {},
                    // What the cluster's nodes run, whatever the machine that builds the image.
                    platform: "linux/amd64",
                    builderVersion: docker.BuilderVersion.BuilderBuildKit,
                },
                registry: args.credential,
                buildOnPreview: false,
                skipPush: false,
            },
            { parent: this },
        );
        this.reference = image.repoDigest;

        this.registerOutputs({ reference: this.reference });
    }
}
