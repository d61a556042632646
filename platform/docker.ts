import { join } from "node:path";
import { cgroupName } from "./cgroups";
import { containerdSocket, lacksSysResource, proxyEnvironment } from "./containerd";
import type { DaemonSpec } from "./daemon";
import { requireProgram } from "./packages";
import { expectStatus, get } from "./probes";
import { run } from "./run";
import type { Settings } from "./settings";

export function ownDockerSocket(settings: Settings): string {
    return join(settings.runDir, "docker.sock");
}

/**
 * The socket of a Docker that is not ours and answers: DOCKER_HOST's, else the usual one. One on another machine does
 * not count: our registry is on this one.
 */
export async function foreignDocker(settings: Settings): Promise<string | undefined> {
    const host = process.env["DOCKER_HOST"] ?? "";
    const candidates = [host.startsWith("unix://") ? host.slice("unix://".length) : "", "/var/run/docker.sock"];
    for (const socket of candidates) {
        if (socket !== "" && socket !== ownDockerSocket(settings) && (await dockerAnswers(socket))) {
            return socket;
        }
    }
    return undefined;
}

export async function dockerAnswers(socket: string): Promise<boolean> {
    return get({ socketPath: socket, path: "/_ping" }).then(
        ({ status }) => status === 200,
        () => false,
    );
}

/**
 * Takes an image of our registry into our Docker, before the first image is built on it. Where that cannot be, that build does
 * it: a Docker that has lost its containerd looks for it again only after some seconds.
 */
export async function pullIntoDocker(settings: Settings, image: string, signal?: AbortSignal): Promise<void> {
    // Without the user's configuration: nobody logs in to our registry, and no helper for credentials is to be asked.
    const client = [requireProgram("docker"), "--config", join(settings.home, "docker-client")];
    const pull = [...client, "--host", `unix://${ownDockerSocket(settings)}`, "pull", "--quiet", image];
    await run(pull, { signal }).catch(() => signal?.throwIfAborted());
}

export function dockerSpec(settings: Settings): DaemonSpec {
    const program = requireProgram("dockerd");
    const socket = ownDockerSocket(settings);
    const pidFile = join(settings.runDir, "docker.pid");
    return {
        name: "dockerd",
        address: `unix://${socket}`,
        version: async () => (await run([program, "--version"])).split(" ")[2]?.replace(",", "") ?? "",
        command: [
            program,
            `--host=unix://${socket}`,
            "--group=root",
            `--containerd=${containerdSocket(settings)}`,
            `--data-root=${join(settings.home, "docker")}`,
            `--exec-root=${join(settings.runDir, "docker")}`,
            `--pidfile=${pidFile}`,
            // An empty configuration instead of /etc/docker/daemon.json, which is another Docker's.
            `--config-file=${join(settings.home, "docker.json")}`,
            `--bridge=${settings.docker.bridge}`,
            // It would set the machine's forwarding policy to DROP, and leave its chains behind.
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=false",
            `--cgroup-parent=/${cgroupName(settings)}/docker`,
            ...(lacksSysResource() ? ["--oom-score-adjust=0"] : []),
            "--log-level=warn",
        ],
        passedEnv: proxyEnvironment(settings),
        files: [{ path: join(settings.home, "docker.json"), content: "{}\n" }],
        directories: [join(settings.home, "docker")],
        leftovers: [pidFile],
        listeners: [],
        probe: async () => expectStatus(await get({ socketPath: socket, path: "/_ping" }), 200),
        patienceMs: 10_000,
    };
}
