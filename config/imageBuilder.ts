import { UserError } from "../contract/errors";
import { digestReference, dnsLabel, quantity } from "../contract/patterns";
import { readImageBuilder } from "../platform/imageBuilderDescriptor";
import type { Reader } from "./reader";

/** Images are built in the cluster, without a Docker. */
export interface ImageBuilderSettings {
    /** The namespace in which they are. */
    readonly namespace: string;
    readonly createNamespace: boolean;
    /** BuildKit, rootless, by digest. */
    readonly image: string;
    /** The registry as pods reach it: a host, perhaps with a port and a path. */
    readonly registry: string;
    /** Whether that has no TLS. */
    readonly insecure: boolean;
    /** A JSON file with the embedded registry's credential; empty for a registry of the user's own. */
    readonly credentialFile: string;
    /** A tag; empty for no cache. */
    readonly cache: string;
    /** Whether the files of layers get a fixed time, so that the same content is the same layer. */
    readonly reproducible: boolean;
    /** A profile on the node, `unconfined`, or empty. */
    readonly seccomp: string;
    readonly appArmor: string;
    readonly cpuRequest: string;
    readonly memoryLimit: string;
    readonly diskLimit: string;
    readonly deadlineSeconds: number;
    /** CIDR blocks of private networks that images are built from, or in which a registry with a name is. */
    readonly addresses: readonly string[];
    /** Whether the cluster has a DNS of its own: the embedded platform's has none. */
    readonly clusterDns: boolean;
}

/** Where images are pushed to and pulled from, and whether these are the embedded platform's. */
interface Where {
    readonly namespace: string;
    readonly registry: string;
    readonly ownCluster: boolean;
    readonly ownRegistry: boolean;
}

/** https://hub.docker.com/r/moby/buildkit: v0.33.0-rootless, the version of platform/buildkit/go.mod. */
export const officialImage =
    "docker.io/moby/buildkit@sha256:80b15f0735e87bab7bf59ec4d695dfb4a7cfb25521cf56dc75d6f256285b63ef";

const registryAddress =
    /^(http:\/\/)?[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:\d{1,5})?(\/[a-z0-9]+([._/-]+[a-z0-9]+)*)?$/;
/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const tag = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const cidr = /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/;
const profile = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;

/** Those that are empty unless somebody sets them. */
const clusterKeys = [
    "imageBuilderImage",
    "imageBuilderNamespace",
    "imageBuilderSeccomp",
    "imageBuilderAppArmor",
    "imageRegistry",
];

/** Whether images are built in the embedded platform's cluster; it can be read before there is a platform. */
export function buildsImagesOnPlatform(read: Reader): boolean {
    return isCluster(read) && read.text("kubeContext") === "" && read.text("kubeconfig") === "";
}

/**
 * @returns undefined where Docker builds images
 * @throws UserError where pods have no way to the registry, or the embedded platform is not ready for it.
 */
export function readImageBuilderSettings(read: Reader, where: Where): ImageBuilderSettings | undefined {
    if (!isCluster(read)) {
        const unused = clusterKeys.find((key) => read.text(key) !== "");
        if (unused !== undefined) {
            throw new UserError(`${unused} is for imageBuilder cluster; set that too, or leave ${unused} out`);
        }
        return undefined;
    }
    const embedded = where.ownCluster ? undefined : embeddedOrError();
    const { registry, insecure } = readRegistry(read, where, embedded?.registry);
    const cache = read.matching("imageCache", "latest", tag, "a tag, or none");
    return {
        namespace: read.matching(
            "imageBuilderNamespace",
            `${where.namespace.slice(0, 56).replace(/-+$/, "")}-images`,
            dnsLabel,
            "a DNS label: a-z, 0-9 and -, at most 63",
        ),
        createNamespace: read.flag("imageBuilderCreateNamespace", true),
        image: read.matching(
            "imageBuilderImage",
            embedded?.image ?? officialImage,
            digestReference,
            "an image by digest: repository@sha256:…",
        ),
        ...{ registry, insecure },
        credentialFile: !where.ownRegistry && embedded ? embedded.credentialFile : "",
        cache: cache === "none" ? "" : cache,
        reproducible: read.flag("imageReproducible", true),
        seccomp: read.matching("imageBuilderSeccomp", embedded?.seccompProfile ?? "", profile, profileMeaning),
        appArmor: read.matching("imageBuilderAppArmor", "", profile, profileMeaning),
        cpuRequest: read.matching("imageBuilderCpuRequest", "100m", quantity, "a quantity such as 500m or 2"),
        memoryLimit: read.matching("imageBuilderMemoryLimit", "4Gi", quantity, "a quantity such as 4Gi"),
        diskLimit: read.matching("imageBuilderDiskLimit", "20Gi", quantity, "a quantity such as 20Gi"),
        deadlineSeconds: read.integer("imageBuilderDeadlineSeconds", 3600, 1, 86_400),
        addresses: read.listMatching("imageBuilderAddresses", cidr, "a CIDR block, such as 10.20.0.0/16"),
        clusterDns: where.ownCluster && read.flag("imageBuilderDns", true),
    };
}

/** The same for who builds in a namespace that another stack has made ready: configuration, with all that it has found. */
export function preparedImageBuilder(made: ImageBuilderSettings): Readonly<Record<string, string | number | boolean>> {
    return {
        imageBuilder: "cluster",
        imageBuilderNamespace: made.namespace,
        imageBuilderCreateNamespace: false,
        imageBuilderImage: made.image,
        imageRegistry: `${made.insecure ? "http://" : ""}${made.registry}`,
        imageCache: made.cache || "none",
        imageReproducible: made.reproducible,
        imageBuilderSeccomp: made.seccomp,
        imageBuilderAppArmor: made.appArmor,
        imageBuilderCpuRequest: made.cpuRequest,
        imageBuilderMemoryLimit: made.memoryLimit,
        imageBuilderDiskLimit: made.diskLimit,
        imageBuilderDeadlineSeconds: made.deadlineSeconds,
        imageBuilderDns: made.clusterDns,
    };
}

const profileMeaning = "the name of a profile on the nodes, or unconfined";

function isCluster(read: Reader): boolean {
    return read.choice("imageBuilder", ["docker", "cluster"]) === "cluster";
}

function embeddedOrError() {
    const found = readImageBuilder();
    if (found === undefined) {
        throw new UserError(
            "imageBuilder is cluster, for which the embedded platform is not ready: run `ke1 platform image-builder`",
        );
    }
    return found;
}

function readRegistry(read: Reader, where: Where, embedded: string | undefined) {
    const given = read.matching("imageRegistry", "", registryAddress, "a registry, with http:// for one without TLS");
    const hasEmbedded = !where.ownRegistry && embedded !== undefined;
    if (given === "" && !hasEmbedded && /^(localhost|127\.\d+\.\d+\.\d+)(:|\/|$)/.test(where.registry)) {
        throw new UserError(
            `imageRegistry is not set; a pod cannot reach ${where.registry}: give the registry's address in the cluster`,
        );
    }
    const address = given || (hasEmbedded ? `http://${embedded}` : where.registry);
    return { registry: address.replace(/^http:\/\//, ""), insecure: address.startsWith("http://") };
}
