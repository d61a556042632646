import { UserError } from "./contract/errors";
import { buildTagPattern } from "./contract/layout";
import { digestReference, dnsLabel, quantity, relativePath } from "./contract/patterns";
import type { Watchdogs } from "./contract/watchdogs";
import { isConfidential } from "./contract/address";
import type { AdmissionSettings } from "./config/admission";
import { readAdmission } from "./config/admission";
import type { AzureSettings } from "./config/azure";
import { guid, readAzureSettings } from "./config/azure";
import type { ImageBuilderSettings } from "./config/imageBuilder";
import { readImageBuilderSettings } from "./config/imageBuilder";
import type { EnvironmentSettings } from "./config/buildEnvironment";
import { readEnvironmentSettings, withEnvironment } from "./config/buildEnvironment";
import type { DependencySettings } from "./config/dependencies";
import { readDependencies } from "./config/dependencies";
import type { Environments } from "./config/environments";
import type { ImageSettings } from "./config/image";
import { readImageSettings } from "./config/image";
import type { ExportSettings } from "./config/exports";
import { readExports } from "./config/exports";
import { amountOf, memorySteps } from "./config/memory";
import type { CheckoutSettings, MirrorSettings } from "./config/mirror";
import { readCheckout, readMirrors } from "./config/mirror";
import { readPipelineSettings } from "./config/pipeline";
import type { Placement } from "./config/placement";
import { readPlacement } from "./config/placement";
import type { ConfigSource } from "./config/reader";
import { Reader } from "./config/reader";
import type { DeployedService } from "./config/service";
import { readPrepared, readService } from "./config/service";
import type { PlatformDescriptor } from "./platform/descriptor";
import { readDescriptor } from "./platform/descriptor";

export type { ConfigSource } from "./config/reader";

/** What to build. It can be read, and the sources found, before there is any platform. */
export interface SourceSettings extends CheckoutSettings, ImageSettings {
    readonly source: string;
    /** The tags or commits to build; one empty string stands for what `HEAD` is. Never empty. */
    readonly buildTags: readonly string[];
    /** Put behind each of them; empty for nothing. */
    readonly buildTagSuffix?: string;
    readonly allowDirty: boolean;
    readonly command: readonly string[];
    /** Empty, or a reference by digest. */
    readonly image: string;
    readonly dockerfile: string;
    /** The file of the pipeline that is run; empty for a single build. */
    readonly pipeline: string;
    /** Instead of the values that the pipeline gives its variables. */
    readonly pipelineVariables: Readonly<Record<string, string>>;
}

/** The stack's configuration, checked and with its defaults. Pulumi.yaml says what each key is for. */
export interface Settings extends SourceSettings, Placement, MirrorSettings, EnvironmentSettings, DependencySettings {
    readonly artifactDirectory: string;
    readonly imageName: string;
    /** Empty where the Dockerfile is given no BASE_IMAGE. */
    readonly baseImage: string;
    /** Empty, or a reference by digest. */
    readonly exporterImage: string;
    /** Present where images are built in the cluster, and not by a Docker. */
    readonly imageBuilder?: ImageBuilderSettings;
    readonly registry: string;
    /** Empty for KUBECONFIG or ~/.kube/config. */
    readonly kubeconfig: string;
    /** Empty for the kubeconfig's current context. */
    readonly kubeContext: string;
    readonly namespace: string;
    /** Whether the stack makes the namespace. */
    readonly createNamespace: boolean;
    /** Whether the namespace is a slot of a service (components/buildSlot.ts): only Jobs are made in it. */
    readonly preparedNamespace: boolean;
    /** The name of a pull secret that is in the namespace already; empty for none. */
    readonly imagePullSecret: string;
    /** Without a slash at its end. */
    readonly blobEndpoint: string;
    readonly blobContainer: string;
    readonly deadlineSeconds: number;
    readonly ttlSecondsAfterFinished: number;
    readonly retries: number;
    readonly cpuRequest: string;
    readonly memoryRequest: string;
    readonly memoryLimit: string;
    /** Empty where a build that ran out of memory is not tried again. */
    readonly memoryRetryLimit: string;
    /** What follows from the two: never empty. */
    readonly memorySteps: readonly string[];
    readonly diskLimit: string;
    readonly runAsUser: number;
    readonly maxPods: number;
    readonly nodeLostSeconds: number;
    readonly watchdogs: Watchdogs;
    /** The name of a Secret in the namespace, or empty. */
    readonly maskSecret: string;
    /** The name of a Secret in the namespace, or empty. */
    readonly signingKeySecret: string;
    /** Empty for none. */
    readonly pushgateway: string;
    /** Empty for none. */
    readonly webhook: string;
    /** What else a build hands over, and who is told of it beside the store. */
    readonly exports: ExportSettings;
    /** Groups whose members may launch builds. */
    readonly launchers: readonly string[];
    readonly admission: AdmissionSettings;
    /** Present for the target `azure`. */
    readonly azure?: AzureSettings;
    readonly environments: Environments;
    /** Present where the stack is a service, and not builds. */
    readonly service?: DeployedService;
    /** Whether any part of the embedded platform is used. */
    readonly usesPlatform: boolean;
}

