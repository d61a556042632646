import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { UserError } from "../../contract/errors";
import { findGo } from "../../platform/binaries";
import { findHierarchies } from "../../platform/cgroups";
import { lacksSysResource, proxyEnvironment } from "../../platform/containerd";
import { descriptorPath, readDescriptor } from "../../platform/descriptor";
import { makeWhole, writePrivateFile } from "../../platform/files";
import { conflictingRoute } from "../../platform/network";
import { certificateRequests } from "../../platform/pki";
import { listeningSockets, requireFreePorts, requireMachine } from "../../platform/preflight";
import { endProcesses, identify, isAlive } from "../../platform/processes";
import { expectStatus, get } from "../../platform/probes";
import { run } from "../../platform/run";
import { readSettings, resolveSettings, savedChoices, settingsPath, subnetsOverlap } from "../../platform/settings";
import { showSteps } from "../../platform/steps";
import { mountsBelow } from "../../platform/teardown";
import { etcdVersion, isOlder, kubernetesVersion, neededGo } from "../../platform/versions";
import { TemporaryDirectory } from "../helpers/temporary";

function userError(part: string): (error: unknown) => boolean {
    return (error) => {
        assert.ok(error instanceof UserError, String(error));
        assert.ok(error.message.includes(part), error.message);
        assert.ok(!error.message.includes("\n"), "more than one line");
        return true;
    };
}

describe("platform settings", () => {
    const home = "/var/lib/ke1";

    it("gives the machine the first address of each network", () => {
        const settings = resolveSettings(home, { KE1_SUBNET: "10.1.2.3/20" });
        assert.deepEqual(settings.pods, { bridge: "ke1br0", subnet: "10.1.0.0/20", address: "10.1.0.1", prefix: 20 });
        assert.equal(settings.docker.address, "10.78.0.1");
        assert.equal(settings.ports.api, 6443);
    });

    it("tells two homes apart, and keeps sockets' paths short for a long one", () => {
        const long = resolveSettings(`/${"a".repeat(200)}`, {});
        assert.notEqual(long.id, resolveSettings(home, {}).id);
        // sun_path holds 108 bytes, unix(7); containerd appends ".ttrpc".
        assert.ok(join(long.runDir, "containerd.sock.ttrpc").length < 108);
    });

    for (const [name, value, part] of [
        ["KE1_API_PORT", "0", "KE1_API_PORT"],
        ["KE1_API_PORT", "65536", "KE1_API_PORT"],
        ["KE1_API_PORT", "6443x", "KE1_API_PORT"],
        ["KE1_API_PORT", "5000", "are both 5000"],
        ["KE1_SUBNET", "10.77.0.0", "KE1_SUBNET"],
        ["KE1_SUBNET", "10.256.0.0/16", "KE1_SUBNET"],
        ["KE1_SUBNET", "10.77.0.0/25", "KE1_SUBNET"],
        ["KE1_SUBNET", "10.78.3.0/24", "overlap"],
        ["KE1_BRIDGE", "a-name-much-too-long", "KE1_BRIDGE"],
        ["KE1_BRIDGE", "ke1br1", "are both ke1br1"],
    ] as const) {
        it(`refuses ${name}=${value}`, () => {
            assert.throws(() => resolveSettings(home, { [name]: value }), userError(part));
        });
    }

    it("refuses a home that mount options cannot name", () => {
        assert.throws(() => resolveSettings("/home/a b", {}), userError("KE1_HOME"));
        assert.throws(() => resolveSettings("/home/a:b", {}), userError("KE1_HOME"));
    });

    it("remembers what was chosen, and lets the environment choose anew", () => {
        const directory = new TemporaryDirectory();
        const before = process.env["KE1_API_PORT"];
        try {
            writePrivateFile(settingsPath(directory.path), JSON.stringify({ KE1_API_PORT: "7443" }));
            process.env["KE1_API_PORT"] = "";
            assert.equal(readSettings(directory.path).ports.api, 7443);
            process.env["KE1_API_PORT"] = "8443";
            assert.equal(readSettings(directory.path).ports.api, 8443);
            directory.file("settings.json", '{"KE1_');
            assert.deepEqual(savedChoices(directory.path), {});
        } finally {
            process.env["KE1_API_PORT"] = before ?? "";
            directory.remove();
        }
    });

    it("knows which networks overlap", () => {
        assert.ok(subnetsOverlap("10.0.0.0/8", "10.77.0.0/16"));
        assert.ok(subnetsOverlap("10.77.1.0/24", "10.77.0.0/16"));
        assert.ok(subnetsOverlap("0.0.0.0/0", "192.168.0.0/24"));
        assert.ok(!subnetsOverlap("10.76.0.0/16", "10.77.0.0/16"));
        assert.ok(!subnetsOverlap("172.16.0.0/12", "172.32.0.0/16"));
    });
});

