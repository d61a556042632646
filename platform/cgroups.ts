import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../contract/errors";
import type { Settings } from "./settings";

/**
 * Everything that the platform runs is in cgroups below `/ke1-<id>`: a group for each daemon, `kubepods` for pods,
 * `docker` for image builds. So whatever became of the records, the kernel knows which processes are ours.
 */
export function cgroupName(settings: Settings): string {
    return `ke1-${settings.id}`;
}

interface Hierarchies {
    readonly version: 1 | 2;
    /** Mount points; one for version 2. */
    readonly roots: readonly string[];
    /** The one that says which processes are ours. */
    readonly tracking: string;
}

const needed = ["cpu", "cpuset", "memory", "pids"];

/** @throws UserError when a controller that Kubernetes needs is not there */
export function findHierarchies(mounts: string = readFileSync("/proc/mounts", "utf8")): Hierarchies {
    const found = mounts
        .split("\n")
        .map((line) => line.split(" "))
        .map(([, path = "", type = "", options = ""]) => ({ path, type, options: options.split(",") }));
    const first = found.filter(({ type }) => type === "cgroup");
    const tracking = first.find(({ options }) => options.includes("memory"))?.path;
    if (tracking !== undefined) {
        const missing = needed.filter((name) => !first.some(({ options }) => options.includes(name)));
        requireControllers(missing);
        // Beside version 1, a mount of version 2 without controllers is common: runc makes groups there too.
        const roots = found.filter(({ type }) => type === "cgroup" || type === "cgroup2").map(({ path }) => path);
        return { version: 1, roots, tracking };
    }
    const second = found.find(({ type }) => type === "cgroup2")?.path;
    if (second === undefined) {
        throw new UserError("no cgroups are mounted: mount cgroup2 at /sys/fs/cgroup");
    }
    const offered = readFileSync(join(second, "cgroup.controllers"), "utf8").trim().split(" ");
    requireControllers(needed.filter((name) => !offered.includes(name)));
    return { version: 2, roots: [second], tracking: second };
}

function requireControllers(missing: readonly string[]): void {
    if (missing.length > 0) {
        throw new UserError(
            `the kernel does not offer the cgroup controllers ${missing.join(", ")}: ` +
                "enable them on the kernel's command line (cgroup_enable=...)",
        );
    }
}

/** Makes the platform's groups, and one for a daemon. @returns the file that takes the daemon's process id */
export function ensureCgroup(settings: Settings, daemon: string): string {
    const { version, roots, tracking } = findHierarchies();
    for (const root of roots) {
        const group = join(root, cgroupName(settings));
        mkdirSync(group, { recursive: true });
        if (version === 2) {
            const controllers = readFileSync(join(root, "cgroup.controllers"), "utf8").trim().split(" ");
            const all = controllers.map((name) => `+${name}`).join(" ");
            writeFileSync(join(root, "cgroup.subtree_control"), all);
            writeFileSync(join(group, "cgroup.subtree_control"), all);
        }
    }
    const group = join(tracking, cgroupName(settings), daemon);
    mkdirSync(group, { recursive: true });
    return join(group, "cgroup.procs");
}

/** The processes in the platform's groups, or in one of them and below it. */
export function processesIn(settings: Settings, group = ""): readonly number[] {
    return groupsBelow(join(findHierarchies().tracking, cgroupName(settings), group)).flatMap((path) => {
        try {
            return readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
        } catch {
            return []; // The group ended meanwhile.
        }
    });
}

/** Removes the platform's groups; their processes must have ended. @returns those that could not be removed */
export function removeCgroups(settings: Settings): readonly string[] {
    const groups = findHierarchies().roots.flatMap((root) => groupsBelow(join(root, cgroupName(settings))).reverse());
    return groups.filter((path) => {
        try {
            rmdirSync(path);
            return false;
        } catch {
            return existsSync(path);
        }
    });
}

/** The group and all below it, parents first. */
function groupsBelow(path: string): string[] {
    try {
        const children = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
        return [path, ...children.flatMap(({ name }) => groupsBelow(join(path, name)))];
    } catch {
        return [];
    }
}