/** https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata */
const containerName = /^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/;
/** One component of a repository's name: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const repositoryName = /^[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*$/;
/** A host, perhaps with a port, and perhaps the beginning of the repositories' names. */
const registryName = /^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:\d{1,5})?(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*$/;

/**
 * Reads and checks the configuration of a stack. The environment's BUILD_TAG, SOURCE and ALLOW_DIRTY override the stack's.
 *
 * @param stack names the namespace where none is configured: `<project>-<stack>`
 * @throws UserError, one line, for the first value that cannot be.
 */
export function readSettings(
    config: ConfigSource,
    stack: { readonly project: string; readonly stack: string },
    environment: NodeJS.ProcessEnv = process.env,
): Settings {
    const read = new Reader(withEnvironment(config));
    const target = read.choice("target", ["local", "azure"]);
    const where = target === "azure" ? readAzure(read) : readLocal(read);
    const memoryRequest = read.matching("memoryRequest", "128Mi", quantity, "a quantity such as 512Mi");
    const memoryLimit = read.matching("memoryLimit", "2Gi", quantity, "a quantity such as 2Gi");
    const memoryRetryLimit = read.matching("memoryRetryLimit", "", quantity, "a quantity such as 8Gi");
    if (amountOf(memoryRequest) > amountOf(memoryLimit)) {
        throw new UserError(`memoryRequest (${memoryRequest}) must not be more than memoryLimit (${memoryLimit})`);
    }
    const namespace = read.matching(
        "namespace",
        defaultNamespace(stack),
        dnsLabel,
        "a DNS label: a-z, 0-9 and -, at most 63",
    );
    return {
        ...readSourceSettings(config, environment),
        ...where,
        ...readPlacement(read, readSpot(read, target)),
        ...readMirrors(read, where.usesPlatform && !hasOwnCluster(read), namespace),
        admission: readAdmission(read, target === "local" && !hasOwnCluster(read)),
        ...readEnvironmentSettings(config),
        ...readDependencies(read),
        artifactDirectory: readArtifactDirectory(read),
        imageName: read.matching("imageName", "ke-1-build", repositoryName, "a repository name: lower case, no tag"),
        exporterImage: read.matching("exporterImage", "", digestReference, "an image by digest: repository@sha256:…"),
        // Before what an image builder needs is looked for, which a service's builds cannot have.
        preparedNamespace: readPrepared(read),
        imageBuilder: readImageBuilderSettings(read, {
            ...{ namespace, registry: where.registry },
            ...{ ownCluster: target === "azure" || hasOwnCluster(read), ownRegistry: read.text("registry") !== "" },
        }),
        namespace,
        createNamespace: read.flag("createNamespace", true),
        service: readService(read, { onPlatform: target === "local" && !hasOwnCluster(read), namespace }),
        imagePullSecret: read.matching("imagePullSecret", "", dnsLabel, "the name of a Secret in the namespace"),
        blobContainer: read.matching("blobContainer", "ke-1-builds", containerName, "3 to 63 of a-z, 0-9 and single -"),
        launchers: readLaunchers(read, target),
        // The exporter's credential is good for at least a day (components/buildIdentity.ts).
        deadlineSeconds: read.integer("deadlineSeconds", 6000, 1, 86_400),
        ttlSecondsAfterFinished: read.integer("ttlSecondsAfterFinished", 3600, 0),
        retries: read.integer("retries", 3, 0),
        cpuRequest: read.matching("cpuRequest", "100m", quantity, "a quantity such as 500m or 2"),
        memoryRequest,
        memoryLimit,
        memoryRetryLimit,
        memorySteps: memorySteps(memoryLimit, memoryRetryLimit),
        diskLimit: read.matching("diskLimit", "10Gi", quantity, "a quantity such as 10Gi"),
        runAsUser: read.integer("runAsUser", 65_532, 1),
        maxPods: read.integer("maxPods", 100, 1),
        nodeLostSeconds: read.integer("nodeLostSeconds", 120, 0),
        watchdogs: {
            podLimitSeconds: read.integer("podLimitSeconds", 60, 1),
            scheduleLimitSeconds: read.integer("scheduleLimitSeconds", 600, 1),
            pullLimitSeconds: read.integer("pullLimitSeconds", 60, 1),
            createLimitSeconds: read.integer("createLimitSeconds", 900, 1),
            terminateLimitSeconds: read.integer("terminateLimitSeconds", 60, 1),
        },
        maskSecret: read.matching("maskSecret", "", dnsLabel, "the name of a Secret in the namespace"),
        signingKeySecret: read.matching("signingKeySecret", "", dnsLabel, "the name of a Secret in the namespace"),
        pushgateway: address(read, "pushgateway"),
        webhook: address(read, "webhook"),
        exports: readExports(read, read.text("pushgateway")),
    };
}

/** Empty for a build that hands back nothing. */
function readArtifactDirectory(read: Reader): string {
    const directory = read.matching("artifactDirectory", "bin", relativePath, "a path inside the working directory");
    return read.flag("artifacts", true) ? directory : "";
}

/** What the target decides: the cluster, the registry and the store. */
type TargetSettings = Pick<
    Settings,
    "azure" | "baseImage" | "registry" | "kubeconfig" | "kubeContext" | "blobEndpoint" | "usesPlatform"
>;

function readLocal(read: Reader): TargetSettings {
    const kubeContext = read.text("kubeContext");
    const kubeconfig = read.text("kubeconfig");
    const registry = readRegistry(read);
    const blobEndpoint = read.text("blobEndpoint");
    const ownCluster = hasOwnCluster(read);
    const usesPlatform = !ownCluster || registry === "" || blobEndpoint === "";
    const platform = usesPlatform ? platformOrError() : undefined;
    return {
        baseImage: read.text("baseImage") || (platform?.baseImage ?? ""),
        registry: registry || (platform?.registry ?? ""),
        kubeconfig: ownCluster ? kubeconfig : (platform?.kubeconfig ?? ""),
        kubeContext: ownCluster ? kubeContext : (platform?.kubeContext ?? ""),
        blobEndpoint: endpoint(blobEndpoint || (platform?.blobEndpoint ?? "")),
        usesPlatform,
    };
}

function readAzure(read: Reader): TargetSettings {
    const azure = readAzureSettings(read);
    const blobEndpoint = `https://${azure.storageAccount}.blob.core.windows.net`;
    const given = read.text("blobEndpoint", blobEndpoint).replace(/\/+$/, "");
    if (given !== blobEndpoint) {
        throw new UserError(`blobEndpoint (${given}) is not that of storageAccount; leave it out for the target azure`);
    }
    const kubeContext = read.text("kubeContext");
    const kubeconfig = read.text("kubeconfig");
    if (kubeContext === "" && kubeconfig === "") {
        throw new UserError("kubeContext is not set; `az aks get-credentials` makes one, with the cluster's name");
    }
    const registry = readRegistry(read);
    if (registry === "") {
        throw new UserError("registry is not set; it must be where images are pushed to, such as ghcr.io/kerbodyne");
    }
    return {
        azure,
        baseImage: read.text("baseImage"),
        registry,
        kubeconfig,
        kubeContext,
        blobEndpoint,
        usesPlatform: false,
    };
}

function readRegistry(read: Reader): string {
    return read.matching("registry", "", registryName, "a registry, with a path or without: ghcr.io/kerbodyne");
}

function readSpot(read: Reader, target: Target): boolean {
    const spot = read.flag("spot");
    if (spot && target !== "azure") {
        throw new UserError(
            "spot is for the target azure; set tolerations and nodePreferences to what your nodes have",
        );
    }
    return spot;
}

function readLaunchers(read: Reader, target: Target): readonly string[] {
    return target === "azure"
        ? read.listMatching("launchers", guid, "a GUID: the object id of a group of Entra")
        : read.listMatching("launchers", /^[^\s]+$/, "the name of a group that the cluster knows");
}

/** The part of the configuration that says what to build; the environment overrides it as in `readSettings`. */
export function readSourceSettings(config: ConfigSource, environment: NodeJS.ProcessEnv = process.env): SourceSettings {
    const read = new Reader(withEnvironment(config));
    return {
        ...readPipelineSettings(read, environment),
        source: environment["SOURCE"] || read.text("source", "example/ke-1"),
        buildTags: readBuildTags(read, environment),
        buildTagSuffix: read.matching(
            "buildTagSuffix",
            "",
            /^[A-Za-z0-9_.-]{0,31}[A-Za-z0-9]$/,
            "up to 32 of A-Z a-z 0-9 _ . -",
        ),
        allowDirty: /^(1|true|yes)$/i.test(environment["ALLOW_DIRTY"] ?? "") || read.flag("allowDirty"),
        command: read.list("command"),
        image: read.matching("image", "", digestReference, "an image by digest: repository@sha256:…"),
        dockerfile: read.matching("dockerfile", "Dockerfile", relativePath, "a path inside the source"),
        ...readCheckout(read),
        ...readImageSettings(read),
    };
}

/**
 * Whether a stack needs the embedded platform: it does unless its target is Azure, or a cluster, a registry and a blob
 * endpoint of the user's own are all configured.
 */
export function needsPlatform(config: ConfigSource): boolean {
    const read = new Reader(config);
    if (read.text("target") === "azure") {
        return false;
    }
    return !hasOwnCluster(read) || read.text("registry") === "" || read.text("blobEndpoint") === "";
}

function hasOwnCluster(read: Reader): boolean {
    return read.text("kubeContext") !== "" || read.text("kubeconfig") !== "";
}

type Target = "local" | "azure";

function platformOrError(): PlatformDescriptor {
    const platform = readDescriptor();
    if (!platform) {
        throw new UserError(
            "the embedded platform is not set up: run `ke1 platform up`, " +
                "or configure kubeContext, registry and blobEndpoint of your own",
        );
    }
    return platform;
}

function defaultNamespace(stack: { readonly project: string; readonly stack: string }): string {
    return `${stack.project}-${stack.stack}`
        .toLowerCase()
        .replace(/[^a-z0-9-]+/g, "-")
        .replace(/^-+/, "")
        .slice(0, 63)
        .replace(/-+$/, "");
}

/** An http or https address without a credential in it, or empty. */
function address(read: Reader, key: string): string {
    const value = read.text(key);
    const url = value === "" || !URL.canParse(value) ? undefined : new URL(value);
    if (value !== "" && (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")) {
        throw new UserError(`${key} must be an http or https address without a password in it`);
    }
    if (url && !isConfidential(url)) {
        throw new UserError(
            `${key} must begin with https://, as ${url.host} is neither this machine nor a private address`,
        );
    }
    return value;
}

function endpoint(value: string): string {
    if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) {
        throw new UserError(`blobEndpoint must be an http or https address, not \`${value}\``);
    }
    return value.replace(/\/+$/, "");
}

function readBuildTags(read: Reader, environment: NodeJS.ProcessEnv): readonly string[] {
    const fromEnvironment = environment["BUILD_TAG"] ?? "";
    const one = fromEnvironment || read.text("buildTag");
    const several = fromEnvironment ? [] : read.list("buildTags");
    if (several.length === 0) {
        return [one];
    }
    if (one !== "") {
        throw new UserError("set either buildTag or buildTags, not both");
    }
    const doubled = several.find((tag, index) => several.indexOf(tag) !== index);
    if (doubled !== undefined) {
        throw new UserError(`buildTags names ${doubled} twice`);
    }
    const bad = several.find((tag) => !buildTagPattern.test(tag));
    if (bad !== undefined) {
        throw new UserError(`buildTags has \`${bad}\`, which cannot be a tag (A-Z a-z 0-9 _ . -, at most 63)`);
    }
    return several;
}
