import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { UserError } from "../contract/errors";
import { ke1Home } from "./home";

/** What can be set by a variable of the environment, with its default. The table in docs/platform.md says what for. */
export const variables = {
    KE1_BRIDGE: "ke1br0",
    KE1_SUBNET: "10.77.0.0/16",
    KE1_DOCKER_BRIDGE: "ke1br1",
    KE1_DOCKER_SUBNET: "10.78.0.0/16",
    KE1_SERVICE_SUBNET: "10.79.0.0/16",
    KE1_API_PORT: "6443",
    KE1_REGISTRY_PORT: "5000",
    KE1_IMAGE_REGISTRY_PORT: "5001",
    KE1_BLOB_PORT: "10000",
    KE1_KUBELET_PORT: "10250",
    KE1_KUBELET_HEALTH_PORT: "10248",
    KE1_CONTROLLER_MANAGER_PORT: "10257",
    KE1_SCHEDULER_PORT: "10259",
    KE1_ETCD_PORT: "23790",
    KE1_ETCD_PEER_PORT: "23791",
} as const;

export type Variable = keyof typeof variables;

/** The variables that somebody set, and to what. */
export type Choices = Readonly<Partial<Record<Variable, string>>>;

/** An IPv4 network whose first address is the machine's own. */
export interface Network {
    readonly bridge: string;
    /** For example `10.77.0.0/16`. */
    readonly subnet: string;
    /** The first address: the bridge's. */
    readonly address: string;
    readonly prefix: number;
}

export interface Settings {
    readonly home: string;
    /** Tells this platform's cgroups, rules and directories from those of another one on the machine. */
    readonly id: string;
    /** Sockets, records of running daemons, containerd's state: things that mean nothing after a reboot. */
    readonly runDir: string;
    /** Compiled programs and the base image, shared by all platforms of this user. */
    readonly cacheDir: string;
    readonly nodeName: string;
    readonly pods: Network;
    readonly docker: Network;
    readonly serviceSubnet: string;
    readonly ports: {
        readonly api: number;
        readonly registry: number;
        readonly imageRegistry: number;
        readonly blob: number;
        readonly kubelet: number;
        readonly kubeletHealth: number;
        readonly controllerManager: number;
        readonly scheduler: number;
        readonly etcd: number;
        readonly etcdPeer: number;
    };
    readonly choices: Choices;
}

/** Where the choices of the first `up` are kept, so that later commands need no variables. */
export function settingsPath(home: string): string {
    return join(home, "settings.json");
}

/** @throws UserError on a value that cannot be used, or that two variables share. */
export function resolveSettings(home: string, choices: Choices): Settings {
    // Colons, commas and blanks mean something in mount options and in flags that take lists.
    if (!/^[A-Za-z0-9_./@+-]+$/.test(home)) {
        throw new UserError(`KE1_HOME is "${home}": give a path of letters, digits and _ . / @ + -`);
    }
    const value = (name: Variable) => choices[name] ?? variables[name];
    const ports = {
        api: port("KE1_API_PORT", value("KE1_API_PORT")),
        registry: port("KE1_REGISTRY_PORT", value("KE1_REGISTRY_PORT")),
        imageRegistry: port("KE1_IMAGE_REGISTRY_PORT", value("KE1_IMAGE_REGISTRY_PORT")),
        blob: port("KE1_BLOB_PORT", value("KE1_BLOB_PORT")),
        kubelet: port("KE1_KUBELET_PORT", value("KE1_KUBELET_PORT")),
        kubeletHealth: port("KE1_KUBELET_HEALTH_PORT", value("KE1_KUBELET_HEALTH_PORT")),
        controllerManager: port("KE1_CONTROLLER_MANAGER_PORT", value("KE1_CONTROLLER_MANAGER_PORT")),
        scheduler: port("KE1_SCHEDULER_PORT", value("KE1_SCHEDULER_PORT")),
        etcd: port("KE1_ETCD_PORT", value("KE1_ETCD_PORT")),
        etcdPeer: port("KE1_ETCD_PEER_PORT", value("KE1_ETCD_PEER_PORT")),
    };
    const pods = network("KE1_BRIDGE", value("KE1_BRIDGE"), "KE1_SUBNET", value("KE1_SUBNET"));
    const docker = network(
        "KE1_DOCKER_BRIDGE",
        value("KE1_DOCKER_BRIDGE"),
        "KE1_DOCKER_SUBNET",
        value("KE1_DOCKER_SUBNET"),
    );
    const serviceSubnet = parseSubnet("KE1_SERVICE_SUBNET", value("KE1_SERVICE_SUBNET")).subnet;
    distinct("ports", Object.values(ports).map(String));
    distinct("bridges", [pods.bridge, docker.bridge]);
    for (const [one, other] of [
        [pods.subnet, docker.subnet],
        [pods.subnet, serviceSubnet],
        [docker.subnet, serviceSubnet],
    ] as const) {
        if (subnetsOverlap(one, other)) {
            throw new UserError(`the subnets ${one} and ${other} overlap: change KE1_SUBNET or its like`);
        }
    }
    const id = createHash("sha256").update(home).digest("hex").slice(0, 8);
    const cache = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
    return {
        home,
        id,
        runDir: `/run/ke1-${id}`,
        cacheDir: resolve(process.env["KE1_CACHE"] || join(cache, "ke1")),
        nodeName: "ke1",
        pods,
        docker,
        serviceSubnet,
        ports,
        choices,
    };
}

