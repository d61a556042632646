import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../contract/errors";
import { readIfThere, writePrivateFile } from "./files";
import { run, succeeds } from "./run";
import { subnetsOverlap, type Network, type Settings } from "./settings";

const forwardingSwitch = "/proc/sys/net/ipv4/ip_forward";

interface Rule {
    readonly table: "filter" | "nat";
    readonly chain: string;
    readonly match: readonly string[];
}

/**
 * Makes the bridge that pods are on, with the machine's address on it, and lets them reach the blob store there, and the registry, also
 * where a firewall drops what it does not know. Nothing is routed out of it.
 */
export async function ensurePodNetwork(settings: Settings): Promise<void> {
    await ensureBridge(settings.pods, settings);
    await ensureRules(settings, podRules(settings));
}

/** The bridge of image builds, whose RUN steps may fetch from outside: with NAT, unlike the pods' one. */
export async function ensureDockerNetwork(settings: Settings): Promise<void> {
    await ensureBridge(settings.docker, settings);
    await ensureRules(settings, dockerRules(settings));
    const before = readFileSync(forwardingSwitch, "utf8").trim();
    if (before !== "1") {
        writePrivateFile(forwardingRecord(settings), before);
        writeFileSync(forwardingSwitch, "1");
    }
}

/** Removes bridges and rules. The ends of pods' cables go with their network namespaces. */
export async function removeNetworks(settings: Settings): Promise<void> {
    for (const rule of [...podRules(settings), ...dockerRules(settings)]) {
        while (await succeeds(iptables(settings, "-C", rule))) {
            await run(iptables(settings, "-D", rule));
        }
    }
    for (const { bridge } of [settings.pods, settings.docker]) {
        if ((await interfaceOf(bridge)) !== undefined) {
            await run(["ip", "link", "delete", bridge]);
        }
    }
    const before = readIfThere(forwardingRecord(settings));
    if (before !== undefined) {
        writeFileSync(forwardingSwitch, before);
    }
}

/** @throws UserError when a subnet is in use on another interface */
export async function requireFreeSubnets(settings: Settings): Promise<void> {
    const routes = JSON.parse(await run(["ip", "-j", "-4", "route", "show"])) as readonly Route[];
    for (const [variable, { subnet, bridge }] of [
        ["KE1_SUBNET", settings.pods],
        ["KE1_DOCKER_SUBNET", settings.docker],
    ] as const) {
        const taken = conflictingRoute(routes, subnet, bridge);
        if (taken !== undefined) {
            throw new UserError(
                `the network ${subnet} overlaps with ${taken.dst} on ${taken.dev ?? "this machine"}: set ${variable} to a free one`,
            );
        }
    }
}

/** As `ip -j route` has it. */
interface Route {
    /** An address, a network, or `default`. */
    readonly dst: string;
    readonly dev?: string;
}

/**
 * A network of another interface that ours would cut off. One wider than ours, such as a VPN's 10.0.0.0/8, stays of use:
 * the narrower route wins for our few addresses only.
 */
export function conflictingRoute(routes: readonly Route[], subnet: string, bridge: string): Route | undefined {
    const prefixOf = (network: string) => Number(network.split("/")[1] ?? 32);
    return routes.find(
        ({ dst, dev }) =>
            dst !== "default" &&
            dev !== bridge &&
            prefixOf(dst) >= prefixOf(subnet) &&
            subnetsOverlap(dst.includes("/") ? dst : `${dst}/32`, subnet),
    );
}

async function ensureBridge({ bridge, address, prefix }: Network, settings: Settings): Promise<void> {
    const found = await interfaceOf(bridge);
    if (found === undefined) {
        await run(["ip", "link", "add", bridge, "address", macOf(settings), "type", "bridge"]);
    } else if (found.mac !== macOf(settings)) {
        const whose = found.mac.startsWith(macPrefix)
            ? `of a platform in another KE1_HOME: if that is gone, remove it (ip link delete ${bridge}), else set`
            : "that is not ours: set";
        throw new UserError(`there is an interface ${bridge} ${whose} KE1_BRIDGE or KE1_DOCKER_BRIDGE`);
    }
    if (!found?.addresses.includes(`${address}/${prefix}`)) {
        await run(["ip", "address", "add", `${address}/${prefix}`, "dev", bridge]);
    }
    if (!found?.up) {
        await run(["ip", "link", "set", bridge, "up"]);
    }
}

async function interfaceOf(bridge: string): Promise<{ mac: string; addresses: string[]; up: boolean } | undefined> {
    const text = await run(["ip", "-j", "address", "show", "dev", bridge]).catch(() => "[]");
    const [link] = JSON.parse(text) as readonly {
        readonly address: string;
        readonly flags: readonly string[];
        readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
    }[];
    return (
        link && {
            mac: link.address,
            addresses: link.addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
            up: link.flags.includes("UP"),
        }
    );
}

const macPrefix = "02:6b:";

/** Locally administered. It marks the bridge as ours, and, being set, does not change as pods come and go. */
function macOf(settings: Settings): string {
    return macPrefix + (settings.id.match(/../g) ?? []).join(":");
}

/** Marks our rules. */
function commentOf(settings: Settings): string {
    return `ke1-${settings.id}`;
}

function podRules({ pods, ports }: Settings): readonly Rule[] {
    // The second is that of pods that build images; nothing answers there unless some do.
    return [ports.blob, ports.imageRegistry].map((port) => ({
        table: "filter",
        chain: "INPUT",
        match: ["-i", pods.bridge, "-d", pods.address, "-p", "tcp", "--dport", String(port), "-j", "ACCEPT"],
    }));
}

function dockerRules({ docker }: Settings): readonly Rule[] {
    const answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"];
    return [
        { table: "filter", chain: "FORWARD", match: ["-i", docker.bridge, "!", "-o", docker.bridge, "-j", "ACCEPT"] },
        { table: "filter", chain: "FORWARD", match: ["-o", docker.bridge, ...answers, "-j", "ACCEPT"] },
        {
            table: "nat",
            chain: "POSTROUTING",
            match: ["-s", docker.subnet, "!", "-o", docker.bridge, "-j", "MASQUERADE"],
        },
    ];
}

async function ensureRules(settings: Settings, rules: readonly Rule[]): Promise<void> {
    for (const rule of rules) {
        if (!(await succeeds(iptables(settings, "-C", rule)))) {
            await run(iptables(settings, "-I", rule));
        }
    }
}

function iptables(settings: Settings, action: string, { table, chain, match }: Rule): readonly string[] {
    return ["iptables", "-w", "-t", table, action, chain, ...match, "-m", "comment", "--comment", commentOf(settings)];
}

function forwardingRecord(settings: Settings): string {
    return join(settings.runDir, "ip_forward");
}
