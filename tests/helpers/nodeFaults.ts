import * as fs from "node:fs";
import * as path from "node:path";

import type { V1Pod } from "@kubernetes/client-node";

import { runningDaemon } from "../../platform/daemon";
import { sendSignal } from "../../platform/processes";
import { readSettings } from "../../platform/settings";
import { ke1 } from "./ke1";

/** The processes of a pod's container, as the machine numbers them: its node is this machine. */
export function processesOf(pod: V1Pod, container: string): readonly number[] {
    const status = pod.status?.containerStatuses?.find(({ name }) => name === container);
    const id = status?.containerID?.replace(/^.*:\/\//, "");
    if (!id) {
        return [];
    }
    return fs
        .readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name) && cgroupsOf(name).includes(id))
        .map(Number);
}

/** Ends a container as no warning could: by SIGKILL to all of its processes. @returns how many there were */
export function killContainer(pod: V1Pod, container: string): number {
    const processes = processesOf(pod, container);
    processes.forEach((pid) => sendSignal(pid, "SIGKILL"));
    return processes.length;
}

/** Leaves a container hardly more memory than it has now: the kernel does the rest as soon as it wants more. */
export function squeezeMemory(pod: V1Pod, container: string): void {
    const [pid] = processesOf(pod, container);
    const line = cgroupsOf(String(pid))
        .split("\n")
        .find((each) => /:memory:|^0::/.test(each));
    const group = line?.split(":")[2] ?? "";
    const [directory, limit, used] = line?.startsWith("0::")
        ? [path.join("/sys/fs/cgroup", group), "memory.max", "memory.current"]
        : [path.join("/sys/fs/cgroup/memory", group), "memory.limit_in_bytes", "memory.usage_in_bytes"];
    const now = Number(fs.readFileSync(path.join(directory, used), "utf8"));
    fs.writeFileSync(path.join(directory, limit), String(now + 128 * 1024));
}

function cgroupsOf(pid: string): string {
    try {
        return fs.readFileSync(`/proc/${pid}/cgroup`, "utf8");
    } catch {
        return "";
    }
}

/** A daemon of the embedded platform: `kubelet`, `kube-apiserver`, `azurite`. */
export function signalDaemon(name: string, signal: NodeJS.Signals): void {
    const daemon = runningDaemon(readSettings(), name);
    if (!daemon) {
        throw new Error(`${name} does not run`);
    }
    sendSignal(daemon.pid, signal);
}

/** Starts what has ended of the platform. */
export async function restorePlatform(): Promise<void> {
    const up = await ke1(["platform", "up"]);
    if (up.code !== 0) {
        throw new Error(`the platform does not come back: ${up.stderr}`);
    }
}
