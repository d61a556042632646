import type { V1Container, V1Job, V1Volume, V1VolumeMount } from "@kubernetes/client-node";

import type { ImageBuild } from "../contract/imageBuild";
import { builderCapabilities, builderContainer, clientContainer, imagePods } from "../contract/imageBuild";
import { epochArgument, plainForSed } from "./epochArgument";

/** The context as it is sent: a gzipped tar. */
export interface PackedContext {
    readonly size: number;
    /** SHA-256, in hexadecimal. */
    readonly sha256: string;
    /** Whether its Dockerfile is given the commit's time as a default (launcher/epochArgument.ts), and not as an argument. */
    readonly epochAsDefault: boolean;
}

/** The user of BuildKit's rootless image. */
const user = 1000;
const socketDirectory = "/run/buildkit";
const workDirectory = "/image";
const credentialDirectory = "/ke1/registry";
const loginDirectory = "/ke1/login";
const address = `unix://${socketDirectory}/buildkitd.sock`;
/** A Job that is over goes after this, in seconds; what it printed can be looked at for so long. */
const ttlSeconds = 600;

/** The client's exit codes when it is not the Dockerfile's fault: the context came cut short, and BuildKit did not start. */
export const contextCutShort = 75;
export const builderNotStarted = 76;

/**
 * Layers get this time, 1 January 1980, as their files' latest and as the image's own: the same content is the same layer,
 * whenever and from whatever commit it was made. Earlier, zip could not say it. The commit's time is in the image's labels.
 */
const layerTime = 315_532_800;

/** Waits for the context, checks that it is whole, and has it built. The arguments are buildctl's. */
const clientScript = `set -eu
mkdir "$HOME/context"
# Where buildctl can also write what it makes of it.
[ ! -f ${credentialDirectory}/config.json ] || cat ${credentialDirectory}/config.json >"$DOCKER_CONFIG/config.json"
head -c "$KE1_CONTEXT_SIZE" >"$HOME/context.tar.gz"
if ! echo "$KE1_CONTEXT_SHA256  $HOME/context.tar.gz" | sha256sum -c - >/dev/null 2>&1; then
    echo "the image's context did not arrive whole" >&2
    exit ${contextCutShort}
fi
tar -xzf "$HOME/context.tar.gz" -C "$HOME/context"
rm "$HOME/context.tar.gz"
[ -z "$KE1_EPOCH" ] || sed -i "s/$KE1_EPOCH_ARGUMENT/ARG ${epochArgument}=$KE1_EPOCH/" "$HOME/context/$KE1_DOCKERFILE"
tries=0
until buildctl debug workers >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 150 ]; then
        echo "BuildKit does not start" >&2
        exit ${builderNotStarted}
    fi
    sleep 0.2
done
buildctl build "$@" --metadata-file "$HOME/metadata.json"
sed -n 's/.*"containerimage.digest": "\\(sha256:[0-9a-f]*\\)".*/\\1/p' "$HOME/metadata.json" >/dev/termination-log
`;

/** Writes its configuration where only it can, and starts. */
const builderScript = `set -eu
printf %s "$KE1_BUILDKITD" >/tmp/buildkitd.toml
exec rootlesskit buildkitd --config=/tmp/buildkitd.toml --addr=${address} --root=/var/lib/buildkit \\
    --oci-worker-no-process-sandbox
`;

/**
 * The Job that builds one image; it begins suspended, so that its Secret can be made as its own. BuildKit and whatever the
 * Dockerfile runs are in one container; what asks for the build, and alone has the registry's credential, is in another,
 * which they can reach through a socket only, from its side.
 */
