import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { Dependency } from "../config/dependencies";
import { dependencyLabel, dependencyObject, needLabel } from "../contract/dependencies";
import { commonLabels } from "./labels";
import { podSecurity, pullSecrets, restricted } from "./podDefaults";

export interface TestDependenciesArgs {
    readonly namespace: pulumi.Input<string>;
    readonly dependencies: Readonly<Record<string, Dependency>>;
    readonly imagePullSecrets: readonly pulumi.Input<string>[];
    readonly runAsUser: number;
    /** What one may write to its disk. */
    readonly diskLimit: string;
}

/**
 * The servers that builds are tested with: Deployments without a pod, until the launcher of a build that needs one scales
 * it up (launcher/dependencies.ts). A build that does not say that it needs one cannot reach it, and none of them reaches
 * anything.
 */
export class TestDependencies extends pulumi.ComponentResource {
    public constructor(name: string, args: TestDependenciesArgs, opts?: pulumi.ComponentResourceOptions) {
        super("ke1:components:TestDependencies", name, {}, opts);
        for (const [dependency, declared] of Object.entries(args.dependencies)) {
            this.declare(`${name}-${dependency}`, dependency, declared, args);
        }
        this.registerOutputs({});
    }

    private declare(name: string, dependency: string, declared: Dependency, args: TestDependenciesArgs): void {
        const pods = { [dependencyLabel]: dependency };
        const builds = { [needLabel(dependency)]: "true" };
        const { namespace } = args;
        const ports = declared.ports.map((port) => ({ protocol: "TCP", port }));
        new k8s.apps.v1.Deployment(
            name,
            {
                metadata: {
                    ...{ namespace, name: dependencyObject(dependency), labels: { ...commonLabels, ...pods } },
                    annotations: { "pulumi.com/skipAwait": "true" },
                },
                spec: {
                    replicas: 0,
                    strategy: { type: "Recreate" },
                    selector: { matchLabels: pods },
                    template: {
                        metadata: { labels: { ...commonLabels, ...pods } },
                        spec: {
                            automountServiceAccountToken: false,
                            enableServiceLinks: false,
                            dnsPolicy: "Default",
                            terminationGracePeriodSeconds: 5,
                            ...pullSecrets(args.imagePullSecrets),
                            securityContext: podSecurity(args.runAsUser),
                            containers: [containerOf(declared, args.diskLimit)],
                        },
                    },
                },
            },
            // How many there are is the launcher's to say, and who has them.
            { parent: this, ignoreChanges: ["spec.replicas"] },
        );
        new k8s.networking.v1.NetworkPolicy(
            `${name}-in`,
            {
                metadata: { namespace, name: `${dependencyObject(dependency)}-in`, labels: commonLabels },
                spec: {
                    podSelector: { matchLabels: pods },
                    policyTypes: ["Ingress"],
                    ingress: [{ from: [{ podSelector: { matchLabels: builds } }], ports }],
                },
            },
            { parent: this },
        );
        new k8s.networking.v1.NetworkPolicy(
            `${name}-out`,
            {
                metadata: { namespace, name: `${dependencyObject(dependency)}-out`, labels: commonLabels },
                spec: {
                    podSelector: { matchLabels: builds },
                    policyTypes: ["Egress"],
                    egress: [{ to: [{ podSelector: { matchLabels: pods } }], ports }],
                },
            },
            { parent: this },
        );
    }
}

/** Declares those of a stack's configuration, where it has any. */
export function declareDependencies(
    args: TestDependenciesArgs,
    opts: pulumi.ComponentResourceOptions,
): readonly pulumi.Resource[] {
    return Object.keys(args.dependencies).length > 0 ? [new TestDependencies("dependencies", args, opts)] : [];
}

function containerOf(declared: Dependency, diskLimit: string): k8s.types.input.core.v1.Container {
    const { image, command, ports, env, readiness, cpu, memory } = declared;
    const variables = Object.entries(env).map(([name, value]) => ({ name, value }));
    return {
        name: "server",
        image,
        imagePullPolicy: "IfNotPresent",
        ...(command.length > 0 ? { command: [...command] } : {}),
        ...(variables.length > 0 ? { env: variables } : {}),
        ports: ports.map((containerPort) => ({ containerPort, protocol: "TCP" })),
        readinessProbe: {
            periodSeconds: 1,
            ...(readiness.length > 0 ? { exec: { command: [...readiness] } } : { tcpSocket: { port: ports[0] ?? 0 } }),
        },
        resources: {
            requests: { cpu, memory, "ephemeral-storage": "0" },
            limits: { memory, "ephemeral-storage": diskLimit },
        },
        securityContext: restricted,
    };
}
