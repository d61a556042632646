import { UserError } from "../contract/errors";
import { digestReference, dnsLabel, quantity } from "../contract/patterns";
import { gatewayDirectory, servicesDirectory } from "../platform/home";
import { parseRemote } from "../source/remote";
import type { ConfigSource, Reader } from "./reader";

/** The commands that keep a queue of builds. */
export const serviceCommands = ["serve", "watch", "spawn"] as const;
export type ServiceCommand = (typeof serviceCommands)[number];

/** A service in the cluster, checked and with its defaults. Pulumi.yaml says what each key of `service` is for. */
export interface DeployedService {
    readonly command: ServiceCommand;
    /** After those that follow from the stack. */
    readonly arguments: readonly string[];
    /** Builds at once, and so namespaces for them. */
    readonly parallel: number;
    /** By digest; empty builds one. */
    readonly image: string;
    readonly port: number;
    /** Who may call it: `<name> <SHA-256 of the token> <scopes>`, as `ke1 token add` writes them. */
    readonly tokens: readonly string[];
    /** The Secret whose keys the service sees as files; empty for none. */
    readonly secret: string;
    /** The Secret with a Docker configuration, for the registry; empty for none. */
    readonly registrySecret: string;
    readonly storage: string;
    /** Empty for the cluster's default, and on the embedded platform. */
    readonly storageClass: string;
    readonly memoryLimit: string;
    /** Namespaces whose pods may call it. */
    readonly clients: readonly string[];
    /** Repositories that builds may fetch their source from, `sourceMode: mirror`. */
    readonly sources: readonly string[];
    /** Authorities, as PEM, that the service trusts besides those that everybody does; empty for none. */
    readonly certificates: string;
    /** Where the service fetches sources from besides https addresses on the internet: `CIDR:PORT`. */
    readonly reaches: readonly Reached[];
    /** Configuration that builds begin with, over what follows from the stack. */
    readonly builds: Readonly<Record<string, unknown>>;
    /** Where the embedded platform keeps it; absent on other clusters. */
    readonly onPlatform?: PlatformPlaces;
}

export interface Reached {
    readonly cidr: string;
    readonly port: number;
}

/** Directories of this machine, which is the cluster's only node. */
export interface PlatformPlaces {
    readonly data: string;
    /** With the sockets of API server and registry (platform/gateway.ts). */
    readonly gateway: string;
}

const knownKeys: ReadonlySet<string> = new Set([
    ...[
        "command",
        "arguments",
        "parallel",
        "image",
        "port",
        "tokens",
        "secret",
        "registrySecret",
        "storage",
        "storageClass",
    ],
    ...["memoryLimit", "clients", "sources", "certificates", "reaches", "builds"],
]);

/** What a service decides for its builds, for their isolation depends on it. */
const notForBuilds = new Set([
    ...["target", "namespace", "createNamespace", "preparedNamespace", "kubeconfig", "kubeContext", "service"],
    ...["registry", "blobEndpoint", "blobContainer", "exporterImage", "imageRegistry"],
]);
/** What the service's stack says of how images are built, builds do as well. */
const imageBuilderKey = /^imageBuilder/;

/** What takes more than Jobs in a build's namespace, or a namespace beside it. */
const notInSlot = ["dependencies", "needs"] as const;

/** Whether a stack is a service, and not builds: Pulumi.yaml has an empty map for the others. */
export function isService(config: ConfigSource): boolean {
    return !["", "{}"].includes((config.get("service") ?? "").trim());
}

/**
 * Reads the key `service`.
 *
 * @returns undefined where there is none: the stack is one of builds
 * @throws UserError, one line, for the first value that cannot be.
 */
