import * as command from "@pulumi/command";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { credentialSecret } from "../config/environments";
import { commonLabels } from "./labels";

export interface BuildIdentityArgs {
    readonly namespace: pulumi.Input<string>;
    /** Blob endpoint of the storage account, without a slash at its end. */
    readonly endpoint: pulumi.Input<string>;
    /** The one container that the identity may write to. */
    readonly container: pulumi.Input<string>;
    /** Path of the kubeconfig that the credential is brought to the cluster with; empty for the default one. */
    readonly kubeconfig: pulumi.Input<string>;
    readonly kubeContext: pulumi.Input<string>;
    /** The first day that the credential is good for, `YYYY-MM-DD` in UTC. A new day brings a new credential. */
    readonly validFrom: pulumi.Input<string>;
    /** Whether service account and Secret are another stack's; then the credential is renewed, and left when this stack goes. */
    readonly isPrepared?: boolean;
}

const serviceAccountName = "ke1-build";

/**
 * Who a build is: a service account without a token, and a Secret with a SAS that can create, write, add and read blobs
 * of one container (not delete, not list) for two days. The exporter alone mounts it.
 *
 * The SAS goes from the launching machine to the cluster without passing through the program: neither the state nor the
 * engine's log ever holds it.
 */
export class BuildIdentity extends pulumi.ComponentResource {
    public readonly serviceAccount: pulumi.Output<string>;
    /** The Secret whose key `sas` is the credential. */
    public readonly credentialSecret: pulumi.Output<string>;

    public constructor(name: string, args: BuildIdentityArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:BuildIdentity", name, {}, opts);

        this.serviceAccount = args.isPrepared
            ? pulumi.output(serviceAccountName)
            : new k8s.core.v1.ServiceAccount(
                  `${name}-service-account`,
                  {
                      metadata: { namespace: args.namespace, name: serviceAccountName, labels: commonLabels },
                      automountServiceAccountToken: false,
                  },
                  { parent: this },
              ).metadata.name;

        const credential = new command.local.Command(
            `${name}-credential`,
            {
                create: "bin/ke1 identity grant",
                ...(args.isPrepared ? {} : { delete: "bin/ke1 identity revoke" }),
                environment: {
                    KE1_BLOB_ENDPOINT: args.endpoint,
                    KE1_BLOB_CONTAINER: args.container,
                    KE1_KUBECONFIG: args.kubeconfig,
                    KE1_KUBE_CONTEXT: args.kubeContext,
                    KE1_NAMESPACE: args.namespace,
                    KE1_SECRET: credentialSecret,
                    KE1_VALID_FROM: args.validFrom,
                },
                addPreviousOutputInEnv: false,
                logging: "none",
            },
            { parent: this },
        );
        this.credentialSecret = credential.stdout.apply((stdout) => (JSON.parse(stdout) as { secret: string }).secret);

        this.registerOutputs({ serviceAccount: this.serviceAccount, credentialSecret: this.credentialSecret });
    }
}
