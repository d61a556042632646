import { existsSync, readdirSync, readFileSync, readlinkSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { UserError } from "../contract/errors";
import { findHierarchies } from "./cgroups";
import type { Listener } from "./daemon";
import type { Settings } from "./settings";

const gibibyte = 1024 ** 3;

/** The machine as the checks see it; tests give another one. */
export interface Machine {
    readonly platform: string;
    readonly architecture: string;
    readonly user: number | undefined;
}

/** @throws UserError, one line, for the first thing that makes a platform impossible here */
export function requireMachine(
    machine: Machine = { platform: process.platform, architecture: process.arch, user: process.getuid?.() },
): void {
    if (machine.platform !== "linux") {
        throw new UserError(
            `the embedded platform needs Linux, and this is ${machine.platform}: ` +
                "configure a Kubernetes context, a registry and a blob endpoint of your own instead",
        );
    }
    if (machine.architecture !== "x64") {
        throw new UserError(`the embedded platform needs an amd64 processor, and this is ${machine.architecture}`);
    }
    if (machine.user !== 0) {
        throw new UserError("the embedded platform needs root: use sudo -E");
    }
}

/** @throws UserError when the kernel cannot limit what a pod takes */
export function requireCgroups(): void {
    findHierarchies();
}

/** @throws UserError when the disk has no room; the first start needs more than later ones */
export function requireRoom(settings: Settings, first: boolean): void {
    const needed = (first ? 6 : 2) * gibibyte;
    for (const path of [settings.home, settings.cacheDir]) {
        let there = path;
        while (!existsSync(there)) {
            there = dirname(there);
        }
        const { bavail, bsize } = statfsSync(there);
        if (bavail * bsize < needed) {
            const free = ((bavail * bsize) / gibibyte).toFixed(1);
            throw new UserError(
                `the disk of ${path} has ${free} GiB free, and ${needed / gibibyte} GiB are needed: ` +
                    "make room, or set KE1_HOME and KE1_CACHE to another disk",
            );
        }
    }
}

/** @throws UserError when another process listens on a port that a daemon is about to take */
export function requireFreePorts(listeners: readonly Listener[]): void {
    const taken = listeningSockets();
    for (const { host, port, variable } of listeners) {
        const socket = taken.find((found) => found.port === port && (found.host === host || found.host === "*"));
        if (socket !== undefined) {
            const by = ownerOf(socket.inode) ?? "another process";
            throw new UserError(`port ${port} is taken by ${by}: end it, or set ${variable} to a free port`);
        }
    }
}

interface ListeningSocket {
    /** Dotted, or `*` for all addresses. */
    readonly host: string;
    readonly port: number;
    readonly inode: string;
}

/** From /proc/net/tcp and tcp6: https://docs.kernel.org/networking/proc_net_tcp.html */
export function listeningSockets(
    tables: readonly string[] = ["/proc/net/tcp", "/proc/net/tcp6"]
        .filter(existsSync)
        .map((path) => readFileSync(path, "utf8")),
): readonly ListeningSocket[] {
    const listen = "0A";
    return tables
        .flatMap((table) => table.split("\n").slice(1))
        .map((line) => line.trim().split(/\s+/))
        .filter((fields) => fields[3] === listen)
        .map((fields) => {
            const [address = "", port = ""] = fields[1]?.split(":") ?? [];
            const last = address.slice(-8);
            const bytes =
                last
                    .match(/../g)
                    ?.reverse()
                    .map((hex) => parseInt(hex, 16)) ?? [];
            return {
                host: /^0+$/.test(address) ? "*" : bytes.join("."),
                port: parseInt(port, 16),
                inode: fields[9] ?? "",
            };
        });
}

/** @returns for example `nginx (pid 812)` */
function ownerOf(inode: string): string | undefined {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
        try {
            const files = readdirSync(`/proc/${pid}/fd`);
            if (files.some((file) => readlinkSync(`/proc/${pid}/fd/${file}`) === `socket:[${inode}]`)) {
                return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
            }
        } catch {
            // It ended, or a file of it was closed, while we looked.
        }
    }
    return undefined;
}