describe("platform networks", () => {
    it("do not cut off another one, but may lie in a wider one", () => {
        const routes = [
            { dst: "default", dev: "eth0" },
            { dst: "10.0.0.0/8", dev: "tun0" },
            { dst: "10.77.0.0/16", dev: "ke1br0" },
            { dst: "192.168.1.7", dev: "eth1" },
        ];
        assert.equal(conflictingRoute(routes, "10.77.0.0/16", "ke1br0"), undefined);
        assert.equal(conflictingRoute(routes, "10.77.0.0/16", "other")?.dev, "ke1br0");
        assert.equal(conflictingRoute(routes, "192.168.0.0/16", "ke1br0")?.dev, "eth1");
        assert.equal(conflictingRoute(routes, "10.0.0.0/8", "ke1br0")?.dev, "tun0");
    });
});

describe("platform preflight", () => {
    const good = { platform: "linux", architecture: "x64", user: 0 };

    it("names what a machine lacks", () => {
        requireMachine(good);
        assert.throws(() => requireMachine({ ...good, platform: "darwin" }), userError("needs Linux"));
        assert.throws(() => requireMachine({ ...good, architecture: "arm64" }), userError("amd64"));
        assert.throws(() => requireMachine({ ...good, user: 1000 }), userError("sudo -E"));
    });

    it("reads the kernel's table of sockets, both families, and only those that listen", () => {
        const head =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        const line = (address: string, state: string, inode: number) =>
            `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1\n`;
        const four =
            head + line("0100007F:1388", "0A", 11) + line("0100007F:1389", "01", 12) + line("00000000:0050", "0A", 13);
        const six =
            head + line(`${"0".repeat(32)}:192B`, "0A", 14) + line("0000000000000000FFFF00000100007F:192C", "0A", 15);
        assert.deepEqual(listeningSockets([four, six]), [
            { host: "127.0.0.1", port: 5000, inode: "11" },
            { host: "*", port: 80, inode: "13" },
            { host: "*", port: 6443, inode: "14" },
            { host: "127.0.0.1", port: 6444, inode: "15" },
        ]);
    });

    it("names the process on a port, and the variable that moves ours", async () => {
        const server = createServer().listen(0, "127.0.0.1");
        await once(server, "listening");
        const { port } = server.address() as AddressInfo;
        const listener = { port, variable: "KE1_BLOB_PORT" } as const;
        try {
            assert.throws(
                () => requireFreePorts([{ ...listener, host: "127.0.0.1" }]),
                userError(`(pid ${process.pid})`),
            );
            assert.throws(() => requireFreePorts([{ ...listener, host: "127.0.0.1" }]), userError("KE1_BLOB_PORT"));
            requireFreePorts([{ ...listener, host: "10.77.0.1" }]);
        } finally {
            server.close();
        }
    });

    it("tells cgroup version 1 from version 2, and names the controllers that are missing", () => {
        const one = ["cpu", "cpuset", "memory", "pids"].map((name) => `cgroup /c/${name} cgroup rw,${name} 0 0`);
        const hybrid = [...one, "cgroup2 /c/unified cgroup2 rw 0 0"].join("\n");
        const found = findHierarchies(hybrid);
        assert.deepEqual([found.version, found.tracking], [1, "/c/memory"]);
        assert.ok(found.roots.includes("/c/unified"), "runc makes groups there too");
        assert.throws(() => findHierarchies(one.slice(0, 3).join("\n")), userError("controllers pids"));
        assert.throws(() => findHierarchies("proc /proc proc rw 0 0"), userError("no cgroups"));

        const directory = new TemporaryDirectory();
        try {
            const second = `cgroup2 ${directory.path} cgroup2 rw,nsdelegate 0 0`;
            directory.file("cgroup.controllers", "cpuset cpu io memory pids\n");
            assert.deepEqual([findHierarchies(second).version, findHierarchies(second).tracking], [2, directory.path]);
            directory.file("cgroup.controllers", "cpu pids\n");
            assert.throws(() => findHierarchies(second), userError("cpuset, memory"));
        } finally {
            directory.remove();
        }
    });

    it("sees whether runc may lower a container's OOM score", () => {
        assert.equal(lacksSysResource("CapEff:\t000001ffffffffff\n"), false);
        assert.equal(lacksSysResource("CapEff:\t000001fffeffffff\n"), true);
    });

    it("takes a Go that compiles both modules, or can fetch one that does, and says which it needs", async () => {
        const directory = new TemporaryDirectory();
        const path = process.env["PATH"] ?? "";
        const pretend = (version: string, toolchain: string) =>
            directory.file("go", `#!/bin/sh\nprintf '%s\\n%s\\n' '${version}' '${toolchain}'\n`, 0o755);
        try {
            process.env["PATH"] = `${directory.path}:${path}`;
            pretend("go1.26.8", "local");
            assert.equal(await findGo(), join(directory.path, "go"));
            pretend("go1.22.1 X:boringcrypto", "auto");
            assert.equal(await findGo(), join(directory.path, "go"));
            pretend("go1.22.1", "local");
            await assert.rejects(findGo(), userError(`Go 1.22.1 (${join(directory.path, "go")}) is too old`));
            pretend("go1.19.8", "");
            await assert.rejects(findGo(), userError(`install Go ${neededGo()} or newer`));
        } finally {
            process.env["PATH"] = path;
            directory.remove();
        }
    });

    it("reads versions from the modules that pin them, and compares them by number", () => {
        assert.match(kubernetesVersion(), /^v1\.34\.\d+$/);
        assert.match(etcdVersion(), /^v3\.6\.\d+$/);
        assert.ok(!isOlder(neededGo(), "1.24"));
        assert.ok(isOlder("1.9", "1.26.0"));
        assert.ok(isOlder("1.26.0", "1.26.8"));
        assert.ok(!isOlder("1.26", "1.26.0"));
        assert.ok(!isOlder("2.0", "1.26.0"));
    });
});

