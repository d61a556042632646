import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { amountOf } from "../config/memory";
import { restricted } from "./podDefaults";
import type { EnvironmentSettings } from "../config/buildEnvironment";
import type { EnvironmentVolume, ResolvedEnvironment } from "../config/environments";

type Container = k8s.types.input.core.v1.Container;
type EnvVar = k8s.types.input.core.v1.EnvVar;
type Volume = k8s.types.input.core.v1.Volume;
type VolumeMount = k8s.types.input.core.v1.VolumeMount;

/** What the containers before and beside a build have in common with it. */
export interface CompanionArgs extends EnvironmentSettings {
    readonly buildTag: string;
    readonly sourceDateEpoch: number;
    /** The build's image, by digest: also of an environment that has none of its own. */
    readonly image: pulumi.Input<string>;
    readonly diskLimit: string;
    /** Present where the pods' own logs must not show what is printed. */
    readonly maskSecret?: string;
}

/** What environments add to a build's pod: containers, and something to those that are there anyway. */
export interface EnvironmentParts {
    readonly initContainers: readonly Container[];
    readonly volumes: readonly Volume[];
    readonly build: {
        readonly env: readonly { readonly name: string; readonly value: string }[];
        readonly volumeMounts: readonly VolumeMount[];
        readonly limits: Readonly<Record<string, string>>;
        readonly securityContext: k8s.types.input.core.v1.SecurityContext;
        readonly workingDir?: string;
    };
    readonly exporter: { readonly env: readonly EnvVar[]; readonly volumeMounts: readonly VolumeMount[] };
}

/** Paths in the pod, which the wrapper and the exporter know from their environment. */
const sharedDirectory = "/ke1/shared";
const wrapperDirectory = "/ke1/bin";
const initDirectory = "/ke1/init";
const sidecarDirectory = "/ke1/sidecars";
const ownDirectory = "/ke1/own";
const reportDirectory = `${sharedDirectory}/reports`;

const wrapper = { name: "wrapper", mountPath: wrapperDirectory, readOnly: true };
/** What a container that says nothing else may use, and what is set aside for it. */
const usualMemory = { request: "32Mi", limit: "256Mi" };
const usualCpu = "10m";

/**
 * The init containers, sidecars and volumes of a build.
 *
 * A sidecar is one that Kubernetes knows as such (an init container that is always restarted,
 * https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/): it is up before the build is, neither its exit
 * code nor its death by the OOM killer fails the pod, and when the exporter has ended, kubelet ends it.
 */
export function environmentParts(args: CompanionArgs): EnvironmentParts {
    const { environment } = args;
    const { initContainers, sidecars } = args.companions;
    const all = [...(environment ? [environment] : []), ...initContainers, ...sidecars];
    return {
        initContainers: [
            ...initContainers.map((each) => initContainer(args, each)),
            ...sidecars.map((each, index) => sidecar(args, each, index)),
        ],
        volumes: [
            ...(initContainers.length > 0 ? [{ name: "init", emptyDir: { sizeLimit: args.diskLimit } }] : []),
            ...sidecars.map((_, index) => ({ name: sidecarVolume(index), emptyDir: { sizeLimit: args.diskLimit } })),
            ...volumesOf(all),
        ],
        build: {
            env: [
                ...variables(environment?.env ?? {}),
                ...(sidecars.length > 0 ? [{ name: "KE1_REPORTS", value: reportDirectory }] : []),
            ],
            volumeMounts: environment ? mountsOf(environment) : [],
            limits: environment?.resources.cpuLimit === undefined ? {} : { cpu: environment.resources.cpuLimit },
            // The user is the pod's: the exporter must be the same (docs/exporter.md).
            securityContext: environment ? { ...securityOf(environment), runAsUser: undefined } : {},
            workingDir: environment?.workingDirectory || undefined,
        },
        exporter: exporterParts(args),
    };
}

function initContainer(args: CompanionArgs, environment: ResolvedEnvironment): Container {
    return {
        ...companion(args, environment, [
            { name: "KE1_ROLE", value: "init" },
            { name: "KE1_INIT_DIR", value: initDirectory },
        ]),
        volumeMounts: [
            wrapper,
            // To see whether an earlier one failed; it writes nowhere but to its own.
            { name: "init", mountPath: initDirectory, readOnly: true },
            { name: "init", mountPath: ownDirectory, subPath: environment.name },
            ...mountsOf(environment),
        ],
    };
}

function sidecar(args: CompanionArgs, environment: ResolvedEnvironment, index: number): Container {
    return {
        ...companion(args, environment, [
            { name: "KE1_ROLE", value: "sidecar" },
            { name: "KE1_SHARED", value: sharedDirectory },
            { name: "KE1_REPORTS", value: reportDirectory },
            { name: "KE1_BUILD_EXIT", value: `${ownDirectory}/ended` },
            { name: "KE1_SUMMARY", value: `${ownDirectory}/summary.json` },
        ]),
        restartPolicy: "Always",
        volumeMounts: [
            wrapper,
            // What a sidecar could write there, the exporter would take for the build's.
            { name: "shared", mountPath: sharedDirectory, readOnly: true },
            { name: sidecarVolume(index), mountPath: ownDirectory },
            ...mountsOf(environment),
        ],
    };
}

