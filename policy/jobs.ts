import { buildTagLabel, identityLabel, skippedContainers as skipped, sourceContainer } from "../contract/labels";
import { digestReference } from "../contract/patterns";
import { exactType, policy } from "./rule";

interface SecurityContext {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type?: string };
    readonly privileged?: boolean;
    readonly allowPrivilegeEscalation?: boolean;
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
}

interface Container {
    readonly name?: string;
    readonly image?: string;
    readonly env?: readonly { readonly name?: string; readonly valueFrom?: { readonly secretKeyRef?: object } }[];
    readonly envFrom?: readonly { readonly secretRef?: object }[];
    readonly volumeMounts?: readonly { readonly name?: string }[];
    readonly securityContext?: SecurityContext;
}

interface Volume {
    readonly name?: string;
    readonly secret?: { readonly secretName?: string };
    readonly csi?: object;
    readonly hostPath?: object;
    readonly projected?: {
        readonly sources?: readonly { readonly secret?: object; readonly serviceAccountToken?: object }[];
    };
}

interface PodSpec {
    readonly containers?: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly volumes?: readonly Volume[];
    readonly securityContext?: SecurityContext;
    readonly hostNetwork?: boolean;
    readonly hostPID?: boolean;
    readonly hostIPC?: boolean;
    readonly shareProcessNamespace?: boolean;
    readonly automountServiceAccountToken?: boolean;
}

interface Metadata {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
}

interface Job {
    readonly metadata?: Metadata;
    readonly spec?: { readonly template?: { readonly metadata?: Metadata; readonly spec?: PodSpec } };
}

const job = exactType("kubernetes:batch/v1:Job");
/** What has a template of a pod: builds, and what the stack runs beside them. */
const anyPods = /^kubernetes:(batch\/v1:Job|apps\/v1:(Deployment|StatefulSet))$/;
/** The one container that may hold the store's credential. */
const exporter = "exporter";
/** What the init container that makes the working copy may hold, and nobody else: what private repositories ask for. */
const gitSecret = "git-secret";

/** How the volumes of environments are named (components/buildEnvironment.ts). */
const ownVolumes = "env-";

function podOf(resource: Job): PodSpec {
    return resource.spec?.template?.spec ?? {};
}

function containersOf({ containers, initContainers }: PodSpec): readonly Container[] {
    return [...(containers ?? []), ...(initContainers ?? [])];
}

function nameOf({ name }: Container): string {
    return `container ${name ?? "without a name"}`;
}

export const imagesByDigest = policy<Job>({
    name: "image-by-digest",
    description: "What a Job runs is what was built: each image is named by its digest.",
    types: anyPods,
    examine: (resource, check) => {
        for (const container of containersOf(podOf(resource))) {
            check(() =>
                digestReference.test(container.image ?? "")
                    ? undefined
                    : `${nameOf(container)}: name the image by digest (repository@sha256:…): a tag can be moved to another`,
            );
        }
    },
});

export const buildTag = policy<Job>({
    name: "build-tag",
    description: "A Job and its pods say which BUILD_TAG they build.",
    types: job,
    examine: ({ metadata, spec }, check) => {
        check(() =>
            metadata?.labels?.[buildTagLabel]
                ? undefined
                : `label the Job ${buildTagLabel}=<BUILD_TAG>: nothing says what it builds`,
        );
        check(() =>
            spec?.template?.metadata?.labels?.[buildTagLabel] === metadata?.labels?.[buildTagLabel]
                ? undefined
                : `give the pod template the same label ${buildTagLabel} as the Job: its pods and logs are found by it`,
        );
    },
});

