import { UserError } from "../contract/errors";
import type { Reader } from "./reader";

/** What a node's label must be (https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity). */
export interface NodeRequirement {
    readonly key: string;
    readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
    /** Empty for the operators that take none. */
    readonly values: readonly string[];
}

export interface NodePreference {
    /** 1 to 100; of the nodes that a pod can run on, the one with the greatest sum is taken. */
    readonly weight: number;
    readonly requirement: NodeRequirement;
}

/** A taint that a pod bears with (https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/). */
export interface Toleration {
    readonly key: string;
    readonly operator: "Equal" | "Exists";
    readonly value?: string;
    /** Absent for all effects. */
    readonly effect?: string;
}

/** Where builds run in the cluster. */
export interface Placement {
    /** All of them must hold. */
    readonly nodeRequirements: readonly NodeRequirement[];
    readonly nodePreferences: readonly NodePreference[];
    readonly tolerations: readonly Toleration[];
    /** What a build has to itself beside CPU and memory, such as GPUs: how many, by name. */
    readonly extendedResources: Readonly<Record<string, string>>;
    /** Empty for the cluster's default. */
    readonly priorityClass: string;
    /** A LocalQueue of Kueue's; empty for none. */
    readonly queue: string;
}

/** The label and the taint of AKS's spot nodes (https://learn.microsoft.com/azure/aks/spot-node-pool). */
const spotKey = "kubernetes.azure.com/scalesetpriority";

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set */
const labelKey = String.raw`(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?`;
const labelValue = String.raw`(?:[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?)?`;
/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names */
const dnsSubdomain = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/**
 * Reads the stack's words on placement. Requirements and preferences are written as label selectors are, tolerations as
 * taints are: the way `kubectl` takes them.
 *
 * @param spot whether AKS's spot nodes are taken where there are any, and others where there are none
 */
export function readPlacement(read: Reader, spot: boolean): Placement {
    const tolerations = read.list("tolerations").map(parseToleration);
    const nodePreferences = read.list("nodePreferences").map(parsePreference);
    const nodeRequirements = read
        .list("nodeRequirements")
        .map((text) => parseRequirement("nodeRequirements", text, JSON.stringify(text)));
    const dedicated = readDedicated(read);
    return {
        nodeRequirements: [...nodeRequirements, ...dedicated.nodeRequirements],
        nodePreferences: spot
            ? [...nodePreferences, { weight: 100, requirement: { key: spotKey, operator: "In", values: ["spot"] } }]
            : nodePreferences,
        tolerations: [
            ...tolerations,
            ...dedicated.tolerations,
            ...(spot ? [{ key: spotKey, operator: "Equal", value: "spot", effect: "NoSchedule" } as const] : []),
        ],
        extendedResources: readExtendedResources(read),
        priorityClass: read.matching("priorityClass", "", dnsSubdomain, "the name of a PriorityClass"),
        queue: read.matching("queue", "", dnsSubdomain, "the name of a LocalQueue"),
    };
}

/** Nodes that are the builds' own have a label, and a taint of the same key and value that keeps everybody else away. */
function readDedicated(read: Reader): Pick<Placement, "nodeRequirements" | "tolerations"> {
    const text = read.text("dedicatedNodes");
    if (text === "") {
        return { nodeRequirements: [], tolerations: [] };
    }
    const [, key = "", value = ""] = new RegExp(`^(${labelKey})=(${labelValue})$`).exec(text) ?? [];
    if (value === "") {
        throw new UserError(
            `dedicatedNodes must be key=value, the label and the taint of the builds' own nodes; it is \`${text}\``,
        );
    }
    return {
        nodeRequirements: [{ key, operator: "In", values: [value] }],
        tolerations: [{ key, operator: "Equal", value }],
    };
}

/** https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources */
const extendedResource = /^((?:[a-z0-9][-a-z0-9.]*)?[a-z0-9]\/[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?)=([1-9]\d{0,8})$/;

function readExtendedResources(read: Reader): Readonly<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const text of read.list("extendedResources")) {
        const [, name = "", count = ""] = extendedResource.exec(text) ?? [];
        if (name === "" || /^(requests\.|[^/]*kubernetes\.io\/)/.test(name)) {
            throw new UserError(
                `extendedResources has ${JSON.stringify(text)}; each must be a resource of a device plugin and how many of it, such as "nvidia.com/gpu=1"`,
            );
        }
        if (found[name] !== undefined) {
            throw new UserError(`extendedResources names ${name} twice`);
        }
        found[name] = count;
    }
    return found;
}

/** `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`, as `kubectl get nodes -l` takes it. */
function parseRequirement(setting: string, text: string, quoted: string): NodeRequirement {
    const set = new RegExp(`^(${labelKey})\\s+(in|notin)\\s+\\(([^()]*)\\)$`).exec(text.trim());
    if (set) {
        const values = (set[3] ?? "").split(",").map((value) => value.trim());
        if (values.every((value) => value !== "" && new RegExp(`^${labelValue}$`).test(value))) {
            return { key: set[1] ?? "", operator: set[2] === "in" ? "In" : "NotIn", values };
        }
    }
    const equality = new RegExp(`^(${labelKey})\\s*(==?|!=)\\s*(${labelValue})$`).exec(text.trim());
    if (equality) {
        const operator = equality[2] === "!=" ? "NotIn" : "In";
        return { key: equality[1] ?? "", operator, values: [equality[3] ?? ""] };
    }
    const presence = new RegExp(`^(!?)(${labelKey})$`).exec(text.trim());
    if (presence) {
        return { key: presence[2] ?? "", operator: presence[1] === "!" ? "DoesNotExist" : "Exists", values: [] };
    }
    throw new UserError(
        `${setting} has ${quoted}, which is no label selector (key=value, key!=value, key in (a,b), key notin (a,b), key, !key)`,
    );
}

/** `<weight>: <selector>`. */
function parsePreference(text: string): NodePreference {
    const match = /^\s*(\d{1,3})\s*:\s*(.*)$/.exec(text);
    const weight = Number(match?.[1]);
    if (!match || weight < 1 || weight > 100) {
        throw new UserError(
            `nodePreferences has ${JSON.stringify(text)}; each must be a weight from 1 to 100 and a label selector, such as "50: disk=ssd"`,
        );
    }
    return { weight, requirement: parseRequirement("nodePreferences", match[2] ?? "", JSON.stringify(text)) };
}

/** `key=value:Effect`, `key:Effect`, or `key` for every effect, as `kubectl taint` takes it. */
function parseToleration(text: string): Toleration {
    const pattern = `^(${labelKey})(?:=(${labelValue}))?(?::(NoSchedule|PreferNoSchedule|NoExecute))?$`;
    const match = new RegExp(pattern).exec(text.trim());
    if (!match) {
        throw new UserError(
            `tolerations has ${JSON.stringify(text)}, which is no taint (key=value:NoSchedule, key:NoSchedule, key; also PreferNoSchedule, NoExecute)`,
        );
    }
    const [, key = "", value, effect] = match;
    return {
        key,
        operator: value === undefined ? "Exists" : "Equal",
        ...(value === undefined ? {} : { value }),
        ...(effect === undefined ? {} : { effect }),
    };
}
