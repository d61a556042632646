import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { gitPorts } from "../source/remote";
import { commonLabels } from "./labels";

export interface BuildEgressArgs {
    readonly namespace: pulumi.Input<string>;
    /** The only places that the pods may reach: http or https addresses, or those of git repositories. */
    readonly endpoints: readonly string[];
    /** The policy's name, and the labels of its pods; absent for all builds' way out. */
    readonly policy?: string;
    readonly pods?: Readonly<Record<string, string>>;
    /** CIDR blocks of private endpoints behind which the named hosts are; empty where they are on the internet. */
    readonly privateAddresses: readonly string[];
    /** `cilium` allows the hosts by name; `kubernetes` knows addresses only. */
    readonly flavor: "kubernetes" | "cilium";
}

/** Whether a pod must look up a host's name to reach an address. */
export function hasName(endpoint: string): boolean {
    return !/^\d+\.\d+\.\d+\.\d+$/.test(new URL(endpoint).hostname);
}

const buildPods = { "app.kubernetes.io/component": "build" };

/**
 * Lets the pods of builds out to the given endpoints, and nowhere else; where an endpoint has a name, to the cluster's DNS
 * too. A NetworkPolicy cannot name hosts: for those it allows their port on the internet, or on the private endpoints'
 * addresses, but never the addresses at which a node hands out its own identity. Cilium's policy allows the names alone.
 */
export function declareEgress(
    name: string,
    args: BuildEgressArgs,
    opts: pulumi.CustomResourceOptions,
): pulumi.CustomResource {
    const metadata = { namespace: args.namespace, name: args.policy ?? "allow-export", labels: commonLabels };
    if (args.flavor === "cilium") {
        const spec = ciliumSpec(args);
        const kind = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy" };
        return new k8s.apiextensions.CustomResource(name, { ...kind, metadata, spec }, opts);
    }
    const egress = args.endpoints.map((endpoint) => egressTo(endpoint, args.privateAddresses));
    return new k8s.networking.v1.NetworkPolicy(
        name,
        {
            metadata,
            spec: {
                podSelector: { matchLabels: args.pods ?? buildPods },
                policyTypes: ["Egress"],
                egress: args.endpoints.some(hasName) ? [...egress, clusterDns] : egress,
            },
        },
        opts,
    );
}

export type EgressRule = k8s.types.input.networking.v1.NetworkPolicyEgressRule;

export const clusterDns: EgressRule = {
    to: [
        {
            namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
            podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
        },
    ],
    ports: [
        { protocol: "UDP", port: 53 },
        { protocol: "TCP", port: 53 },
    ],
};

/**
 * Not on the internet, or on it only for a node: private networks (RFC 1918, RFC 6598), the instance metadata services
 * (https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service) and Azure's platform address
 * (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
 */
const notTheInternet = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"];
const platformAddress = "168.63.129.16/32";

/** What is on the internet, for everybody. */
export const internet = { ipBlock: { cidr: "0.0.0.0/0", except: [...notTheInternet, platformAddress] } };

/** `<service>.<namespace>.svc`: the namespace, as the policy sees pods and not the Service in front of them. */
function serviceNamespace(endpoint: string): string | undefined {
    return /^[^.]+\.([^.]+)\.svc(\.cluster\.local)?$/.exec(new URL(endpoint).hostname)?.[1];
}

export function egressTo(endpoint: string, privateAddresses: readonly string[]): EgressRule {
    const service = serviceNamespace(endpoint);
    if (service !== undefined) {
        const namespaceSelector = { matchLabels: { "kubernetes.io/metadata.name": service } };
        return { to: [{ namespaceSelector }], ports: [{ protocol: "TCP", port: portOf(endpoint) }] };
    }
    const named = [internet, ...privateAddresses.map((cidr) => ({ ipBlock: { cidr } }))];
    const to = hasName(endpoint) ? named : [{ ipBlock: { cidr: `${new URL(endpoint).hostname}/32` } }];
    return { to, ports: [{ protocol: "TCP", port: portOf(endpoint) }] };
}

function portOf(endpoint: string): number {
    const url = new URL(endpoint);
    return Number(url.port || gitPorts[url.protocol]);
}

/** https://docs.cilium.io/en/stable/security/policy/language/#dns-based */
function ciliumSpec({ endpoints, pods }: BuildEgressArgs) {
    const byService = endpoints
        .filter((endpoint) => serviceNamespace(endpoint) !== undefined)
        .map((endpoint) => ({
            toEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": serviceNamespace(endpoint) } }],
            toPorts: [{ ports: [{ port: String(portOf(endpoint)), protocol: "TCP" }] }],
        }));
    const named = endpoints.filter((endpoint) => hasName(endpoint) && serviceNamespace(endpoint) === undefined);
    const byName = named.map((endpoint) => ({
        toFQDNs: [{ matchName: new URL(endpoint).hostname }],
        toPorts: [{ ports: [{ port: String(portOf(endpoint)), protocol: "TCP" }] }],
    }));
    const byAddress = endpoints
        .filter((endpoint) => !hasName(endpoint))
        .map((endpoint) => ({
            toCIDR: [`${new URL(endpoint).hostname}/32`],
            toPorts: [{ ports: [{ port: String(portOf(endpoint)), protocol: "TCP" }] }],
        }));
    const dns = {
        toEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "kube-system", "k8s:k8s-app": "kube-dns" } }],
        toPorts: [
            {
                ports: [{ port: "53", protocol: "ANY" }],
                rules: { dns: endpoints.filter(hasName).map((each) => ({ matchName: new URL(each).hostname })) },
            },
        ],
    };
    return {
        endpointSelector: { matchLabels: pods ?? buildPods },
        egress: [...byName, ...byService, ...byAddress, ...(endpoints.some(hasName) ? [dns] : [])],
    };
}
