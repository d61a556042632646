import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { processesIn, removeCgroups } from "./cgroups";
import { cniNetwork, containerdState } from "./containerd";
import { makePrivateDirectory, readIfThere, writePrivateFile } from "./files";
import { endProcesses, programOf } from "./processes";
import { run, succeeds } from "./run";
import type { Settings } from "./settings";

/** Asks all pods' and image builds' processes to end, then kills them. */
export async function endContainers(settings: Settings): Promise<void> {
    await endProcesses(
        ["kubepods", "docker"].flatMap((group) => processesIn(settings, group)),
        3000,
    );
    // containerd sees the ends of containers and sends their shims away itself, unless it is dead.
    const deadline = Date.now() + 3000;
    while (shimsOf(settings).length > 0 && isContainerdAlive(settings) && Date.now() < deadline) {
        await delay(50);
    }
}

/** Kills whatever still runs in the platform's cgroups, until there is nothing. */
export async function endRemains(settings: Settings): Promise<void> {
    for (let left = processesIn(settings); left.length > 0; left = processesIn(settings)) {
        await endProcesses(left, 0);
    }
}

/** Removes mounts, sockets, addresses and cgroups of a platform whose processes have ended. */
export async function removeRemains(settings: Settings): Promise<void> {
    await unmountBelow([settings.home, settings.runDir]);
    removeShimSockets(settings);
    removeCniResults(settings);
    await removeTree(settings.runDir);
    const left = await cgroupsThatStay(settings);
    if (left.length > 0) {
        throw new Error(`these cgroups cannot be removed: ${left.join(", ")}`);
    }
}

/** Where /run is on a disk, it outlives a reboot; processes, mounts and networks that it speaks of do not. */
export async function discardFormerBoot(settings: Settings): Promise<void> {
    const record = join(settings.runDir, "boot_id");
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8");
    const recorded = readIfThere(record);
    if (recorded !== boot) {
        if (recorded !== undefined) {
            removeShimSockets(settings);
            await removeTree(settings.runDir);
            makePrivateDirectory(settings.runDir);
        }
        writePrivateFile(record, boot);
    }
}

/** The mount points below some directories, the innermost first. */
export function mountsBelow(
    directories: readonly string[],
    mounts = readFileSync("/proc/mounts", "utf8"),
): readonly string[] {
    return (
        mounts
            .split("\n")
            .map((line) => line.split(" ")[1] ?? "")
            // Blanks and their like are written in octal: proc(5), fstab(5).
            .map((path) => path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))))
            .filter((path) => directories.some((directory) => path.startsWith(`${directory}/`)))
            .reverse()
    );
}

/** Removes a directory, and never what is mounted below it: a half-made base image has the machine's /dev in it. */
export async function removeTree(path: string): Promise<void> {
    await unmountBelow([path]);
    const mounted = mountsBelow([path]);
    if (mounted.length > 0) {
        throw new Error(`${path} is not removed: there are mounts below it, such as ${mounted[0] ?? ""}`);
    }
    await run(["rm", "-rf", "--one-file-system", path]);
}

/** Ends programs of an earlier command that was killed while it waited for them. */
export async function endForgottenTools(settings: Settings): Promise<void> {
    await endProcesses(processesIn(settings, "tools"), 0);
}

async function unmountBelow(directories: readonly string[]): Promise<void> {
    for (const path of mountsBelow(directories)) {
        if (!(await succeeds(["umount", path]))) {
            await run(["umount", "--lazy", path]);
        }
    }
}

function shimsOf(settings: Settings): readonly number[] {
    return processesIn(settings, "containerd").filter((pid) => programOf(pid).startsWith("containerd-shim"));
}

function isContainerdAlive(settings: Settings): boolean {
    return processesIn(settings, "containerd").some((pid) => programOf(pid) === "containerd");
}

/** Shims listen in /run/containerd/s, whatever containerd's state directory is; each bundle says where. */
function removeShimSockets(settings: Settings): void {
    const tasks = join(containerdState(settings), "io.containerd.runtime.v2.task");
    for (const namespace of directoriesIn(tasks)) {
        for (const task of directoriesIn(join(tasks, namespace))) {
            const address = readIfThere(join(tasks, namespace, task, "address")) ?? "";
            if (address.startsWith("unix:///run/containerd/s/")) {
                rmSync(address.replace("unix://", ""), { force: true });
            }
        }
    }
}

/** libcni keeps what its plugins answered, with the network's name in front, in a place that is the same for all. */
function removeCniResults(settings: Settings): void {
    const results = "/var/lib/cni/results";
    if (existsSync(results)) {
        for (const name of readdirSync(results).filter((found) => found.startsWith(`${cniNetwork(settings)}-`))) {
            rmSync(join(results, name), { force: true });
        }
    }
}

/** The kernel lets go of a group a moment after its last process. */
async function cgroupsThatStay(settings: Settings): Promise<readonly string[]> {
    for (let attempt = 0; ; attempt++) {
        const left = removeCgroups(settings);
        if (left.length === 0 || attempt === 50) {
            return left;
        }
        await delay(50);
    }
}

function directoriesIn(path: string): readonly string[] {
    return existsSync(path) ? readdirSync(path) : [];
}
