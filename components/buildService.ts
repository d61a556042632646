import { createHash } from "node:crypto";

import * as command from "@pulumi/command";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { DeployedService } from "../config/service";
import { declareNamespace } from "./buildNamespace";
import type { BuildSlotArgs } from "./buildSlot";
import { BuildSlot } from "./buildSlot";
import { commonLabels } from "./labels";
import type { PullSecretArgs } from "./pullSecret";
import { PullSecret } from "./pullSecret";
import { declareServiceNetwork } from "./serviceNetwork";
import { kubeconfigOf, kubeconfigPath, servicePod } from "./servicePod";
import { declareVolumes } from "./serviceVolumes";

export interface BuildServiceArgs {
    readonly service: DeployedService;
    /** The namespace of the service itself. */
    readonly namespace: string;
    readonly createNamespace: boolean;
    /** By digest. */
    readonly image: pulumi.Input<string>;
    /** What the builds' namespaces are made with. */
    readonly slot: Omit<BuildSlotArgs, "name" | "service" | "pull">;
    /** Configuration that builds begin with, before that of `service.builds`. */
    readonly builds: Readonly<Record<string, pulumi.Input<string | number | boolean>>>;
    /** Without a slash at its end. */
    readonly blobEndpoint: string;
    readonly kubeconfig: string;
    readonly kubeContext: string;
    /** Host and port. */
    readonly registryHost: string;
    /** A JSON file of this machine with who may push images to the embedded registry; absent where nobody does. */
    readonly registryCredentialFile?: string;
    /** A pull secret that is in all of its namespaces; empty for none. */
    readonly imagePullSecret: string;
    /** What one is made of in each of them. */
    readonly pull?: Omit<PullSecretArgs, "namespace">;
    readonly runAsUser: number;
    readonly resolvesNames: boolean;
}

/** Who the service is to the cluster, in its own namespace. */
export const serviceAccountName = "ke1-service";
const storeSecret = "ke1-store";
const labels = { ...commonLabels, "app.kubernetes.io/component": "service" };

/**
 * `ke1 serve`, `watch` or `spawn` in the cluster: one pod, a volume with its queue, and a namespace for each build that may
 * run at once. In those namespaces its account may launch builds; it has no other right in the cluster, not even in its own
 * namespace.
 */
export class BuildService extends pulumi.ComponentResource {
    public readonly namespace: pulumi.Output<string>;
    /** The namespaces of its builds. */
    public readonly slots: pulumi.Output<readonly string[]>;
    /** `<namespace>/<name>` of the Deployment. */
    public readonly deployment: pulumi.Output<string>;
    /** As pods of the cluster reach it; absent where it listens to nobody. */
    public readonly url?: pulumi.Output<string>;

    public constructor(name: string, args: BuildServiceArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:BuildService", name, {}, opts);
        const child = { parent: this };
        const { service } = args;

        const namespace = args.createNamespace
            ? declareNamespace(name, args.namespace, child)
            : pulumi.output(args.namespace);
        this.namespace = namespace;
        const metadata = { namespace, labels };
        const serviceAccount = new k8s.core.v1.ServiceAccount(
            `${name}-service-account`,
            { metadata: { ...metadata, name: serviceAccountName }, automountServiceAccountToken: false },
            child,
        );
        const launcher = { namespace, account: serviceAccount.metadata.name };
        const pullSecret =
            args.pull && new PullSecret(`${name}-pull`, { ...args.pull, namespace: this.namespace }, child).secret;
        const imagePullSecret = pullSecret ?? args.imagePullSecret;
        const slots = Array.from({ length: service.parallel }, (_, index) => {
            const slot = `${args.namespace}-builds-${index}`;
            return new BuildSlot(
                `slot-${index}`,
                { ...args.slot, pull: args.pull, name: slot, service: launcher },
                child,
            );
        });
        const volumes = declareVolumes(
            name,
            { ...service, namespace, namespaceName: args.namespace, runAsUser: args.runAsUser },
            child,
        );
        const settings = declareSettings(
            name,
            { ...args, builds: { ...args.builds, ...(imagePullSecret === "" ? {} : { imagePullSecret }) } },
            metadata,
            volumes.gateway !== undefined,
            this,
        );
        const credential = declareCredential(name, args, namespace, this);
        const deployment = new k8s.apps.v1.Deployment(
            `${name}-deployment`,
            {
                metadata: { ...metadata, name: `ke1-${service.command}` },
                spec: {
                    replicas: 1,
                    // The queue is one file with one writer: the old pod ends before the new one begins.
                    strategy: { type: "Recreate" },
                    selector: { matchLabels: { "app.kubernetes.io/component": "service" } },
                    template: {
                        metadata: { labels },
                        spec: servicePod({
                            ...service,
                            ...{ serviceImage: args.image, account: serviceAccount.metadata.name },
                            slots: slots.map((slot) => slot.namespace),
                            ...{ settings, volumes, storeSecret: credential, registryHost: args.registryHost },
                            ...{
                                imagePullSecrets: imagePullSecret === "" ? [] : [imagePullSecret],
                                runAsUser: args.runAsUser,
                            },
                            resolvesNames: args.resolvesNames,
                            pushesToPlatform: args.registryCredentialFile !== undefined,
                        }),
                    },
                },
            },
            // It takes up what it finds at its start: its builds' namespaces have to be whole by then.
            { ...child, dependsOn: slots },
        );
        this.deployment = pulumi.interpolate`${namespace}/${deployment.metadata.name}`;
        const listens = service.command === "serve";
        declareServiceNetwork(
            name,
            {
                ...{ namespace, pods: { "app.kubernetes.io/component": "service" }, clients: service.clients },
                ...{ endpoints: [args.blobEndpoint], reaches: service.reaches },
                ...(listens ? { port: service.port } : {}),
            },
            child,
        );
        if (listens) {
            const front = new k8s.core.v1.Service(
                `${name}-front`,
                {
                    // No pod need be ready for the stack to be up: the Deployment has been waited for.
                    metadata: { ...metadata, name: "ke1", annotations: { "pulumi.com/skipAwait": "true" } },
                    spec: {
                        type: "ClusterIP",
                        selector: { "app.kubernetes.io/component": "service" },
                        ports: [{ name: "http", port: service.port, targetPort: "http", protocol: "TCP" }],
                    },
                },
                child,
            );
            this.url = pulumi.interpolate`http://${front.metadata.name}.${namespace}.svc:${service.port}`;
        }
        this.slots = pulumi.all(slots.map((slot) => slot.namespace));
        this.registerOutputs({ namespace: this.namespace, slots: this.slots, deployment: this.deployment });
    }
}

