import { setTimeout as sleep } from "node:timers/promises";

import type { V1Deployment, V1Pod } from "@kubernetes/client-node";
import { AppsV1Api, CoreV1Api, PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";

import { dependencyLabel, dependencyObject, dependencyVariables, leasesAnnotation } from "../contract/dependencies";
import { messageOf } from "../contract/errors";
import type { Cluster } from "./cluster";

/** A lease that is not renewed for so long is nobody's: its launcher was killed. In milliseconds. */
const leaseTime = 60_000;
const renewalInterval = 20_000;
/** A server that is not ready after this will not be, in milliseconds. */
const readyLimit = 120_000;
const pollInterval = 300;

type Leases = Readonly<Record<string, string>>;

/**
 * The dependencies of one build, or step, while it runs. They are shared: each has a lease for as long as it runs, and whoever
 * gives back the last one scales the server to zero. The leases of launchers that were killed end by themselves, and are put
 * away by the next who takes or gives back one.
 */
export class HeldDependencies {
    private readonly apps: AppsV1Api;
    private readonly core: CoreV1Api;
    private renewal: NodeJS.Timeout | undefined;
    /** The renewal that is under way, or was the last. */
    private renewed: Promise<void> = Promise.resolve();

    public constructor(
        cluster: Cluster,
        private readonly namespace: string,
        private readonly names: readonly string[],
        /** The same for the same build, however often it is begun. */
        private readonly holder: string,
        private readonly say: (text: string) => void,
    ) {
        this.apps = cluster.client(AppsV1Api);
        this.core = cluster.client(CoreV1Api);
    }

    /**
     * Scales them up, waits until each is ready, and leaves where it is for the build's environment. Whoever aborts the wait
     * has ended the build too.
     */
    public async acquire(signal: AbortSignal): Promise<void> {
        await Promise.all(this.names.map(async (name) => this.change(name, true)));
        this.renewal = setInterval(() => {
            this.renewed = this.renewed.then(async () => this.renew());
        }, renewalInterval);
        await Promise.all(this.names.map(async (name) => this.ready(name, signal)));
    }

    /** Leaves them to a build that goes on, for as long as they are leased. */
    public async leave(): Promise<void> {
        clearInterval(this.renewal);
        // Else it could take again what has been given back, for a minute.
        await this.renewed;
    }

    /** Gives them back, however the build has ended. */
    public async release(): Promise<void> {
        await this.leave();
        for (const name of this.names) {
            try {
                const left = await this.change(name, false);
                this.say(left === 0 ? `${name}: scaled to zero` : `${name}: left to ${left} more`);
            } catch (error) {
                // The next who gives it back does it.
                this.say(`warning: ${name} is not scaled down: ${messageOf(error)}`);
            }
        }
    }

    private async renew(): Promise<void> {
        for (const name of this.names) {
            await this.change(name, true).catch((error: unknown) => {
                this.say(`warning: the lease of ${name} is not renewed: ${messageOf(error)}`);
            });
        }
    }

    /** @returns how many have it now */
    private async change(name: string, isHeld: boolean): Promise<number> {
        for (;;) {
            const deployment = await this.apps.readNamespacedDeployment({
                namespace: this.namespace,
                name: dependencyObject(name),
            });
            const leases = this.leasesOf(deployment, isHeld);
            const count = Object.keys(leases).length;
            try {
                await this.apps.patchNamespacedDeployment(
                    {
                        ...{ namespace: this.namespace, name: dependencyObject(name), fieldManager: "ke1-launcher" },
                        body: {
                            metadata: {
                                // What somebody else has changed meanwhile is looked at again.
                                resourceVersion: deployment.metadata?.resourceVersion,
                                annotations: { [leasesAnnotation]: count === 0 ? null : JSON.stringify(leases) },
                            },
                            spec: { replicas: count === 0 ? 0 : 1 },
                        },
                    },
                    setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
                );
                return count;
            } catch (error) {
                if ((error as { readonly code?: number }).code !== 409) {
                    throw error;
                }
                await sleep(50 + Math.random() * 200);
            }
        }
    }

    private leasesOf(deployment: V1Deployment, isHeld: boolean): Leases {
        const now = Date.now();
        const text = deployment.metadata?.annotations?.[leasesAnnotation] ?? "{}";
        const others = Object.entries(JSON.parse(text) as Leases).filter(
            ([holder, end]) => holder !== this.holder && Date.parse(end) > now,
        );
        const own = isHeld ? [[this.holder, new Date(now + leaseTime).toISOString()] as const] : [];
        return Object.fromEntries([...others, ...own]);
    }

    private async ready(name: string, signal: AbortSignal): Promise<void> {
        this.say(`${name}: starting`);
        const labelSelector = `${dependencyLabel}=${name}`;
        const end = Date.now() + readyLimit;
        while (!signal.aborted) {
            const { items } = await this.core.listNamespacedPod({ namespace: this.namespace, labelSelector });
            const pod = items.find(isReady);
            if (pod) {
                await this.tell(name, pod);
                this.say(`${name}: ready at ${pod.status?.podIP ?? ""}`);
                return;
            }
            if (Date.now() > end) {
                throw new Error(`${name} is not ready after ${readyLimit / 1000} s${whyNot(items)}`);
            }
            await sleep(pollInterval);
        }
    }

    /**
     * By the pod's address, which every pod of its namespace can reach: it takes neither a cluster DNS nor a kube-proxy. It is
     * in a ConfigMap, as the Job, and so its environment, was made before there was one.
     */
    private async tell(name: string, pod: V1Pod): Promise<void> {
        const ports = pod.spec?.containers[0]?.ports?.map(({ containerPort }) => containerPort) ?? [];
        const owner = (
            await this.apps.readNamespacedDeployment({ namespace: this.namespace, name: dependencyObject(name) })
        ).metadata;
        const body = {
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: {
                name: dependencyObject(name),
                // It goes when the stack does.
                ownerReferences: [
                    { apiVersion: "apps/v1", kind: "Deployment", name: owner?.name ?? "", uid: owner?.uid ?? "" },
                ],
            },
            data: dependencyVariables(name, pod.status?.podIP ?? "", ports),
        };
        await this.core.patchNamespacedConfigMap(
            {
                namespace: this.namespace,
                name: dependencyObject(name),
                body,
                fieldManager: "ke1-launcher",
                force: true,
            },
            setHeaderOptions("Content-Type", PatchStrategy.ServerSideApply),
        );
    }
}

function isReady({ metadata, status }: V1Pod): boolean {
    return (
        metadata?.deletionTimestamp === undefined &&
        status?.podIP !== undefined &&
        status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true
    );
}

function whyNot(pods: readonly V1Pod[]): string {
    const state = pods[0]?.status?.containerStatuses?.[0]?.state;
    const reason = state?.waiting?.reason ?? state?.terminated?.reason ?? pods[0]?.status?.phase;
    return reason === undefined ? "" : `: ${reason}`;
}
