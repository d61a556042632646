import { BlockList, isIPv4 } from "node:net";

import { imagePods } from "../contract/imageBuild";
import { exactType, policy, shown } from "./rule";

const enforce = "pod-security.kubernetes.io/enforce";

export const namespace = policy<{ readonly metadata?: { readonly labels?: Readonly<Record<string, string>> } }>({
    name: "restricted-namespace",
    description: "The cluster itself refuses a pod with privileges.",
    types: exactType("kubernetes:core/v1:Namespace"),
    examine: ({ metadata }, check) => {
        check(() =>
            metadata?.labels?.[enforce] === "restricted" || isForImages(metadata?.labels ?? {})
                ? undefined
                : `label the namespace ${enforce}=restricted (it is ${shown(metadata?.labels?.[enforce])}): it would take pods with privileges`,
        );
    },
});

/**
 * Rootless BuildKit needs what `restricted` forbids, and nothing that `baseline` does (docs/images.md). No other namespace is
 * let off, and this one from no more.
 */
function isForImages(labels: Readonly<Record<string, string>>): boolean {
    return labels[enforce] === "baseline" && Object.entries(imagePods).every(([name, value]) => labels[name] === value);
}

/**
 * Where a node of Azure hands out its own identity and settings
 * (https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service,
 * https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
 */
const nodeAddresses = ["169.254.169.254", "168.63.129.16"];

/** What of the node's addresses a block of addresses reaches. A block that cannot be read reaches all of them. */
function nodeAddressesIn(cidr: string, except: readonly string[] = []): readonly string[] {
    const inside = blockOf([cidr]);
    const outside = blockOf(except);
    return inside && outside
        ? nodeAddresses.filter((address) => inside.check(address) && !outside.check(address))
        : nodeAddresses;
}

/** @returns undefined for what is no IPv4 block */
function blockOf(blocks: readonly string[]): BlockList | undefined {
    const list = new BlockList();
    for (const block of blocks) {
        const [address = "", prefix = "32"] = block.split("/");
        if (!isIPv4(address) || !/^([12]?\d|3[0-2])$/.test(prefix)) {
            return undefined;
        }
        list.addSubnet(address, Number(prefix));
    }
    return list;
}

const nodeReached = (cidr: string, addresses: readonly string[]) =>
    `leave ${addresses.join(" and ")} out of ${cidr}: there a node hands out its own identity`;

interface Selector {
    readonly matchLabels?: Readonly<Record<string, string>>;
    readonly matchExpressions?: readonly unknown[];
}

interface NetworkPolicy {
    readonly spec?: {
        readonly egress?: readonly {
            readonly to?: readonly {
                readonly ipBlock?: { readonly cidr?: string; readonly except?: readonly string[] };
                readonly namespaceSelector?: Selector;
                readonly podSelector?: Selector;
            }[];
            readonly ports?: readonly unknown[];
        }[];
    };
}

export const egress = policy<NetworkPolicy>({
    name: "network-policy",
    description: "A pod reaches what it is let out to, and nothing else.",
    types: exactType("kubernetes:networking.k8s.io/v1:NetworkPolicy"),
    examine: ({ spec }, check) => {
        for (const rule of spec?.egress ?? []) {
            check(() =>
                rule.to?.length ? undefined : "name in `to` whom the egress rule is for: it lets out to everywhere",
            );
            check(() => (rule.ports?.length ? undefined : "name the ports of the egress rule: it opens all of them"));
            for (const peer of rule.to ?? []) {
                check(() => {
                    const { cidr, except } = peer.ipBlock ?? {};
                    const reached = cidr === undefined ? [] : nodeAddressesIn(cidr, except);
                    return reached.length > 0 ? nodeReached(cidr ?? "", reached) : undefined;
                });
                check(() =>
                    peer.namespaceSelector && !selects(peer.namespaceSelector) && !selects(peer.podSelector)
                        ? "name a namespace or pods in the egress rule: it lets out to every pod of the cluster"
                        : undefined,
                );
            }
        }
    },
});

function selects(selector: Selector | undefined): boolean {
    return Object.keys(selector?.matchLabels ?? {}).length > 0 || Boolean(selector?.matchExpressions?.length);
}

interface CiliumPolicy {
    readonly spec?: {
        readonly egress?: readonly {
            readonly toFQDNs?: readonly { readonly matchName?: string; readonly matchPattern?: string }[];
            readonly toCIDR?: readonly string[];
            readonly toCIDRSet?: readonly { readonly cidr?: string; readonly except?: readonly string[] }[];
            readonly toEndpoints?: readonly Selector[];
            readonly toEntities?: readonly string[];
            readonly toServices?: readonly unknown[];
            readonly toPorts?: readonly unknown[];
        }[];
    };
}

/** The same for Cilium's policies, which can name hosts (https://docs.cilium.io/en/stable/security/policy/language/). */
export const namedEgress = policy<CiliumPolicy>({
    name: "cilium-network-policy",
    description: "A pod reaches the hosts that it is let out to by name, and nothing else.",
    types: exactType("kubernetes:cilium.io/v2:CiliumNetworkPolicy"),
    examine: ({ spec }, check) => {
        for (const rule of spec?.egress ?? []) {
            check(() => {
                const { toFQDNs, toCIDR, toCIDRSet, toEndpoints, toServices } = rule;
                const named = [toFQDNs, toCIDR, toCIDRSet, toServices].some((peers) => peers?.length);
                return named || toEndpoints?.some(selects)
                    ? undefined
                    : "name hosts, addresses or pods in the egress rule: it lets out to everywhere";
            });
            check(() => (rule.toPorts?.length ? undefined : "name the ports of the egress rule: it opens all of them"));
            check(() => (rule.toEntities?.length ? "leave out toEntities: world and all are everywhere" : undefined));
            check(() =>
                rule.toFQDNs?.some(({ matchPattern }) => matchPattern?.includes("*"))
                    ? "name each host of the egress rule: a pattern matches hosts of others too"
                    : undefined,
            );
            const blocks = [...(rule.toCIDR ?? []).map((cidr) => ({ cidr, except: [] })), ...(rule.toCIDRSet ?? [])];
            for (const { cidr, except } of blocks) {
                check(() => {
                    const reached = nodeAddressesIn(cidr ?? "", except);
                    return reached.length > 0 ? nodeReached(cidr ?? "", reached) : undefined;
                });
            }
        }
    },
});

/** Whether the registry's password is a secret cannot be told here: a policy is handed secrets like any other value. */
export const imageName = policy<{ readonly imageName?: string }>({
    name: "image-tag",
    description: "An image is pushed under its BUILD_TAG.",
    types: exactType("docker:index/image:Image"),
    examine: (image, check) => {
        check(() => {
            const tag = /:([^:/@]+)$/.exec(image.imageName ?? "")?.[1];
            return tag === undefined || tag === "latest"
                ? `give the image ${shown(image.imageName)} its BUILD_TAG as tag: without one, or as latest, it would replace another`
                : undefined;
        });
    },
});