/** The settings for a home: the environment's, else those of its first `up`, else the defaults. */
export function readSettings(home: string = ke1Home()): Settings {
    const saved = savedChoices(home);
    const chosen = Object.fromEntries(
        (Object.keys(variables) as Variable[]).flatMap((name) => {
            const value = process.env[name] || saved[name]; // Set to nothing is not set.
            return value === undefined ? [] : [[name, value]];
        }),
    );
    return resolveSettings(home, chosen);
}

export function savedChoices(home: string): Choices {
    try {
        return JSON.parse(readFileSync(settingsPath(home), "utf8")) as Choices;
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) {
            return {};
        }
        throw error;
    }
}

export function subnetsOverlap(one: string, other: string): boolean {
    const [a, b] = [parseSubnet("a subnet", one), parseSubnet("a subnet", other)];
    const mask = maskOf(Math.min(a.prefix, b.prefix));
    return (a.base & mask) >>> 0 === (b.base & mask) >>> 0;
}

function port(name: Variable, text: string): number {
    const number = Number(text);
    if (!/^\d+$/.test(text) || number < 1 || number > 65535) {
        throw new UserError(`${name} is "${text}": give a port from 1 to 65535`);
    }
    return number;
}

function network(bridgeName: Variable, bridge: string, subnetName: Variable, text: string): Network {
    // An interface's name is at most 15 bytes: IFNAMSIZ, linux/if.h.
    if (!/^[a-z][a-z0-9-]{0,14}$/.test(bridge)) {
        throw new UserError(`${bridgeName} is "${bridge}": give at most 15 of a-z, 0-9 and -`);
    }
    const { base, prefix, subnet } = parseSubnet(subnetName, text);
    if (prefix > 24) {
        throw new UserError(`${subnetName} is "${text}": give a network of /24 or larger`);
    }
    return { bridge, subnet, address: dotted(base + 1), prefix };
}

function parseSubnet(name: string, text: string): { base: number; prefix: number; subnet: string } {
    const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
    const bytes = match?.slice(1, 5).map(Number) ?? [];
    const prefix = Number(match?.[5]);
    if (!match || bytes.some((byte) => byte > 255) || prefix > 32) {
        throw new UserError(`${name} is "${text}": give an IPv4 network such as 10.77.0.0/16`);
    }
    const base = (bytes.reduce((sum, byte) => sum * 256 + byte, 0) & maskOf(prefix)) >>> 0;
    return { base, prefix, subnet: `${dotted(base)}/${prefix}` };
}

function maskOf(prefix: number): number {
    return prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
}

function dotted(address: number): string {
    return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

function distinct(what: string, values: readonly string[]): void {
    const twice = values.find((value, index) => values.indexOf(value) !== index);
    if (twice !== undefined) {
        throw new UserError(`two of the platform's ${what} are both ${twice}: change one of the KE1_ variables`);
    }
}
