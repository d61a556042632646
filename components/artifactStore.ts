import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

export interface ArtifactStoreArgs {
    /** Blob endpoint of the storage account, without a slash at its end. */
    readonly endpoint: pulumi.Input<string>;
    /** The container's name. */
    readonly container: pulumi.Input<string>;
}

/**
 * The blob container that logs and artifacts are kept in. It is retained on deletion: destroying a stack must not take
 * the artifacts along.
 */
export class ArtifactStore extends pulumi.ComponentResource {
    /** The container's name, known once it is there. */
    public readonly container: pulumi.Output<string>;
    /** `<endpoint>/<container>`. */
    public readonly containerUrl: pulumi.Output<string>;

    public constructor(name: string, args: ArtifactStoreArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:ArtifactStore", name, {}, opts);

        // The store's credential is the launching person's: the command finds it itself, so that no state holds it.
        const container = new command.local.Command(
            `${name}-container`,
            {
                create: "bin/ke1 store create",
                environment: { KE1_BLOB_ENDPOINT: args.endpoint, KE1_BLOB_CONTAINER: args.container },
                addPreviousOutputInEnv: false,
                logging: "none",
            },
            { parent: this, retainOnDelete: true },
        );
        this.container = container.stdout.apply((stdout) => (JSON.parse(stdout) as { container: string }).container);
        this.containerUrl = pulumi.interpolate`${args.endpoint}/${this.container}`;

        this.registerOutputs({ container: this.container, containerUrl: this.containerUrl });
    }
}