export function readService(
    read: Reader,
    where: { readonly onPlatform: boolean; readonly namespace: string },
): DeployedService | undefined {
    const text = read.text("service");
    if (!isService({ get: () => text })) {
        return undefined;
    }
    const given = objectOf("service", text);
    const unknown = Object.keys(given).find((key) => !knownKeys.has(key));
    if (unknown !== undefined) {
        throw new UserError(`service.${unknown} is not known; there are ${[...knownKeys].join(", ")}`);
    }
    if (read.text("target") === "azure") {
        throw new UserError(
            "service is not for the target azure: its builds are launched by the embedded engine, which has no provider " +
                "for it; set kubeContext, registry and blobEndpoint instead",
        );
    }
    const own = new Given(given);
    const storageClass = own.matching("storageClass", "", objectName, "the name of a StorageClass");
    if (where.onPlatform && storageClass !== "") {
        throw new UserError("service.storageClass is for a cluster of your own; the embedded platform has none");
    }
    const command = own.choice("command", serviceCommands);
    const tokens = own.list("tokens", tokenLine, "a line that `ke1 token add` writes: a name, a hash and scopes");
    const extra = own.list("arguments", /^[^\0\n]+$/, "an argument of one line");
    if (command === "serve" && tokens.length === 0 && !extra.some((each) => /^--(tokens|oidc-issuer)\b/.test(each))) {
        throw new UserError(
            "nobody could call the service: set service.tokens (`ke1 token add NAME --scope builds:write --tokens FILE` " +
                "writes a line for it), or --tokens or --oidc-issuer among service.arguments",
        );
    }
    const parallel = own.integer("parallel", 4, 1, 50);
    const longest = 63 - `-builds-${parallel - 1}`.length;
    if (where.namespace.length > longest) {
        throw new UserError(`namespace must be at most ${longest} characters, as those of the builds begin with it`);
    }
    return {
        command,
        arguments: extra,
        parallel,
        image: own.matching("image", "", digestReference, "an image by digest: repository@sha256:…"),
        port: own.integer("port", 9000, 1024, 65_535),
        tokens,
        secret: own.matching("secret", "", objectName, "the name of a Secret in the namespace"),
        registrySecret: own.matching("registrySecret", "", objectName, "the name of a Secret in the namespace"),
        storage: own.matching("storage", "10Gi", quantity, "a quantity such as 10Gi"),
        storageClass,
        memoryLimit: own.matching("memoryLimit", "4Gi", quantity, "a quantity such as 4Gi"),
        clients: own.list("clients", dnsLabel, "the name of a namespace"),
        sources: own
            .list("sources", /./, "the address of a repository")
            .map((remote) => parseRemote(remote, "each of service.sources")),
        certificates: own.matching(
            "certificates",
            "",
            certificates,
            "certificates as PEM, and nothing else: -----BEGIN CERTIFICATE-----…",
        ),
        reaches: own.list("reaches", reached, "a block of addresses and a port: 10.20.0.0/16:443").map(reachedOf),
        builds: buildsOf(given["builds"]),
        ...(where.onPlatform
            ? {
                  onPlatform: {
                      data: `${servicesDirectory()}/${where.namespace}`,
                      gateway: gatewayDirectory(),
                  },
              }
            : {}),
    };
}

/**
 * Whether builds run in a namespace of a service's. Then what is around them is the service's stack's: a build that asks
 * for more of it is turned away here, as the service's account would be by the cluster.
 */
