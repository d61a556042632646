import type { ChildProcess } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import type { V1Node, V1Taint } from "@kubernetes/client-node";
import { CoordinationV1Api, KubeConfig, PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";

import { platform } from "./ke1";
import { api } from "./prepared";

export interface HollowNode {
    readonly labels?: Readonly<Record<string, string>>;
    readonly taints?: readonly V1Taint[];
    /** Beside 4 CPUs and 16 GiB. */
    readonly resources?: Readonly<Record<string, string>>;
}

/** Of kwok's own stages: nodes are ready and stay so; a pod runs as soon as it has a node, until it is removed. */
const behaviour = [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
];

/**
 * Nodes without a machine behind them, on the embedded platform's cluster: the scheduler takes them for real, and kwok says
 * of the pods on them that they run. Whatever does not bear with their taint stays away, so that no other test's build
 * comes to a node where nothing builds it.
 */
export class HollowNodes {
    /** The label, and the taint, that they all have. */
    public static readonly key = "ke1.test/hollow";
    public readonly id = `tmp-${randomBytes(4).toString("hex")}`;
    private readonly names: string[] = [];
    private kwok: ChildProcess | undefined;

    /** Those of a test run that was killed are removed first. kwok is compiled at the first time, which takes minutes; Go's cache keeps the program. */
    public async start(): Promise<void> {
        const { items } = await api().core.listNode({ labelSelector: HollowNodes.key });
        const anHourAgo = Date.now() - 3_600_000;
        for (const { metadata } of items.filter((node) => createdAt(node) < anHourAgo)) {
            await api().core.deleteNode({ name: metadata?.name ?? "" });
        }
        const program = await go("tool", "-n", "kwok");
        const stages = path.join(await go("list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"), "kustomize/stage");
        const args = [
            `--kubeconfig=${platform().kubeconfig}`,
            `--manage-nodes-with-label-selector=${HollowNodes.key}=${this.id}`,
            "--node-lease-duration-seconds=40",
            ...behaviour.map((file) => `--config=${path.join(stages, file)}`),
        ];
        this.kwok = spawn(program, args, { stdio: "ignore" });
    }

    /** @returns the name of the node, which is ready */
    public async add(name: string, { labels = {}, taints = [], resources = {} }: HollowNode = {}): Promise<string> {
        const { core } = api();
        const full = `${this.id}-${name}`;
        const allocatable = { cpu: "4", memory: "16Gi", pods: "10", ...resources };
        this.names.push(full);
        await core.createNode({
            body: {
                metadata: {
                    name: full,
                    labels: { ...labels, "kubernetes.io/hostname": full, [HollowNodes.key]: this.id },
                },
                spec: { taints: [{ key: HollowNodes.key, value: this.id, effect: "NoSchedule" }, ...taints] },
                status: { allocatable, capacity: allocatable },
            },
        });
        await until(`the node ${full} is ready`, async () => {
            const { spec, status } = await core.readNode({ name: full });
            const isReady = status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True");
            return isReady === true && !spec?.taints?.some(({ key }) => key === "node.kubernetes.io/not-ready");
        });
        return full;
    }

    /** Whether new pods may come to a node. */
    public async cordon(name: string, unschedulable: boolean): Promise<void> {
        await api().core.patchNode(
            { name, body: { spec: { unschedulable } } },
            setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
        );
    }

    public async remove(): Promise<void> {
        const { core } = api();
        const config = new KubeConfig();
        config.loadFromFile(platform().kubeconfig);
        const leases = config.makeApiClient(CoordinationV1Api);
        if (this.kwok?.exitCode === null) {
            const ended = once(this.kwok, "exit");
            this.kwok.kill();
            await ended;
        }
        for (const name of this.names) {
            await core.deleteNode({ name }).catch(() => undefined);
            await leases.deleteNamespacedLease({ namespace: "kube-node-lease", name }).catch(() => undefined);
        }
    }
}

function createdAt({ metadata }: V1Node): number {
    return metadata?.creationTimestamp?.getTime() ?? 0;
}

async function go(...args: readonly string[]): Promise<string> {
    const cwd = path.join(__dirname, "../tools/kwok");
    return (await promisify(execFile)("go", args, { cwd })).stdout.trim();
}

export async function until(what: string, isSo: () => Promise<boolean>, seconds = 60): Promise<void> {
    const end = Date.now() + seconds * 1000;
    while (!(await isSo())) {
        if (Date.now() > end) {
            throw new Error(`it did not come to be in ${seconds} s: ${what}`);
        }
        await sleep(200);
    }
}