export function imageJob(name: string, build: ImageBuild, context: PackedContext): V1Job {
    const { pod } = build;
    const labels = { "app.kubernetes.io/name": "ke-1-build", "app.kubernetes.io/managed-by": "ke1", ...imagePods };
    return {
        metadata: { name, namespace: pod.namespace, labels },
        spec: {
            suspend: true,
            backoffLimit: 0,
            activeDeadlineSeconds: pod.deadlineSeconds,
            ttlSecondsAfterFinished: ttlSeconds,
            template: {
                metadata: { labels },
                spec: {
                    restartPolicy: "Never",
                    automountServiceAccountToken: false,
                    // There is nothing to be saved of one that is ended.
                    terminationGracePeriodSeconds: 2,
                    enableServiceLinks: false,
                    dnsPolicy: pod.clusterDns ? "ClusterFirst" : "Default",
                    nodeSelector: { "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" },
                    // No fsGroup: it would mark the directories of images too, which BuildKit makes on its volume.
                    securityContext: {
                        runAsNonRoot: true,
                        ...{ runAsUser: user, runAsGroup: user },
                    },
                    // Beside the client, and ended with it: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
                    initContainers: [builderOf(build)],
                    containers: [clientOf(build, context)],
                    volumes: [
                        ...["socket", "run", "temporary"].map((volume) => ({ name: volume, emptyDir: {} })),
                        ...["state", "work"].map((volume) => ({
                            name: volume,
                            emptyDir: { sizeLimit: pod.diskLimit },
                        })),
                        { name: "login", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
                        credentialVolume(name),
                    ],
                },
            },
        },
    };
}

/** Optional: a registry that anybody may push to needs none. */
function credentialVolume(secretName: string): V1Volume {
    return { name: "credential", secret: { secretName, optional: true, defaultMode: 0o444 } };
}

function builderOf(build: ImageBuild): V1Container {
    const { pod } = build;
    return {
        name: builderContainer,
        restartPolicy: "Always",
        image: pod.builderImage,
        command: ["/bin/sh", "-c", builderScript],
        env: [
            { name: "KE1_BUILDKITD", value: configurationOf(build) },
            ...environment("/tmp"),
            { name: "XDG_RUNTIME_DIR", value: "/run/user" },
        ],
        resources: {
            requests: { cpu: pod.cpuRequest, memory: "256Mi", "ephemeral-storage": "0" },
            limits: { memory: pod.memoryLimit, "ephemeral-storage": pod.diskLimit },
        },
        securityContext: {
            // For newuidmap and newgidmap, which map more than one user and group, and have one capability each for it.
            allowPrivilegeEscalation: true,
            capabilities: { drop: ["ALL"], add: [...builderCapabilities] },
            readOnlyRootFilesystem: true,
            seccompProfile: profile(pod.seccomp),
            appArmorProfile: profile(pod.appArmor),
        },
        volumeMounts: [
            { name: "socket", mountPath: socketDirectory },
            { name: "run", mountPath: "/run/user" },
            { name: "temporary", mountPath: "/tmp" },
            { name: "state", mountPath: "/var/lib/buildkit" },
        ],
    };
}

function clientOf(build: ImageBuild, context: PackedContext): V1Container {
    const { pod } = build;
    const mounts: V1VolumeMount[] = [
        { name: "socket", mountPath: socketDirectory, readOnly: true },
        { name: "work", mountPath: workDirectory },
        { name: "credential", mountPath: credentialDirectory, readOnly: true },
        { name: "login", mountPath: loginDirectory },
    ];
    return {
        name: clientContainer,
        image: pod.builderImage,
        command: ["/bin/sh", "-c", clientScript, "sh", ...buildArguments(build, context)],
        ...{ stdin: true, stdinOnce: true },
        env: [
            { name: "BUILDKIT_HOST", value: address },
            ...environment(workDirectory),
            { name: "DOCKER_CONFIG", value: loginDirectory },
            { name: "KE1_CONTEXT_SIZE", value: String(context.size) },
            { name: "KE1_CONTEXT_SHA256", value: context.sha256 },
            { name: "KE1_DOCKERFILE", value: build.dockerfile },
            { name: "KE1_EPOCH", value: context.epochAsDefault ? (build.buildArgs[epochArgument] ?? "") : "" },
            { name: "KE1_EPOCH_ARGUMENT", value: plainForSed },
        ],
        resources: {
            requests: { cpu: "10m", memory: "64Mi", "ephemeral-storage": "0" },
            limits: { memory: "512Mi", "ephemeral-storage": pod.diskLimit },
        },
        securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
            readOnlyRootFilesystem: true,
            seccompProfile: { type: "RuntimeDefault" },
        },
        volumeMounts: mounts,
    };
}

function environment(home: string) {
    return [
        { name: "HOME", value: home },
        { name: "TMPDIR", value: home },
        { name: "USER", value: "user" },
    ];
}

/** Undefined where nothing is asked for: a node then has its own default. */
function profile(name: string): { readonly type: string; readonly localhostProfile?: string } | undefined {
    if (name === "") {
        return undefined;
    }
    return name === "unconfined" ? { type: "Unconfined" } : { type: "Localhost", localhostProfile: name };
}

/** https://docs.docker.com/build/buildkit/toml-configuration/ */
function configurationOf({ imageName, pushName, pod }: ImageBuild): string {
    const [here, there] = [hostOf(imageName), hostOf(pushName)];
    const mirror = here === there ? "" : `[registry."${here}"]\nmirrors = ["${there}"]\n`;
    // It ends with the image: there is nothing to make room for.
    return `[worker.oci]\ngc = false\n${mirror}${pod.insecure ? `[registry."${there}"]\nhttp = true\n` : ""}`;
}

/** https://github.com/moby/buildkit#output, #export-cache */
function buildArguments(build: ImageBuild, context: PackedContext): readonly string[] {
    const { pushName, pod, buildArgs } = build;
    const output = [
        `type=image,name=${pushName},push=true`,
        // Which Docker of Debian 12 takes, and all else.
        "oci-mediatypes=false",
        ...(pod.reproducible ? [`source-date-epoch=${layerTime}`, "rewrite-timestamp=true"] : []),
    ];
    const cache = `type=registry,ref=${pushName.replace(/:[^/:]*$/, "")}-cache:${pod.cache}`;
    return [
        ...["--progress=plain", "--frontend", "dockerfile.v0"],
        ...["--local", `context=${workDirectory}/context`, "--local", `dockerfile=${workDirectory}/context`],
        ...["--opt", `filename=${build.dockerfile}`, "--opt", "platform=linux/amd64"],
        ...Object.entries(buildArgs)
            .filter(([name]) => name !== epochArgument || !context.epochAsDefault)
            .flatMap(([name, value]) => ["--opt", `build-arg:${name}=${value}`]),
        ...["--output", output.join(",")],
        // What cannot be kept for the next time fails no build.
        ...(pod.cache === ""
            ? []
            : [
                  ...["--import-cache", cache],
                  ...["--export-cache", `${cache},mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true`],
              ]),
    ];
}

function hostOf(image: string): string {
    return image.split("/", 1)[0] ?? "";
}
