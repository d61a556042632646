import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import type { BuildEgressArgs } from "./egress";
import { declareEgress } from "./egress";
import type { ExportArgs } from "./exports";
import { receiversOf } from "./exports";
import { commonLabels } from "./labels";

/** Lets the pods of builds out to the receivers, and Prometheus in to their metrics, where there are any. */
export function declareReceiverAccess(
    name: string,
    args: ExportArgs & Pick<BuildEgressArgs, "namespace" | "flavor">,
    opts: pulumi.CustomResourceOptions,
): void {
    const endpoints = receiversOf(args);
    if (endpoints.length > 0) {
        const { namespace, flavor, sinkAddresses: privateAddresses } = args;
        declareEgress(`${name}-sinks`, { namespace, flavor, endpoints, privateAddresses, policy: "allow-sinks" }, opts);
    }
    if (args.metricsPort !== 0) {
        declareScraping(`${name}-scrape`, { namespace: args.namespace, port: args.metricsPort }, opts);
    }
}

/** Lets whoever is in the cluster read the metrics of builds; there is nothing else to be had at that port. */
function declareScraping(
    name: string,
    args: { readonly namespace: pulumi.Input<string>; readonly port: number },
    opts: pulumi.CustomResourceOptions,
): k8s.networking.v1.NetworkPolicy {
    return new k8s.networking.v1.NetworkPolicy(
        name,
        {
            metadata: { namespace: args.namespace, name: "allow-scrape", labels: commonLabels },
            spec: {
                podSelector: { matchLabels: { "app.kubernetes.io/component": "build" } },
                policyTypes: ["Ingress"],
                ingress: [{ from: [{ namespaceSelector: {} }], ports: [{ protocol: "TCP", port: args.port }] }],
            },
        },
        opts,
    );
}
