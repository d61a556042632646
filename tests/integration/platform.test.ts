import { strict as assert } from "node:assert";
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { get as httpsGet } from "node:https";
import { createServer } from "node:net";
import { join } from "node:path";
import { UserError } from "../../contract/errors";
import { processesIn } from "../../platform/cgroups";
import { runningDaemon } from "../../platform/daemon";
import { platformDown, platformIsUp, platformStatus, platformUp, type PlatformDescriptor } from "../../platform/index";
import { isAlive, identify, programOf } from "../../platform/processes";
import { readSettings, type Settings } from "../../platform/settings";
import { mountsBelow } from "../../platform/teardown";
import { secondPlatform } from "../helpers/secondPlatform";

const allDaemons = [
    "azurite",
    "containerd",
    "dockerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "registry",
];

describe("the embedded platform", function () {
    this.timeout(600_000);
    const outer = { ...process.env };
    let home: string;
    let settings: Settings;
    let descriptor: PlatformDescriptor;

    before(async () => {
        // Always the same: bridges, mounts and daemons of a run that was killed are then known as its own.
        home = `${readSettings().home}-test`;
        Object.assign(process.env, secondPlatform, { KE1_HOME: home });
        delete process.env["DOCKER_HOST"];
        settings = readSettings();
        await platformDown({ purge: true });
        mkdirSync(home, { recursive: true });
        chmodSync(home, 0o755); // As another command may have left it.
        descriptor = await platformUp();
    });

    after(async () => {
        try {
            await platformDown({ purge: true });
        } finally {
            for (const name of [...Object.keys(secondPlatform), "KE1_HOME", "DOCKER_HOST"]) {
                process.env[name] = outer[name] ?? "";
            }
            rmSync(home, { recursive: true, force: true });
        }
    });

    it("comes up from nothing, every part running", async () => {
        const parts = (await platformStatus()).filter(({ name }) => allDaemons.includes(name));
        const expected = descriptor.dockerHost.includes(settings.runDir)
            ? allDaemons
            : allDaemons.filter((name) => name !== "dockerd");
        assert.deepEqual(parts.map(({ name }) => name).sort(), expected);
        assert.ok(
            parts.every(({ state, version }) => state === "running" && version !== ""),
            JSON.stringify(parts),
        );
        assert.equal(descriptor.registry, "localhost:15000");
        assert.equal(descriptor.blobEndpoint, "http://10.87.0.1:20000/ke1dev");
        assert.match(descriptor.baseImage, /^localhost:15000\/ke1-base@sha256:[0-9a-f]{64}$/);
    });

    it("runs a pod of the base image as user 65532, with no way out and the blob store in reach", () => {
        const script =
            "id -u; make --version | head -1; gcc -dumpversion; git --version; " +
            "(exec 3<>/dev/tcp/10.87.0.1/20000) && echo blob-reached; " +
            "(exec 3<>/dev/tcp/192.0.2.1/80) 2>/dev/null || echo outside-unreachable; " +
            "(exec 3<>/dev/tcp/10.87.0.1/16443) 2>/dev/null || echo api-unreachable; " +
            "test -e /var/run/secrets/kubernetes.io || echo no-token";
        const output = runPod("hello", script);
        assert.match(output, /^65532$/m);
        assert.match(output, /^GNU Make/m);
        assert.match(output, /^12/m);
        assert.match(output, /^git version/m);
        for (const line of ["blob-reached", "outside-unreachable", "api-unreachable", "no-token"]) {
            assert.ok(output.split("\n").includes(line), `${line} is not in:\n${output}`);
        }
    });

    it("has nothing to do the second time, and says so at once", async () => {
        const pids = pidsOfDaemons();
        const files = readFileSync(join(home, "platform.json"), "utf8");
        const proxy = process.env["HTTPS_PROXY"] ?? "";
        process.env["HTTPS_PROXY"] = "http://127.0.0.1:9"; // Another shell's environment is no reason for a restart.
        assert.equal(await platformIsUp(), true);
        process.env["HTTPS_PROXY"] = proxy;
        const begin = performance.now();
        await platformUp();
        assert.ok(performance.now() - begin < 2500);
        assert.deepEqual(pidsOfDaemons(), pids);
        assert.equal(readFileSync(join(home, "platform.json"), "utf8"), files);
    });

    it("keeps secrets from other users", () => {
        assert.equal(statSync(home).mode & 0o777, 0o700);
        assert.equal(statSync(settings.runDir).mode & 0o777, 0o700);
        const keys = readdirSync(join(home, "pki")).filter((name) => name.endsWith(".key"));
        assert.ok(keys.length > 10);
        const secrets = [
            ...keys.map((name) => join(home, "pki", name)),
            join(home, "kubeconfig"),
            join(home, "kubernetes", "scheduler.kubeconfig"),
            join(home, "credentials", "blob.json"),
            join(home, "registry", "config.yaml"),
        ];
        assert.deepEqual(
            secrets.filter((path) => (statSync(path).mode & 0o777) !== 0o600),
            [],
        );
        const { key } = JSON.parse(readFileSync(descriptor.blobCredentialFile, "utf8")) as { readonly key: string };
        const shown = processesIn(settings).map((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8"));
        assert.ok(shown.length >= 8 && !shown.some((line) => line.includes(key)));
        assert.ok(!readFileSync(join(home, "logs", "azurite.log"), "utf8").includes(key));
    });

    it("listens on loopback and on its own bridge only", () => {
        const ours = new Set(processesIn(settings));
        const addresses = execFileSync("ss", ["-H", "-ltunp"], { encoding: "utf8" })
            .split("\n")
            .filter((line) => [...line.matchAll(/pid=(\d+)/g)].some(([, pid]) => ours.has(Number(pid))))
            .map((line) => line.trim().split(/\s+/)[4] ?? "");
        assert.ok(addresses.length >= 9, addresses.join(" "));
        const outside = addresses.filter((address) => !/^(127\.0\.0\.1|10\.87\.0\.1):\d+$/.test(address));
        assert.deepEqual(outside, []);
    });

    it("refuses those it does not know, and confines the node to its own", async () => {
        assert.equal(await statusWithoutCertificate("https://127.0.0.1:16443/api/v1/namespaces"), 401);
        assert.equal(await statusWithoutCertificate("https://127.0.0.1:16443/version"), 401);
        assert.equal(await statusWithoutCertificate("https://10.87.0.1:20250/pods"), 401);
        await assert.rejects(statusWithoutCertificate("https://127.0.0.1:23890/health"), /certificate required|alert/i);
        const node = join(home, "kubernetes", "kubelet-client.kubeconfig");
        const asNode = (...args: string[]) => kubectl(["--kubeconfig", node, ...args]);
        assert.throws(() => asNode("get", "secrets", "--all-namespaces"), /Forbidden|forbidden/);
        assert.throws(() => asNode("label", "node", "ke1", "node-restriction.kubernetes.io/x=y"), /not allowed/);
    });

    it("builds an image and pushes it", function () {
        const socket = descriptor.dockerHost;
        if (!socket.includes(settings.runDir)) {
            this.skip(); // A Docker of the user's own: not ours to test.
        }
        const context = join(home, "context");
        mkdirSync(context);
        writeFileSync(join(context, "Dockerfile"), `FROM ${descriptor.baseImage}\nRUN echo made-here > /made\n`);
        const docker = (...args: string[]) =>
            execFileSync("docker", ["--host", socket, ...args], {
                encoding: "utf8",
                stdio: "pipe",
                env: { ...process.env, DOCKER_BUILDKIT: "0" },
            });
        docker("build", "-t", "localhost:15000/made:1", context);
        docker("push", "localhost:15000/made:1");
        assert.match(runPod("made", "cat /made", "localhost:15000/made:1"), /made-here/);
    });

    it("refuses other settings while it runs", async () => {
        process.env["KE1_BLOB_PORT"] = "20001";
        try {
            await assert.rejects(platformUp(), (error) => {
                return error instanceof UserError && error.message.includes("ke1 platform down");
            });
        } finally {
            process.env["KE1_BLOB_PORT"] = secondPlatform.KE1_BLOB_PORT;
        }
    });

    it("starts again what was killed, and keeps pods that were not", async () => {
        kubectl(["create", "configmap", "kept", "--from-literal=a=b"]);
        startPod("lives", "sleep 600");
        waitForPod("lives", "Running");
        const [etcd, kubelet] = [pidOf("etcd"), pidOf("kubelet")];
        process.kill(pidOf("kube-apiserver"), "SIGKILL");
        process.kill(pidOf("containerd"), "SIGKILL");
        process.kill(pidOf("azurite"), "SIGKILL");
        await untilDead(["kube-apiserver", "containerd", "azurite"]);
        assert.equal(await platformIsUp(), false);
        await platformUp();
        assert.deepEqual([pidOf("etcd"), pidOf("kubelet")], [etcd, kubelet]);
        assert.equal(kubectl(["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]), "b");
        assert.equal(kubectl(["exec", "lives", "--", "echo", "still", "here"]).trim(), "still here");
    });

    it("recovers from the death of everything, pods and shims too, and from records that lie", async () => {
        for (const pid of processesIn(settings)) {
            process.kill(pid, "SIGKILL");
        }
        await untilDead(allDaemons);
        // As after a crash: one record names a process that is another one by now, one is cut short.
        const stranger = spawn("sleep", ["60"]);
        const strangersRecord = { pid: stranger.pid, startTime: "1", hash: "", since: "" };
        writeFileSync(join(settings.runDir, "etcd.json"), JSON.stringify(strangersRecord));
        writeFileSync(join(settings.runDir, "registry.json"), '{"pid": 1');
        try {
            await platformUp();
            assert.ok(identify(stranger.pid!));
        } finally {
            stranger.kill();
        }
        assert.match(runPod("again", "echo back"), /back/);
        // Its pod is lost, as on a node that was switched off; a Job would start another.
        waitForPod("lives", "Failed");
    });

    it("finds its daemons when their records are lost", async () => {
        const pids = allDaemons.map((name) => runningDaemon(settings, name)?.pid);
        readdirSync(settings.runDir)
            .filter((name) => name.endsWith(".json"))
            .forEach((name) => rmSync(join(settings.runDir, name)));
        await platformUp();
        const alive = pids.filter((pid) => pid !== undefined && identify(pid) !== undefined);
        assert.deepEqual(alive, [], "the daemons without records were to be replaced");
        assert.equal(await platformIsUp(), true);
    });

    it("lets a second command wait for the first", async () => {
        process.kill(pidOf("registry"), "SIGKILL");
        await untilDead(["registry"]);
        const [one, other] = await Promise.all([platformUp(), platformUp()]);
        assert.deepEqual(one, other);
        const registries = processesIn(settings).filter((pid) => programOf(pid) === "docker-registry");
        assert.equal(registries.length, 1);
    });

    it("goes down without a trace, and up again with its data, also when half of it is dead", async () => {
        startPod("left", "trap '' TERM; sleep 600 & wait; sleep 600");
        waitForPod("left", "Running");
        const pids = processesIn(settings).flatMap((pid) => identify(pid) ?? []);
        const cables = linksOf("ke1test0");
        assert.ok(cables.length > 0);
        process.kill(pidOf("containerd"), "SIGKILL");
        process.kill(pidOf("kube-apiserver"), "SIGKILL");
        await platformDown();
        assert.deepEqual(pids.filter(isAlive), []);
        assert.deepEqual(traces(cables), []);
        assert.equal(existsSync(join(home, "etcd")), true);
        assert.equal(await platformIsUp(), false);

        await platformUp();
        assert.equal(kubectl(["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]), "b");
        assert.match(runPod("after", "echo after"), /after/);
    });

    it("names the process that has taken a port", async () => {
        await platformDown();
        const thief = createServer();
        await new Promise<void>((resolve) => thief.listen(15000, "0.0.0.0", resolve));
        try {
            await assert.rejects(platformUp(), (error) => {
                assert.ok(error instanceof UserError);
                assert.match(error.message, new RegExp(`port 15000 is taken by .*\\(pid ${process.pid}\\)`));
                assert.match(error.message, /KE1_REGISTRY_PORT/);
                return !error.message.includes("\n");
            });
        } finally {
            await new Promise((resolve) => thief.close(resolve));
        }
    });

    it("removes its data when asked to", async () => {
        await platformDown({ purge: true });
        assert.equal(existsSync(home), false);
        assert.deepEqual(traces([]), []);
        await platformDown({ purge: true }); // Nothing left to do.
    });

    it("says that the disk is full, before it does anything", async () => {
        mkdirSync(home);
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", home]);
        try {
            await assert.rejects(platformUp(), (error) => {
                return error instanceof UserError && /has 0\.0 GiB free, and \d GiB are needed/.test(error.message);
            });
            assert.deepEqual(readdirSync(home), []);
        } finally {
            execFileSync("umount", [home]);
        }
    });

    function kubectl(args: readonly string[]): string {
        const own = args.includes("--kubeconfig") ? [] : ["--kubeconfig", descriptor.kubeconfig];
        return execFileSync(descriptor.kubectl, [...own, ...args], { encoding: "utf8", stdio: "pipe" });
    }

    function startPod(name: string, script: string, image = descriptor.baseImage): void {
        const pod = {
            apiVersion: "v1",
            kind: "Pod",
            metadata: { name },
            spec: {
                restartPolicy: "Never",
                automountServiceAccountToken: false,
                terminationGracePeriodSeconds: 1,
                securityContext: { runAsUser: 65532, runAsGroup: 65532, seccompProfile: { type: "RuntimeDefault" } },
                containers: [{ name: "main", image, command: ["bash", "-c", script] }],
            },
        };
        const path = join(home, `${name}.json`);
        writeFileSync(path, JSON.stringify(pod));
        kubectl(["create", "-f", path]);
    }

    function waitForPod(name: string, phase: string): void {
        kubectl(["wait", `--for=jsonpath={.status.phase}=${phase}`, `pod/${name}`, "--timeout=90s"]);
    }

    function runPod(name: string, script: string, image?: string): string {
        startPod(name, script, image);
        waitForPod(name, "Succeeded");
        return kubectl(["logs", name]);
    }

    function pidOf(name: string): number {
        const pid = runningDaemon(settings, name)?.pid;
        assert.ok(pid !== undefined, `${name} does not run`);
        return pid;
    }

    function pidsOfDaemons(): readonly (number | undefined)[] {
        return allDaemons.map((name) => runningDaemon(settings, name)?.pid);
    }

    async function untilDead(names: readonly string[]): Promise<void> {
        while (names.some((name) => runningDaemon(settings, name) !== undefined)) {
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
    }

    /** What is left of this platform on the machine outside of its home. */
    function traces(cables: readonly string[]): readonly string[] {
        const id = `ke1-${settings.id}`;
        const links = linksOf();
        const processes = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && commandOf(pid).includes(home));
        const rules = execFileSync("iptables-save", { encoding: "utf8" }).split("\n");
        const groups = readdirSync("/sys/fs/cgroup").flatMap((name) => [name, join(name, id)]);
        return [
            ...[...cables, "ke1test0", "ke1test1"].filter((name) => links.includes(name)),
            ...processes.map((pid) => `process ${pid}: ${commandOf(pid)}`),
            ...rules.filter((line) => line.includes(id)),
            ...groups.filter((name) => name.endsWith(id) && existsSync(join("/sys/fs/cgroup", name))),
            ...mountsBelow([home, settings.runDir]),
            ...[settings.runDir].filter(existsSync),
            ...filesIn("/var/lib/cni/results").filter((name) => name.startsWith(id)),
        ];
    }
});

function linksOf(bridge?: string): readonly string[] {
    const filter = bridge === undefined ? [] : ["master", bridge];
    const text = execFileSync("ip", ["-j", "link", "show", ...filter], { encoding: "utf8" });
    return (JSON.parse(text) as readonly { readonly ifname?: string }[]).flatMap(({ ifname }) => ifname ?? []);
}

function filesIn(path: string): readonly string[] {
    return existsSync(path) ? readdirSync(path) : [];
}

function commandOf(pid: string): string {
    try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    } catch {
        return "";
    }
}

async function statusWithoutCertificate(url: string): Promise<number> {
    return new Promise((resolve, reject) => {
        // The server's own certificate is not the question here.
        httpsGet(url, { rejectUnauthorized: false, agent: false }, (response) => {
            response.resume();
            resolve(response.statusCode ?? 0);
        }).once("error", reject);
    });
}