/** Who it is to the cluster, who may call it, and what builds begin with. Named by its content: a new one brings a new pod. */
function declareSettings(
    name: string,
    { builds, service }: BuildServiceArgs,
    metadata: { readonly namespace: pulumi.Input<string>; readonly labels: Readonly<Record<string, string>> },
    hasGateway: boolean,
    parent: pulumi.Resource,
): pulumi.Output<string> {
    const kubeconfig = kubeconfigOf(hasGateway);
    const stack = pulumi.output(builds).apply((following) => {
        const config = {
            ...following,
            ...{ target: "local", kubeconfig: kubeconfigPath, createNamespace: false, preparedNamespace: true },
            ...service.builds,
        };
        const named = Object.entries(config).map(([key, value]) => [
            key.includes(":") ? key : `ke-1-build:${key}`,
            value,
        ]);
        // JSON is YAML.
        return JSON.stringify({ config: Object.fromEntries(named) as unknown });
    });
    const tokens = service.tokens.map((line) => `${line}\n`).join("");
    const given = service.certificates === "" ? [] : [service.certificates];
    const digest = stack.apply((text) =>
        createHash("sha256")
            .update([kubeconfig, tokens, text, ...given].join("\n"))
            .digest("hex"),
    );
    return new k8s.core.v1.ConfigMap(
        `${name}-settings`,
        {
            metadata: {
                ...metadata,
                name: pulumi.interpolate`ke1-settings-${digest.apply((hex) => hex.slice(0, 10))}`,
            },
            immutable: true,
            // Only hashes of tokens; no credential is in any of it.
            data: { kubeconfig, stack, tokens, ...(given[0] === undefined ? {} : { certificates: given[0] }) },
        },
        { parent },
    ).metadata.name;
}

/** The store's key, and the embedded registry's for images, go from the launching machine to the cluster; no state holds it (components/buildIdentity.ts). */
function declareCredential(
    name: string,
    args: BuildServiceArgs,
    namespace: pulumi.Input<string>,
    parent: pulumi.Resource,
): pulumi.Output<string> {
    const granted = new command.local.Command(
        `${name}-credential`,
        {
            create: "bin/ke1 store grant",
            delete: "bin/ke1 store revoke",
            environment: {
                KE1_BLOB_ENDPOINT: args.blobEndpoint,
                KE1_KUBECONFIG: args.kubeconfig,
                KE1_KUBE_CONTEXT: args.kubeContext,
                KE1_NAMESPACE: namespace,
                KE1_SECRET: storeSecret,
                ...(args.registryCredentialFile === undefined
                    ? {}
                    : { KE1_REGISTRY_CREDENTIAL_FILE: args.registryCredentialFile }),
            },
            addPreviousOutputInEnv: false,
            logging: "none",
        },
        { parent },
    );
    return granted.stdout.apply((stdout) => (JSON.parse(stdout) as { readonly secret: string }).secret);
}