export function readPrepared(read: Reader): boolean {
    if (!read.flag("preparedNamespace")) {
        return false;
    }
    if (read.flag("createNamespace", true)) {
        throw new UserError("preparedNamespace is for a namespace that is there; set createNamespace to false too");
    }
    if (read.text("imageBuilder") === "cluster" && read.flag("imageBuilderCreateNamespace", true)) {
        throw new UserError(
            "preparedNamespace is for images that are built where the service's stack has made it ready; " +
                "set imageBuilderCreateNamespace to false too",
        );
    }
    const needsMore = notInSlot.find((key) => isMoreThanJob(read.text(key)));
    if (needsMore !== undefined) {
        throw new UserError(`${needsMore} is set where preparedNamespace is: ${onlyJobs}; leave it out`);
    }
    const notHere = [
        ...["mirrors", "launchers"].filter((key) => read.list(key).length > 0),
        ...["pullUsername", "lokiUrl", "elasticsearchUrl"].filter((key) => read.text(key) !== ""),
        ...(read.flag("admission") ? ["admission"] : []),
    ];
    if (notHere[0] !== undefined) {
        throw new UserError(
            `${notHere[0]} is set where preparedNamespace is: it is the service's stack that declares it`,
        );
    }
    return true;
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names */
const objectName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const tokenLine = /^[\w.@-]{1,64} [0-9a-f]{64} [a-z:,]+$/;
const certificates = /^\s*(?:-----BEGIN CERTIFICATE-----[\w+/=\s]+-----END CERTIFICATE-----\s*)+$/;
const reached = /^(\d{1,3}(?:\.\d{1,3}){3}\/\d{1,2}):(\d{1,5})$/;

function reachedOf(text: string): Reached {
    const [, cidr = "", port = ""] = reached.exec(text) ?? [];
    return { cidr, port: Number(port) };
}

const onlyJobs = "in a namespace of a service's builds there are only their Jobs";

/** @param text as the configuration has it: a map or a list is JSON */
function isMoreThanJob(text: string): boolean {
    return !/^\s*(\{\s*\}|\[\s*\])?\s*$/.test(text);
}

function buildsOf(given: unknown): Readonly<Record<string, unknown>> {
    const builds = given === undefined ? {} : objectOf("service.builds", JSON.stringify(given));
    const plain = (key: string) => key.replace(/^ke-1-build:/, "");
    const images = Object.keys(builds).find((key) => imageBuilderKey.test(plain(key)));
    if (images !== undefined) {
        throw new UserError(
            `service.builds has ${images}; set it beside service: the stack makes ready where images are built`,
        );
    }
    const decided = Object.keys(builds).find((key) => notForBuilds.has(plain(key)));
    if (decided !== undefined) {
        throw new UserError(`service.builds has ${decided}, which the service's stack decides; leave it out`);
    }
    const more = Object.entries(builds).find(([name, value]) => {
        const key = notInSlot.find((each) => each === plain(name));
        return key !== undefined && isMoreThanJob(typeof value === "string" ? value : JSON.stringify(value));
    });
    if (more !== undefined) {
        throw new UserError(`service.builds has ${more[0]}, but ${onlyJobs}; leave it out`);
    }
    return builds;
}

function objectOf(name: string, text: string): Readonly<Record<string, unknown>> {
    let parsed: unknown;
    try {
        parsed = JSON.parse(text);
    } catch {
        parsed = undefined;
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
        throw new UserError(`${name} must be a map of keys and values; it is \`${text.slice(0, 100)}\``);
    }
    return parsed as Readonly<Record<string, unknown>>;
}

/** Typed access to the keys of `service`. */
class Given {
    public constructor(private readonly values: Readonly<Record<string, unknown>>) {}

    public matching(key: string, fallback: string, pattern: RegExp, meaning: string): string {
        const value = this.values[key] ?? fallback;
        if (typeof value !== "string" || (value !== "" && !pattern.test(value))) {
            throw new UserError(`service.${key} must be ${meaning}; it is ${JSON.stringify(value)}`);
        }
        return value;
    }

    public choice<T extends string>(key: string, choices: readonly [T, ...T[]]): T {
        const value = this.values[key] ?? choices[0];
        const chosen = choices.find((choice) => choice === value);
        if (chosen === undefined) {
            throw new UserError(`service.${key} must be ${choices.join(" or ")}, not ${JSON.stringify(value)}`);
        }
        return chosen;
    }

    public integer(key: string, fallback: number, least: number, most: number): number {
        const value = this.values[key] ?? fallback;
        if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
            throw new UserError(
                `service.${key} must be a whole number from ${least} to ${most}; it is ${JSON.stringify(value)}`,
            );
        }
        return value;
    }

    public list(key: string, pattern: RegExp, meaning: string): readonly string[] {
        const value = this.values[key] ?? [];
        const strings = Array.isArray(value) && value.every((item) => typeof item === "string");
        const bad = strings ? (value as readonly string[]).find((item) => !pattern.test(item)) : value;
        if (bad !== undefined) {
            throw new UserError(`each of service.${key} must be ${meaning}; there is ${JSON.stringify(bad)}`);
        }
        return value as readonly string[];
    }
}