function companion(args: CompanionArgs, environment: ResolvedEnvironment, env: readonly EnvVar[]): Container {
    return {
        name: environment.name,
        image: environment.image || args.image,
        imagePullPolicy: "IfNotPresent",
        command: ["/bin/sh", `${wrapperDirectory}/wrap`],
        args: [...environment.command],
        workingDir: environment.workingDirectory || undefined,
        env: [
            { name: "BUILD_TAG", value: args.buildTag },
            { name: "SOURCE_DATE_EPOCH", value: String(args.sourceDateEpoch) },
            { name: "KE1_DIR", value: ownDirectory },
            ...env,
            ...(args.maskSecret ? [{ name: "KE1_QUIET", value: "1" }] : []),
            ...variables(environment.env),
        ],
        resources: resourcesOf(environment),
        securityContext: { ...restricted, ...securityOf(environment) },
    };
}

/** What the exporter is told of them, and where it finds what they left. */
function exporterParts(args: CompanionArgs): EnvironmentParts["exporter"] {
    const { initContainers, sidecars, sidecarLimitSeconds } = args.companions;
    if (initContainers.length + sidecars.length === 0) {
        return { env: [], volumeMounts: [] };
    }
    const told = {
        init: initContainers.map(({ name }) => name),
        initDir: initDirectory,
        sidecars: sidecars.map(({ name, required, onBuildEnd }) => ({
            name,
            required,
            terminate: onBuildEnd === "terminate",
        })),
        sidecarDir: sidecarDirectory,
        limitSeconds: sidecarLimitSeconds,
    };
    return {
        env: [{ name: "KE1_COMPANIONS", value: JSON.stringify(told) }],
        volumeMounts: [
            ...(initContainers.length > 0 ? [{ name: "init", mountPath: initDirectory }] : []),
            ...sidecars.map(({ name }, index) => ({
                name: sidecarVolume(index),
                mountPath: `${sidecarDirectory}/${name}`,
            })),
        ],
    };
}

/** By number: a container's name may be as long as a volume's. */
function sidecarVolume(index: number): string {
    return `sidecar-${index}`;
}

function variables(env: Readonly<Record<string, string>>): { readonly name: string; readonly value: string }[] {
    return Object.entries(env).map(([name, value]) => ({ name, value }));
}

function resourcesOf({ resources }: ResolvedEnvironment): k8s.types.input.core.v1.ResourceRequirements {
    const { cpuRequest, cpuLimit, memoryRequest } = resources;
    const least = memoryRequest ?? usualMemory.request;
    const most = resources.memoryLimit ?? larger(usualMemory.limit, least);
    const cpu = cpuRequest ?? usualCpu;
    return {
        requests: { cpu: cpuLimit === undefined ? cpu : smaller(cpu, cpuLimit), memory: smaller(least, most) },
        limits: { memory: most, ...(cpuLimit === undefined ? {} : { cpu: cpuLimit }) },
    };
}

function larger(a: string, b: string): string {
    return amountOf(a) < amountOf(b) ? b : a;
}

function smaller(a: string, b: string): string {
    return amountOf(a) > amountOf(b) ? b : a;
}

function securityOf({ security }: ResolvedEnvironment): k8s.types.input.core.v1.SecurityContext {
    const { runAsUser, runAsGroup, readOnlyRootFilesystem } = security;
    return { runAsUser, runAsGroup: runAsGroup ?? runAsUser, readOnlyRootFilesystem };
}

function mountsOf({ volumes }: ResolvedEnvironment): VolumeMount[] {
    return Object.entries(volumes).map(([name, volume]) => ({
        name: podVolume(name),
        mountPath: volume.path,
        readOnly: volume.readOnly === true || !isEmptyDirectory(volume) ? true : undefined,
    }));
}

/** Each once: a volume that two environments name is what they share. */
function volumesOf(environments: readonly ResolvedEnvironment[]): Volume[] {
    const named = new Map(environments.flatMap(({ volumes }) => Object.entries(volumes)));
    return [...named].map(([name, volume]) => ({
        name: podVolume(name),
        ...(volume.configMap === undefined ? {} : { configMap: { name: volume.configMap, defaultMode: 0o444 } }),
        ...(volume.secret === undefined ? {} : { secret: { secretName: volume.secret, defaultMode: 0o440 } }),
        ...(isEmptyDirectory(volume) ? { emptyDir: { sizeLimit: volume.sizeLimit ?? "1Gi" } } : {}),
    }));
}

function isEmptyDirectory({ configMap, secret }: EnvironmentVolume): boolean {
    return configMap === undefined && secret === undefined;
}

/** Apart from the program's own volumes. */
function podVolume(name: string): string {
    return `env-${name}`;
}
