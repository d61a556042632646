import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import type { SourceIdentity } from "../contract/manifest";
import type { Watchdogs } from "../contract/watchdogs";

/** Who is told of a build's start and end. */
export interface NotifyArgs {
    /** A Pushgateway's address; empty for none. */
    readonly pushgateway: string;
    /** Empty for none. */
    readonly webhook: string;
    /** The webhook's key: a secret output. */
    readonly webhookSecret?: pulumi.Output<string>;
}

/** How what runs in the cluster is awaited, be it a build or a pipeline. */
export interface AwaitArgs {
    readonly kubeconfig: pulumi.Input<string>;
    readonly kubeContext: pulumi.Input<string>;
    /** How long the launcher waits for a pod that gets nowhere, in seconds. */
    readonly watchdogs: Watchdogs;
    readonly notify: NotifyArgs;
}

/** What is awaited. */
interface AwaitedArgs extends AwaitArgs {
    readonly buildTag: string;
    readonly source: SourceIdentity;
    readonly retries: number;
    readonly containerUrl: pulumi.Input<string>;
}

/**
 * The launcher, as a command of the stack's; cli/agentActions.ts reads its environment.
 *
 * @param own what it is told in addition
 * @returns what it prints on stdout: the result, as JSON
 */
export function awaitCommand(
    name: string,
    create: string,
    args: AwaitedArgs,
    own: Readonly<Record<string, pulumi.Input<string>>>,
    parent: pulumi.Resource,
): pulumi.Output<string> {
    const wait = new command.local.Command(
        name,
        {
            create,
            environment: {
                KE1_KUBECONFIG: args.kubeconfig,
                KE1_KUBE_CONTEXT: args.kubeContext,
                ...own,
                KE1_RETRIES: String(args.retries),
                KE1_WATCHDOGS: JSON.stringify(args.watchdogs),
                KE1_PUSHGATEWAY: args.notify.pushgateway,
                KE1_WEBHOOK: args.notify.webhook,
                ...(args.notify.webhookSecret ? { KE1_WEBHOOK_SECRET: args.notify.webhookSecret } : {}),
                KE1_STACK: pulumi.getStack(),
                KE1_BUILD_TAG: args.buildTag,
                KE1_SOURCE_COMMIT: args.source.commit ?? "",
                KE1_SOURCE_TREE: args.source.tree,
                KE1_CONTAINER_URL: args.containerUrl,
            },
            // What a build printed must not become the environment of the next command.
            addPreviousOutputInEnv: false,
            logging: "stderr",
        },
        { parent },
    );
    return wait.stdout;
}