describe("platform files and processes", () => {
    const directory = new TemporaryDirectory();
    after(() => directory.remove());

    it("reads the descriptor of another version, or a broken one, as none", () => {
        const home = join(directory.path, "home");
        assert.equal(readDescriptor(home), undefined);
        writePrivateFile(descriptorPath(home), '{"version": 2}');
        assert.equal(readDescriptor(home), undefined);
        writePrivateFile(descriptorPath(home), '{"version": 1, "kubeContext"');
        assert.equal(readDescriptor(home), undefined);
        writePrivateFile(descriptorPath(home), '{"version": 1, "kubeContext": "ke1"}');
        assert.equal(readDescriptor(home)?.kubeContext, "ke1");
        assert.equal(statSync(descriptorPath(home)).mode & 0o777, 0o600);
        assert.equal(statSync(home).mode & 0o777, 0o700);
    });

    it("makes a directory whole or not at all", async () => {
        const target = join(directory.path, "cache", "made");
        const dead = 4_194_305; // Above the largest process id there can be, proc(5).
        mkdirSync(`${target}.${dead}.tmp`, { recursive: true });
        const fail = makeWhole(target, (half) => {
            writePrivateFile(join(half, "a"), "half");
            return Promise.reject(new Error("no"));
        });
        await assert.rejects(fail, /no/);
        assert.deepEqual(readdirSync(join(directory.path, "cache")), []);
        const make = async (text: string) =>
            makeWhole(target, (half) => {
                writePrivateFile(join(half, "a"), text);
                return Promise.resolve();
            });
        await make("first");
        await make("second");
        assert.equal(readFileSync(join(target, "a"), "utf8"), "first");
        assert.ok(existsSync(target));
    });

    it("tells a process from a later one with its number, and ends one that does not want to", async () => {
        const child = spawn("sh", ["-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]);
        await once(child.stdout, "data");
        const identity = identify(child.pid!)!;
        assert.ok(isAlive(identity));
        assert.ok(!isAlive({ ...identity, startTime: String(Number(identity.startTime) + 1) }));
        const ended = once(child, "exit");
        await endProcesses([identity.pid], 200);
        assert.deepEqual(await ended, [null, "SIGKILL"]);
        assert.ok(!isAlive(identity));
        assert.equal(identify(identity.pid), undefined);
    });

    it("finds mounts below a directory, the innermost first, also with blanks in their names", () => {
        const mounts = ["/home/x", "/home/xy/a", "/home/x/a", "/home/x/a/b\\040c"].map(
            (path) => `d ${path} ext4 rw 0 0`,
        );
        assert.deepEqual(mountsBelow(["/home/x"], mounts.join("\n")), ["/home/x/a/b c", "/home/x/a"]);
    });

    it("reports a program that fails with its last words, and one that is not there", async () => {
        assert.equal(await run(["sh", "-c", "echo out; echo err >&2"]), "out\n");
        await assert.rejects(run(["sh", "-c", "echo why >&2; exit 3"]), /ended with 3\nwhy/);
        await assert.rejects(run(["no-such-program-here"]), /ENOENT/);
        const controller = new AbortController();
        const long = run(["sleep", "60"], { signal: controller.signal });
        controller.abort(new Error("enough"));
        await assert.rejects(long);
    });

    it("goes through the user's proxy, but not to this machine", () => {
        const names = ["HTTPS_PROXY", "NO_PROXY"] as const;
        const before = names.map((name) => process.env[name]);
        try {
            process.env["HTTPS_PROXY"] = "http://proxy.example:3128";
            process.env["NO_PROXY"] = "intranet.example";
            const environment = proxyEnvironment(resolveSettings("/var/lib/ke1", {}));
            assert.equal(environment["HTTPS_PROXY"], "http://proxy.example:3128");
            assert.equal(environment["NO_PROXY"], "intranet.example,localhost,127.0.0.1,10.77.0.0/16");
        } finally {
            names.forEach((name, index) => (process.env[name] = before[index] ?? ""));
        }
    });

    it("fails on another answer than the expected one", async () => {
        const server = createServer((_, response) => response.writeHead(503).end("not yet")).listen(0, "127.0.0.1");
        await once(server, "listening");
        const { port } = server.address() as AddressInfo;
        const answer = await get(`http://127.0.0.1:${port}/readyz`);
        server.close();
        assert.throws(() => expectStatus(answer, 200), /503: not yet/);
        await assert.rejects(get(`http://127.0.0.1:${port}/readyz`), /ECONNREFUSED/);
    });
});

describe("platform certificates", () => {
    const requests = certificateRequests(resolveSettings("/var/lib/ke1", {}));

    it("let nobody but the API server into etcd, and nobody but its front proxy speak for others", () => {
        const of = (authority: string) => requests.filter((request) => request.authority === authority);
        assert.deepEqual(
            of("etcd-ca").map(({ name }) => name),
            ["etcd", "etcd-client"],
        );
        assert.deepEqual(
            of("front-proxy-ca").map(({ name }) => name),
            ["front-proxy-client"],
        );
    });

    it("give only the administrator and the API server all rights", () => {
        const masters = requests
            .filter(({ organization }) => organization === "system:masters")
            .map(({ name }) => name);
        assert.deepEqual(masters, ["admin", "apiserver-kubelet-client"]);
    });
});

describe("platform steps", () => {
    function display(isTTY: boolean) {
        const stream = new PassThrough();
        const lines = showSteps(Object.assign(stream, { isTTY, columns: 80 }) as unknown as NodeJS.WriteStream);
        return { ...lines, text: () => (stream.read() as Buffer | null)?.toString() ?? "" };
    }

    it("are plain lines in a pipe: long ones announced, each with its time", async () => {
        const { step, end, text } = display(false);
        assert.equal(await step("short", () => Promise.resolve(7)), 7);
        await step("long", () => Promise.resolve(), "takes four minutes");
        await assert.rejects(
            step("bad", () => Promise.reject(new Error("no"))),
            /no/,
        );
        end();
        const expected = ["  ✓ short 0.0 s", "  … long: takes four minutes", "  ✓ long 0.0 s", "  ✗ bad 0.0 s", ""];
        assert.deepEqual(text().split("\n"), expected);
    });

    it("are live on a terminal: what runs is below what is done, and is gone at the end", async () => {
        const { step, end, text } = display(true);
        let finish: () => void = () => undefined;
        const long = step("long", async (progress) => {
            progress("12 packages compiled");
            await new Promise<void>((resolve) => (finish = resolve));
        });
        await step("short", () => Promise.resolve());
        assert.match(text(), /✓ short 0\.0 s\n {2}… long \(12 packages compiled\) 0\.0 s\n$/);
        finish();
        await long;
        end();
        const last = text();
        assert.ok(last.startsWith("\x1b[1A\x1b[2K") && last.endsWith("✓ long 0.0 s\n"), JSON.stringify(last));
    });
});
