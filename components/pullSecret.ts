import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { pullSecretName } from "../config/environments";
import { commonLabels } from "./labels";

export interface PullSecretArgs {
    readonly namespace: pulumi.Input<string>;
    /** The registry's host. */
    readonly server: pulumi.Input<string>;
    readonly username: pulumi.Input<string>;
    /** A secret output. To pull is all that it need be good for. */
    readonly password: pulumi.Output<string>;
}

/**
 * What the cluster's nodes pull images with, where they have no right of their own. No pod mounts it.
 * https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/
 */
export class PullSecret extends pulumi.ComponentResource {
    /** The Secret's name. */
    public readonly secret: pulumi.Output<string>;

    public constructor(name: string, args: PullSecretArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:PullSecret", name, {}, opts);
        const config = pulumi.all([args.server, args.username, args.password]).apply(([server, username, password]) =>
            JSON.stringify({
                auths: { [server]: { auth: Buffer.from(`${username}:${password}`).toString("base64") } },
            }),
        );
        const secret = new k8s.core.v1.Secret(
            `${name}-secret`,
            {
                metadata: { namespace: args.namespace, name: pullSecretName, labels: commonLabels },
                type: "kubernetes.io/dockerconfigjson",
                stringData: { ".dockerconfigjson": config },
            },
            { parent: this },
        );
        this.secret = secret.metadata.name;
        this.registerOutputs({ secret: this.secret });
    }
}
