import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";

import type { V1Job, V1Pod } from "@kubernetes/client-node";

import type { Request } from "../../cli/launcherSocket";
import { divided, isOwnSocket, launcherPlace, messageLine, onMessages } from "../../cli/launcherSocket";
import type { BuildChange } from "../../launcher/cluster";
import type { Collection } from "../../launcher/namespaceWatch";
import { NamespaceWatch } from "../../launcher/namespaceWatch";
import { Pace } from "../../launcher/pace";
import { projectDirectory } from "../helpers/ke1";
import { TemporaryDirectory } from "../helpers/temporary";

const program = path.join(projectDirectory, "dist", "awaitLauncher.js");

describe("the launcher that builds share", () => {
    let directory: TemporaryDirectory;
    beforeEach(() => (directory = new TemporaryDirectory()));
    afterEach(() => directory.remove());

    it("is one for the same environment, whatever is a build's own", () => {
        const place = (more: NodeJS.ProcessEnv) => placeIn({ ...more, XDG_RUNTIME_DIR: directory.path }).place?.socket;
        const one = place({ AZURE_STORAGE_ACCOUNT: "a", KE1_BUILD_TAG: "v1", KE1_WEBHOOK_SECRET: "s", SHLVL: "1" });
        assert.ok(one);
        assert.equal(place({ AZURE_STORAGE_ACCOUNT: "a", KE1_BUILD_TAG: "v2", TRACEPARENT: "t", SHLVL: "2" }), one);
        assert.notEqual(place({ AZURE_STORAGE_ACCOUNT: "b", KE1_BUILD_TAG: "v1" }), one);
        assert.equal(fs.statSync(path.dirname(one)).mode & 0o777, 0o700);
    });

    it("is not where others may look in, nor where a socket cannot be", () => {
        const launchers = path.join(directory.path, "ke1", "launchers");
        fs.mkdirSync(launchers, { recursive: true });
        fs.chmodSync(launchers, 0o755);
        assert.match(placeIn({ XDG_RUNTIME_DIR: directory.path }).why, /is not this user's alone/);
        const long = path.join(directory.path, "long".repeat(30));
        assert.match(placeIn({ XDG_RUNTIME_DIR: long }).why, /too long/);
        fs.writeFileSync(path.join(directory.path, "file"), "");
        assert.match(placeIn({ XDG_RUNTIME_DIR: path.join(directory.path, "file") }).why, /ENOTDIR/);
    });

    it("is asked with what is the build's own, and nothing of it is an argument", async () => {
        const environment = environmentIn(directory.path, { KE1_BUILD_TAG: "v1", KE1_WEBHOOK_SECRET: "whsec_x" });
        const asked: Request[] = [];
        const server = await listening(environment, (connection) =>
            onMessages(connection, (request) => {
                asked.push(request as Request);
                connection.write(messageLine({ err: "phase\n" }));
                connection.write(messageLine({ out: "{}" }) + messageLine({ exit: 7 }));
            }),
        );
        try {
            const { code, stdout, stderr } = await ke1Await(environment);
            assert.deepEqual({ code, stdout, stderr }, { code: 7, stdout: "{}", stderr: "phase\n" });
            assert.deepEqual(asked, [{ environment: { KE1_BUILD_TAG: "v1", KE1_WEBHOOK_SECRET: "whsec_x" } }]);
        } finally {
            server.close();
        }
    });

    it("is told of an interrupt", async () => {
        const environment = environmentIn(directory.path, { KE1_BUILD_TAG: "v1" });
        const server = await listening(environment, (connection) =>
            onMessages(connection, (request) =>
                connection.write(
                    messageLine("interrupt" in (request as Request) ? { exit: 130 } : { err: "awaiting\n" }),
                ),
            ),
        );
        try {
            const { code } = await ke1Await(environment, (child) => child.kill("SIGTERM"));
            assert.equal(code, 130);
        } finally {
            server.close();
        }
    });

    it("is not another's: nothing is said to a socket that is not this user's alone", async () => {
        const environment = environmentIn(directory.path, { KE1_BUILD_TAG: "v1" });
        let connections = 0;
        const server = await listening(environment, (connection) => {
            connections++;
            connection.destroy();
        });
        const socket = placeIn(environment).place?.socket ?? "";
        try {
            assert.ok(isOwnSocket(socket));
            if (process.getuid?.() === 0) {
                fs.chownSync(socket, 65534, 65534);
            } else {
                fs.chmodSync(socket, 0o666);
            }
            assert.ok(!isOwnSocket(socket));
            // The environment is not that of a build: this is said by one that took over, or by the command itself.
            const { code, stderr } = await ke1Await(environment);
            assert.deepEqual([code, connections], [2, 0], stderr);
            assert.match(stderr, /KE1_CONTAINER_URL is not set/);
        } finally {
            server.close();
        }
    });

    it("is done without where there is no place for it", async () => {
        fs.writeFileSync(path.join(directory.path, "file"), "");
        const environment = environmentIn(path.join(directory.path, "file"), { KE1_BUILD_TAG: "v1", KE1_DEBUG: "1" });
        const { code, stderr } = await ke1Await(environment);
        assert.equal(code, 2);
        assert.match(stderr, /debug: launcher: ENOTDIR/);
    });
});

describe("one watch for all builds of a namespace", () => {
    it("tells each of its own, also what came before, and what was deleted while it was broken", async () => {
        const [jobs, pods] = [new Fake<V1Job>(), new Fake<V1Pod>()];
        jobs.items = [job("a"), job("b")];
        const watch = new NamespaceWatch(jobs, pods);
        const stop = new AbortController();
        const told: string[] = [];
        const following = watch.follow("a", (change) => told.push(nameOf(change)), stop.signal);
        assert.equal((await watch.state("a"))?.job?.metadata?.uid, "a");
        assert.equal(await watch.state("c"), undefined, "it may have been made a moment ago");
        pods.event("ADDED", pod("a", "p1"));
        pods.event("ADDED", pod("b", "p2"));
        assert.deepEqual(told, ["job a", "pod p1"]);

        const late: string[] = [];
        void watch.follow("b", (change) => late.push(nameOf(change)), stop.signal);
        assert.deepEqual(late, ["job b", "pod p2"]);

        jobs.items = [job("b")];
        await jobs.reconnect();
        assert.deepEqual(told, ["job a", "pod p1", "job a deleted"]);
        assert.equal(await watch.state("a"), undefined);
        stop.abort();
        await following;
        assert.equal(watch.followers, 0);
        watch.close();
    });

    it("is not believed while it is broken, and ends for all when it is refused", async () => {
        const [jobs, pods] = [new Fake<V1Job>(), new Fake<V1Pod>()];
        jobs.items = [job("a")];
        const watch = new NamespaceWatch(jobs, pods);
        assert.ok(await watch.state("a"));
        jobs.broken();
        assert.equal(await watch.state("a"), undefined);
        const following = watch.follow("a", () => undefined, new AbortController().signal);
        pods.refuse(new Error("forbidden"));
        await assert.rejects(following, /forbidden/);
    });
});

describe("how often builds look at the store", () => {
    it("is as often as alone while they are few, and together no more than the store can bear", () => {
        const pace = new Pace();
        const builds = Array.from({ length: 100 }, () => ({}));
        const [first = {}, ...others] = builds;
        assert.equal(pace.interval(first, true, 150), 150);
        others.forEach((build) => pace.interval(build, false, 150));
        assert.equal(pace.interval(first, true, 150), 150, "the others do not run");
        others.forEach((build) => pace.interval(build, true, 150));
        assert.equal(pace.interval(first, true, 150), 2500);
        others.forEach((build) => pace.leave(build));
        assert.equal(pace.interval(first, true, 150), 150);
    });
});

/** A collection as a test has it. */
class Fake<T> implements Collection<T> {
    public items: readonly T[] = [];
    public event: (type: string, object: T) => void = () => undefined;
    public broken: () => void = () => undefined;
    public refuse: (error: Error) => void = () => undefined;
    public reconnect: () => Promise<unknown> = () => Promise.resolve();

    public readonly list = () => Promise.resolve({ items: this.items, version: "1" });

    public readonly watch: Collection<T>["watch"] = async (begin, onEvent, onBreak) => {
        this.event = onEvent;
        this.broken = onBreak;
        this.reconnect = begin;
        await begin();
        await new Promise((_resolve, reject) => (this.refuse = reject));
    };
}

function job(name: string): V1Job {
    return { metadata: { name, uid: name } };
}

function pod(jobName: string, uid: string): V1Pod {
    return { metadata: { uid, name: uid, labels: { "batch.kubernetes.io/job-name": jobName } } };
}

function nameOf(change: BuildChange): string {
    const { metadata } = change.kind === "job" ? change.job : change.pod;
    return `${change.kind} ${metadata?.uid ?? ""}${change.deleted ? " deleted" : ""}`;
}

function environmentIn(runtime: string, more: Readonly<Record<string, string>>): Record<string, string> {
    return {
        PATH: process.env["PATH"] ?? "",
        HOME: runtime,
        KE1_PROJECT: projectDirectory,
        XDG_RUNTIME_DIR: runtime,
        ...more,
    };
}

function placeIn(environment: NodeJS.ProcessEnv) {
    let why = "";
    const cwd = process.cwd();
    process.chdir(projectDirectory);
    try {
        return { place: launcherPlace(divided(environment).shared, program, (text) => (why = text)), why };
    } finally {
        process.chdir(cwd);
    }
}

/** In place of a launcher. */
async function listening(environment: NodeJS.ProcessEnv, serve: (connection: net.Socket) => void): Promise<net.Server> {
    const socket = placeIn(environment).place?.socket ?? assert.fail("no place");
    const server = net.createServer(serve).listen(socket);
    await once(server, "listening");
    fs.chmodSync(socket, 0o600);
    return server;
}

/** @param onOutput when it has begun to say something */
async function ke1Await(environment: NodeJS.ProcessEnv, onOutput?: (child: ReturnType<typeof spawn>) => void) {
    const args = [path.join(projectDirectory, "dist", "ke1.js"), "await"];
    const child = spawn(process.execPath, args, {
        cwd: projectDirectory,
        env: environment,
        stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stderr.once("data", () => onOutput?.(child));
    const [code] = (await once(child, "close")) as [number | null];
    return { code, stdout, stderr };
}
