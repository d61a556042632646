import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { stopDaemon } from "./daemon";
import { withLock } from "./lock";
import { removeNetworks } from "./network";
import { requireMachine } from "./preflight";
import { readSettings } from "./settings";
import { showSteps } from "./steps";
import { endContainers, endRemains, removeRemains, removeTree } from "./teardown";

export interface DownOptions {
    readonly home?: string;
    /** Removes all data too: images, blobs, the cluster's state, and the stacks' state. */
    readonly purge?: boolean;
}

/** In the order in which they end; those in one row at once. The containers end after the first row. */
const rows = [
    ["kubelet", "kube-controller-manager", "kube-scheduler"],
    ["kube-apiserver", "dockerd", "registry", "azurite", "gateway"],
    ["etcd", "containerd"],
] as const;

/** How long a daemon may take to end when asked to, in milliseconds: Azurite writes its index, etcd its log. */
const patienceMs = 5000;

/** Ends all that the platform runs, and removes its mounts, bridges, rules and cgroups. A Docker that is not ours stays. */
export async function platformDown(options: DownOptions = {}): Promise<void> {
    const settings = readSettings(options.home);
    requireMachine();
    const steps = showSteps();
    try {
        const onWait = () => steps.say("another ke1 platform command is at work here: waiting for it");
        await withLock(settings, onWait, async () => {
            for (const [index, row] of rows.entries()) {
                await steps.step(row.join(", "), async () => {
                    await Promise.all(row.map(async (name) => stopDaemon(settings, name, patienceMs)));
                });
                if (index === 0) {
                    await steps.step("containers", async () => endContainers(settings));
                }
            }
            await steps.step("networks, mounts and cgroups", async () => {
                await endRemains(settings);
                await removeNetworks(settings);
                await removeRemains(settings);
            });
            if (options.purge && existsSync(settings.home)) {
                const stacks = countStacks(join(settings.home, ".pulumi", "stacks"));
                await steps.step(`all data in ${settings.home}, with the state of ${stacks} stacks`, async () =>
                    removeTree(settings.home),
                );
            }
        });
        const kept = options.purge ? settings.cacheDir : settings.home;
        if (existsSync(kept)) {
            const what = options.purge ? "compiled programs and the base image" : "images, blobs and the stacks' state";
            steps.say(`platform is down; ${what} stay in ${kept}`);
        }
    } finally {
        steps.end();
    }
}

function countStacks(directory: string): number {
    return existsSync(directory)
        ? readdirSync(directory, { recursive: true }).filter((name) => String(name).endsWith(".json")).length
        : 0;
}
