import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { DaemonSpec } from "./daemon";
import { findCniPlugins, requireProgram } from "./packages";
import { connectTo } from "./probes";
import { run } from "./run";
import type { Settings } from "./settings";

export function containerdSocket(settings: Settings): string {
    return join(settings.runDir, "containerd.sock");
}

export function containerdState(settings: Settings): string {
    return join(settings.runDir, "containerd");
}

/** Where the addresses of pods are noted; they end with the pods, at the latest at a reboot. */
export function cniState(settings: Settings): string {
    return join(settings.runDir, "cni");
}

export function cniNetwork(settings: Settings): string {
    return `ke1-${settings.id}`;
}

export function pauseImage(settings: Settings): string {
    return `localhost:${settings.ports.registry}/ke1-pause:1`;
}

export function containerdSpec(settings: Settings): DaemonSpec {
    const program = requireProgram("containerd");
    const directory = join(settings.home, "containerd");
    const config = join(directory, "config.toml");
    return {
        name: "containerd",
        address: containerdSocket(settings),
        version: async () => (await run([program, "--version"])).trim().split(" ")[2] ?? "",
        command: [program, "--config", config],
        passedEnv: proxyEnvironment(settings),
        files: [
            { path: config, content: containerdConfig(settings, directory, lacksSysResource()) },
            { path: join(directory, "cni", "ke1.conflist"), content: cniConfig(settings) },
            {
                path: join(directory, "registries", `localhost:${settings.ports.registry}`, "hosts.toml"),
                content: `server = "http://127.0.0.1:${settings.ports.registry}"\n`,
            },
        ],
        directories: [containerdState(settings), cniState(settings)],
        listeners: [],
        probe: async () => connectTo(containerdSocket(settings)),
        patienceMs: 10_000,
    };
}

/** Without CAP_SYS_RESOURCE runc may not lower a container's OOM score, and fails when asked to. */
export function lacksSysResource(status: string = readFileSync("/proc/self/status", "utf8")): boolean {
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
    const capSysResource = 24n; // linux/capability.h
    return (effective & (1n << capSysResource)) === 0n;
}

/** Daemons that fetch images go through the proxy that the user goes through, but not to this machine. */
export function proxyEnvironment(settings: Settings): Record<string, string> {
    const names = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    const found = names.flatMap((name) => (process.env[name] ? [[name, process.env[name]] as const] : []));
    if (!found.some(([name]) => name.toLowerCase().endsWith("_proxy"))) {
        return Object.fromEntries(found);
    }
    const direct = [process.env["NO_PROXY"] ?? process.env["no_proxy"], "localhost,127.0.0.1", settings.pods.subnet];
    return { ...Object.fromEntries(found), NO_PROXY: direct.filter(Boolean).join(",") };
}

function containerdConfig(settings: Settings, directory: string, restrictOomScore: boolean): string {
    const text = JSON.stringify; // A TOML basic string is a JSON string.
    return `version = 2
root = ${text(join(directory, "data"))}
state = ${text(containerdState(settings))}
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.tracing.processor.v1.otlp",
]

[debug]
level = "warn"

[grpc]
address = ${text(containerdSocket(settings))}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = ${text(pauseImage(settings))}
disable_tcp_service = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"
restrict_oom_score_adj = ${restrictOomScore}
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = ${text(findCniPlugins() ?? "")}
conf_dir = ${text(join(directory, "cni"))}
max_conf_num = 1

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = ${text(join(directory, "registries"))}
`;
}

/** No default route: a build that reaches for the network fails, as determinism asks. */
function cniConfig(settings: Settings): string {
    const { bridge, subnet } = settings.pods;
    const config = {
        cniVersion: "0.4.0",
        name: cniNetwork(settings),
        plugins: [
            {
                type: "bridge",
                bridge,
                isGateway: false,
                ipMasq: false,
                ipam: { type: "host-local", ranges: [[{ subnet }]], dataDir: cniState(settings) },
            },
        ],
    };
    return JSON.stringify(config, undefined, 2) + "\n";
}
