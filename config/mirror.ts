import { UserError } from "../contract/errors";
import { digestReference, relativePath } from "../contract/patterns";
import { ke1Home } from "../platform/home";
import { mirrorName, originOf, parseRemote } from "../source/remote";
import type { Reader } from "./reader";

/** The part of what is built that a mirror has to do with; read before there is any platform. */
export interface CheckoutSettings {
    /** `image`: the source is in the image; `mirror`: a working copy is made in the pod. */
    readonly sourceMode: "image" | "mirror";
    /** The source's repository as pods reach it; empty for the `origin` of the source. */
    readonly remote: string;
    /** The Dockerfile of an image without the source, relative to the source; empty for none. */
    readonly toolchainDockerfile: string;
}

/** The mirrors that the stack keeps in the cluster. */
export interface MirrorSettings {
    /** Addresses, besides that of the source where it comes from a mirror. */
    readonly mirrors: readonly string[];
    /** Seconds between two looks at a remote. */
    readonly mirrorInterval: number;
    /** A Secret in the namespace; empty for none. */
    readonly mirrorSecret: string;
    /** Where alone the Secret's password is sent to; empty for the one that all http remotes have in common. */
    readonly mirrorSecretOrigin: string;
    /** By digest, with git; empty for the embedded platform's. */
    readonly mirrorImage: string;
    readonly mirrorSize: string;
    /** Of a class whose volumes many nodes mount; empty on the embedded platform, and for the cluster's default. */
    readonly mirrorStorageClass: string;
    readonly mirrorMemoryLimit: string;
    /** CIDR blocks of private networks in which remotes with a name are. */
    readonly mirrorAddresses: readonly string[];
    /** The directory on the embedded platform's node; empty for other clusters. */
    readonly mirrorDirectory: string;
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names */
const objectName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const quantity = /^\d+(\.\d+)?(Ki|M|Mi|G|Gi|T|Ti)?$/;
const cidr = /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/;

export function readCheckout(read: Reader): CheckoutSettings {
    const sourceMode = read.choice("sourceMode", ["image", "mirror"]);
    const remote = read.text("remote");
    const toolchainDockerfile = read.matching("toolchainDockerfile", "", relativePath, "a path inside the source");
    const unused = remote !== "" ? "remote" : toolchainDockerfile !== "" ? "toolchainDockerfile" : undefined;
    if (sourceMode === "image" && unused !== undefined) {
        throw new UserError(`${unused} is for sourceMode mirror; set that too, or leave ${unused} out`);
    }
    if (toolchainDockerfile !== "" && read.text("image") !== "") {
        throw new UserError("set either image or toolchainDockerfile, not both");
    }
    return { sourceMode, remote: remote === "" ? "" : parseRemote(remote, "remote"), toolchainDockerfile };
}

/** @param onPlatform whether the cluster is the embedded platform's, whose volumes are directories of this machine */
export function readMirrors(read: Reader, onPlatform: boolean, namespace: string): MirrorSettings {
    const mirrors = read.list("mirrors").map((text) => parseRemote(text, "each of mirrors"));
    const doubled = mirrors.find((remote, index) => mirrors.indexOf(remote) !== index);
    if (doubled !== undefined) {
        throw new UserError(`mirrors names ${doubled} twice`);
    }
    const mirrorStorageClass = read.matching("mirrorStorageClass", "", objectName, "the name of a StorageClass");
    if (onPlatform && mirrorStorageClass !== "") {
        throw new UserError("mirrorStorageClass is for a cluster of your own; the embedded platform has none");
    }
    const origin = read.text("mirrorSecretOrigin");
    if (origin !== "" && (!/^https?:\/\/[\w.-]+(:\d{1,5})?$/.test(origin) || !URL.canParse(origin))) {
        throw new UserError(
            `mirrorSecretOrigin must be a scheme and a host, such as https://github.com; it is \`${origin}\``,
        );
    }
    return {
        mirrors,
        mirrorInterval: read.integer("mirrorInterval", 60, 5, 86_400),
        mirrorSecret: read.matching("mirrorSecret", "", objectName, "the name of a Secret in the namespace"),
        mirrorSecretOrigin: origin,
        mirrorImage: read.matching("mirrorImage", "", digestReference, "an image by digest: repository@sha256:…"),
        mirrorSize: read.matching("mirrorSize", "10Gi", quantity, "a quantity such as 10Gi"),
        mirrorStorageClass,
        mirrorMemoryLimit: read.matching("mirrorMemoryLimit", "2Gi", quantity, "a quantity such as 2Gi"),
        mirrorAddresses: read.listMatching("mirrorAddresses", cidr, "a CIDR block, such as 10.20.0.0/16"),
        mirrorDirectory: onPlatform ? `${ke1Home()}/mirrors/${namespace}` : "",
    };
}

/** A repository and its mirror. */
export interface Mirror {
    readonly name: string;
    readonly remote: string;
}

/** What a stack has to do with mirrors, once its sources are known. */
export interface MirrorPlan {
    /** Never empty. */
    readonly mirrors: readonly Mirror[];
    /** Where alone a password is sent to; empty where there is none to be sent. */
    readonly secretOrigin: string;
    /** By digest. */
    readonly image: string;
}

/**
 * Which mirrors there are to be: those of the stack, and that of its source.
 *
 * @param checkedOut the addresses of the sources that builds take from a mirror
 * @returns undefined for none
 * @throws UserError where it is not clear to whom the password may be sent, or there is no image with git.
 */
export function planMirrors(
    settings: MirrorSettings & CheckoutSettings & { readonly baseImage: string; readonly image: string },
    checkedOut: readonly string[],
): MirrorPlan | undefined {
    const remotes = [...new Set([...checkedOut, ...settings.mirrors])];
    if (remotes.length === 0) {
        return undefined;
    }
    const isGiven =
        settings.image !== "" || settings.toolchainDockerfile !== "" || digestReference.test(settings.baseImage);
    if (checkedOut.length > 0 && !isGiven) {
        throw new UserError("sourceMode mirror needs a toolchain: set image, by digest, or toolchainDockerfile");
    }
    const image = settings.mirrorImage || settings.baseImage;
    if (!digestReference.test(image)) {
        throw new UserError("mirrorImage is not set; it must be an image with git (and ssh), by digest");
    }
    return {
        mirrors: remotes.map((remote) => ({ name: mirrorName(remote), remote })),
        secretOrigin: settings.mirrorSecret === "" ? "" : secretOrigin(settings.mirrorSecretOrigin, remotes),
        image,
    };
}

/** A password is for one host: no other may ever be sent it. */
function secretOrigin(given: string, remotes: readonly string[]): string {
    const origins = [...new Set(remotes.map(originOf).filter((origin) => origin !== undefined))];
    if (given !== "" && !origins.includes(given)) {
        throw new UserError(
            `mirrorSecretOrigin is ${given}, where none of the remotes is; they are at ${list(origins)}`,
        );
    }
    if (given === "" && origins.length > 1) {
        throw new UserError(
            `the remotes are at ${list(origins)}; set mirrorSecretOrigin to the one that mirrorSecret's password is for`,
        );
    }
    return given || (origins[0] ?? "");
}

function list(origins: readonly string[]): string {
    return origins.length === 0 ? "no http address" : origins.join(" and ");
}
