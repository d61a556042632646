import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import type { ImageBuilderSettings } from "../config/imageBuilder";
import { imagePods } from "../contract/imageBuild";
import { clusterDns, egressTo, internet } from "./egress";
import { commonLabels } from "./labels";

const web = [80, 443].map((port) => ({ protocol: "TCP", port }));

/**
 * What an image build may reach: the registry, and on the internet what packages are fetched from, as a `docker build` may;
 * never where a node hands out its own identity, nor anything private that is not named.
 */
export function declareImageEgress(
    name: string,
    args: { readonly namespace: pulumi.Input<string>; readonly settings: ImageBuilderSettings },
    opts: pulumi.CustomResourceOptions,
): pulumi.Resource {
    const { registry, insecure, addresses, clusterDns: hasDns } = args.settings;
    const host = registry.split("/", 1)[0] ?? "";
    const blocks = addresses.map((cidr) => ({ ipBlock: { cidr } }));
    return new k8s.networking.v1.NetworkPolicy(
        `${name}-egress`,
        {
            metadata: { namespace: args.namespace, name: "allow-images", labels: commonLabels },
            spec: {
                podSelector: { matchLabels: imagePods },
                policyTypes: ["Egress"],
                egress: [
                    egressTo(`${insecure ? "http" : "https"}://${host}`, addresses),
                    { to: [internet, ...blocks], ports: web },
                    ...(hasDns ? [clusterDns] : []),
                ],
            },
        },
        opts,
    );
}