/** https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and what of `baseline` a build could use. */
export const restrictedPods = policy<Job>({
    name: "restricted-pods",
    description: "A build has no privilege on the node that it runs on, nor has what launches it.",
    types: anyPods,
    examine: (resource, check) => {
        const pod = podOf(resource);
        for (const shared of ["hostNetwork", "hostPID", "hostIPC"] as const) {
            check(() =>
                pod[shared] ? `leave out ${shared}: a build must not see what else runs on the node` : undefined,
            );
        }
        for (const volume of pod.volumes ?? []) {
            check(() =>
                volume.hostPath
                    ? `volume ${volume.name ?? ""}: leave out hostPath: it is the node's own disk`
                    : undefined,
            );
        }
        for (const container of containersOf(pod)) {
            const name = nameOf(container);
            const own = () => container.securityContext ?? {};
            // A container's own setting takes the place of the pod's.
            const effective = <K extends keyof SecurityContext>(key: K) => own()[key] ?? pod.securityContext?.[key];
            check(() => (effective("runAsNonRoot") === true ? undefined : `${name}: set runAsNonRoot to true`));
            check(() =>
                effective("runAsUser") === 0 ? `${name}: set runAsUser to another user than 0, root` : undefined,
            );
            check(() =>
                effective("seccompProfile")?.type === "RuntimeDefault"
                    ? undefined
                    : `${name}: set seccompProfile.type to RuntimeDefault: all system calls are open without it`,
            );
            check(() => (own().privileged ? `${name}: leave out privileged: it is root on the node` : undefined));
            check(() =>
                own().allowPrivilegeEscalation === false
                    ? undefined
                    : `${name}: set allowPrivilegeEscalation to false: setuid programs give more rights without it`,
            );
            check(() =>
                own().capabilities?.drop?.includes("ALL") ? undefined : `${name}: set capabilities.drop to [ALL]`,
            );
            check(() => (own().capabilities?.add?.length ? `${name}: leave out capabilities.add` : undefined));
        }
    },
});

export const credentials = policy<Job>({
    name: "credentials",
    description:
        "The exporter alone holds its credentials, who gets the source its own, and what is built never sees any.",
    types: job,
    examine: (resource, check) => {
        const pod = podOf(resource);
        const others = containersOf(pod).filter(({ name }) => name !== exporter);
        check(() =>
            pod.automountServiceAccountToken === false
                ? undefined
                : "set automountServiceAccountToken to false: each container would hold a token for the cluster",
        );
        check(() =>
            pod.shareProcessNamespace
                ? "leave out shareProcessNamespace: the build could read the exporter's environment and files"
                : undefined,
        );
        check(() => {
            const { labels, annotations } = resource.spec?.template?.metadata ?? {};
            if (labels?.[identityLabel] !== "true") {
                return undefined;
            }
            const left = (annotations?.[skipped] ?? "").split(";").map((name) => name.trim());
            const given = others.map(({ name }) => name ?? "").filter((name) => !left.includes(name));
            return given.length > 0
                ? `add ${given.join(";")} to the annotation ${skipped}: the store's token would be given to it`
                : undefined;
        });
        for (const container of others) {
            const name = nameOf(container);
            check(() => {
                const mounted = container.volumeMounts?.map((mount) => mount.name) ?? [];
                const getsSource =
                    container.name === sourceContainer &&
                    pod.initContainers?.some((init) => init.name === sourceContainer);
                const held = (pod.volumes ?? []).filter(
                    (each) =>
                        mounted.includes(each.name) &&
                        holdsCredential(each) &&
                        !(getsSource && each.name === gitSecret) &&
                        !isOwnSecret(pod, container, each),
                );
                return held.length > 0
                    ? `${name}: leave out the mount of ${held.map((each) => each.name).join(", ")}: it holds a credential`
                    : undefined;
            });
            check(() =>
                container.env?.some(({ valueFrom }) => valueFrom?.secretKeyRef) ||
                container.envFrom?.some(({ secretRef }) => secretRef)
                    ? `${name}: leave out the Secret in its environment: what is built could print it`
                    : undefined,
            );
        }
    },
});

/**
 * Whether it is a Secret that an init container or a sidecar may have: what is built does not run there. None of the program's
 * own is, under whatever volume.
 */
function isOwnSecret(pod: PodSpec, container: Container, { name, secret, csi, projected }: Volume): boolean {
    const isBeside = pod.initContainers?.some((init) => init.name === container.name) ?? false;
    if (!isBeside || !secret || csi || projected || !name?.startsWith(ownVolumes)) {
        return false;
    }
    return !(pod.volumes ?? []).some(
        (each) => !each.name?.startsWith(ownVolumes) && each.secret?.secretName === secret.secretName,
    );
}

function holdsCredential({ secret, csi, projected }: Volume): boolean {
    const sources = projected?.sources ?? [];
    return Boolean(secret ?? csi) || sources.some((source) => source.secret ?? source.serviceAccountToken);
}
