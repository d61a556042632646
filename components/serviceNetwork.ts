import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import type { Reached } from "../config/service";
import { clusterDns, declareEgress } from "./egress";
import { commonLabels } from "./labels";

export interface ServiceNetworkArgs {
    readonly namespace: pulumi.Input<string>;
    readonly pods: Readonly<Record<string, string>>;
    /** Absent where the service listens to nobody. */
    readonly port?: number;
    /** Namespaces whose pods may call it. */
    readonly clients: readonly string[];
    /** The store. */
    readonly endpoints: readonly string[];
    readonly reaches: readonly Reached[];
}

/** What is a node's own, and nobody's else: as in components/egress.ts. */
const nodeOwn = ["169.254.0.0/16", "168.63.129.16/32"];

/**
 * Who may call a service, and whom it calls: the store, the registry, the API server and https addresses for sources, and
 * what the stack names. The API server's address is the cluster's own affair, hence its two usual ports are open; which
 * addresses a source may have is the service's to judge (docs/service.md).
 */
export function declareServiceNetwork(
    name: string,
    args: ServiceNetworkArgs,
    opts: pulumi.CustomResourceOptions,
): void {
    const { namespace, pods, port, clients } = args;
    const metadata = (policy: string) => ({ namespace, name: policy, labels: commonLabels });
    const podSelector = { matchLabels: { ...pods } };
    new k8s.networking.v1.NetworkPolicy(
        `${name}-deny`,
        { metadata: metadata("default-deny"), spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] } },
        opts,
    );
    if (port !== undefined && clients.length > 0) {
        new k8s.networking.v1.NetworkPolicy(
            `${name}-clients`,
            {
                metadata: metadata("allow-clients"),
                spec: {
                    podSelector,
                    policyTypes: ["Ingress"],
                    ingress: [
                        {
                            from: clients.map((client) => ({
                                namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": client } },
                            })),
                            ports: [{ protocol: "TCP", port }],
                        },
                    ],
                },
            },
            opts,
        );
    }
    new k8s.networking.v1.NetworkPolicy(
        `${name}-api`,
        {
            metadata: metadata("allow-api-and-sources"),
            spec: {
                podSelector,
                policyTypes: ["Egress"],
                egress: [
                    {
                        to: [{ ipBlock: { cidr: "0.0.0.0/0", except: nodeOwn } }],
                        ports: [443, 6443].map((each) => ({ protocol: "TCP", port: each })),
                    },
                    ...args.reaches.map((reached) => ({
                        to: [{ ipBlock: { cidr: reached.cidr } }],
                        ports: [{ protocol: "TCP", port: reached.port }],
                    })),
                    clusterDns,
                ],
            },
        },
        opts,
    );
    const egress = { namespace, endpoints: args.endpoints, privateAddresses: [], flavor: "kubernetes" as const };
    declareEgress(`${name}-store`, { ...egress, policy: "allow-store", pods }, opts);
}
