import { strict as assert } from "node:assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { BuildRecord, BuildRequest } from "../../service/build";
import { BuildQueue } from "../../service/queue";
import { Runner } from "../../service/runner";
import type { ServiceSettings } from "../../service/settings";
import { localSources } from "../../service/sourceProvider";
import { QueueStore } from "../../service/store";
import { imageSource } from "../../service/triggers/imageSource";
import { TemporaryDirectory } from "../helpers/temporary";

/**
 * Stands for `ke1`, as its builds themselves are not what is tested here: it notes what it is asked for, and for `up` does
 * what the source's file `plan` says.
 */
const standIn = `#!/bin/sh
for word; do case $last in --stack) stack=$word;; --config-file) config=$word;; esac; last=$word; done
if test "$1" = resolve-source; then
    test "$BUILD_TAG" != missing || { echo "error: there is no tag or commit missing" >&2; exit 2; }
    echo '{"buildTag":"tree-0123","commit":"0123"}'; exit
fi
echo "$1 $stack $$" >> "$KE1_CALLS"
state="\${PULUMI_BACKEND_URL#file://}/.pulumi/stacks/ke-1-build"
case $1 in up) mkdir -p "$state"; touch "$state/$stack.json"; . "$SOURCE/plan" ;; destroy) test ! -e "$KE1_CALLS.undestroyable" ;; esac
`;

describe("the service's queue", () => {
    let directory: TemporaryDirectory;
    let settings: ServiceSettings;
    const open: { readonly queue: BuildQueue; readonly store: QueueStore }[] = [];

    beforeEach(() => {
        directory = new TemporaryDirectory();
        directory.file("Pulumi.yaml", "name: ke-1-build\nruntime: nodejs\n");
        directory.file("Pulumi.base.yaml", "config:\n  ke-1-build:target: local\n  ke-1-build:namespace: shared\n");
        const command = directory.file("ke1", standIn, 0o755);
        settings = {
            ...{ dataDirectory: path.join(directory.path, "data"), projectDirectory: directory.path, ke1: [command] },
            ...{ baseStack: "base", parallel: 2, timeoutSeconds: 60, namespaces: [], noCache: false },
            ...{ extraBuildArgs: {}, allowSources: [], localSources: true, showLogs: false },
        };
    });
    afterEach(async () => {
        for (const { queue, store } of open.splice(0)) {
            await queue.stop();
            store.close();
        }
        directory.remove();
    });

    function service(more: Partial<ServiceSettings> = {}): BuildQueue {
        const all = { ...settings, ...more };
        const store = QueueStore.open(all.dataDirectory);
        const environment = { ...process.env, KE1_CALLS: callsFile(), PULUMI_CONFIG_PASSPHRASE: "x" };
        const queue = new BuildQueue(
            store,
            new Runner(all, localSources, environment),
            all,
            () => "http://store/builds",
        );
        open.push({ queue, store });
        return queue;
    }

    function callsFile(): string {
        return path.join(directory.path, "calls");
    }

    function calls(): readonly string[] {
        return fs.existsSync(callsFile())
            ? fs
                  .readFileSync(callsFile(), "utf8")
                  .trim()
                  .split("\n")
                  .map((line) => line.replace(/ \d+$/, ""))
            : [];
    }

    let sources = 0;
    function request(plan: string, more: Partial<BuildRequest> = {}): BuildRequest {
        const name = `source${sources++}`;
        directory.file(`${name}/plan`, plan);
        return { kind: "build", source: path.join(directory.path, name), config: {}, labels: {}, ...more };
    }

    const good = `echo '{"outputs":{"answer":42}}'`;
    const until = async <T>(look: () => T | undefined | false, what: string): Promise<T> => {
        for (const end = Date.now() + 15_000; Date.now() < end;) {
            await sleep(20);
            const found = look();
            if (found !== undefined && found !== false) {
                return found;
            }
        }
        throw new Error(`it did not happen: ${what}`);
    };
    const ended = async (queue: BuildQueue, { id }: BuildRecord) =>
        until(
            () => {
                const record = queue.get(id);
                return record?.endedAt !== undefined && !record.kept && record;
            },
            `the end of ${id}: ${JSON.stringify(queue.get(id))}`,
        );

    it("runs a build on a stack of its own, keeps its outputs, and destroys the stack", async () => {
        const queue = service();
        queue.start();
        const record = await ended(queue, queue.submit(request(good), "me"));
        assert.equal(record.state, "succeeded");
        assert.deepEqual(record.outputs, { answer: 42 });
        assert.match(record.buildTag ?? "", /^tree-/);
        assert.deepEqual(calls().slice(0, 2), [`up ${record.stack}`, `destroy ${record.stack}`]);
    });

    it("gives a stack the base's configuration, the request's over it, and a namespace of its own", async () => {
        const queue = service();
        queue.start();
        const plan = `cp "$config" "$KE1_CALLS.config"; ${good}`;
        await ended(queue, queue.submit(request(plan, { config: { command: ["make", "all"] } }), "me"));
        const written = fs.readFileSync(`${callsFile()}.config`, "utf8");
        assert.match(written, /ke-1-build:target: local/);
        assert.match(written, /ke-1-build:command:\s+- make\s+- all/);
        assert.doesNotMatch(written, /namespace/);
    });

    it("runs so many at once, in the order in which they were asked for", async () => {
        const queue = service();
        const plan = (name: number) => `echo "begin ${name}" >> "$KE1_CALLS"; sleep 0.3; ${good}`;
        const records = [0, 1, 2, 3, 4].map((name) => queue.submit(request(plan(name)), "me"));
        let most = 0;
        queue.on("event", () => (most = Math.max(most, queue.list({ state: "running" }).length)));
        queue.start();
        await Promise.all(records.map(async (record) => ended(queue, record)));
        assert.equal(most, 2);
        const begun = queue
            .events(0)
            .filter(({ type }) => type === "started")
            .map(({ build }) => build);
        assert.deepEqual(
            begun,
            records.map(({ id }) => id),
        );
    });

    it("runs the builds of one lane one after another, on one stack, and lets others pass", async () => {
        const queue = service();
        const slow = `sleep 0.5; ${good}`;
        const [first, second] = [1, 2].map(() => queue.submit(request(slow, { lane: "main" }), "me"));
        const other = queue.submit(request(good), "me");
        assert.equal(first!.stack, second!.stack);
        queue.start();
        await Promise.all([first!, second!, other].map(async (record) => ended(queue, record)));
        const times = [first!, second!].map(({ id }) => queue.get(id)!);
        assert.ok(times[1]!.startedAt! >= times[0]!.endedAt!, "not before the first had ended");
        assert.ok(queue.get(other.id)!.endedAt! < times[0]!.endedAt!);
    });

    it("gives each of the namespaces that there are to one build at a time", async () => {
        const queue = service({ parallel: 5, namespaces: ["slot-0", "slot-1"] });
        const records = [1, 2, 3, 4].map(() => queue.submit(request(`sleep 0.2; ${good}`), "me"));
        const seen: string[][] = [];
        queue.on("event", () => seen.push(queue.list({ state: "running" }).map(({ namespace }) => namespace ?? "")));
        queue.start();
        await Promise.all(records.map(async (record) => ended(queue, record)));
        assert.ok(
            seen.every((names) => new Set(names).size === names.length && names.length <= 2),
            JSON.stringify(seen),
        );
        assert.deepEqual([...new Set(seen.flat())].sort(), ["slot-0", "slot-1"]);
    });

    it("takes the outcome that the launcher has left, and its last error where there is none", async () => {
        const queue = service();
        queue.start();
        const told = `echo '{"outcome":"OutOfMemory","message":"too large"}' > "$KE1_OUTCOME_FILE"; exit 1`;
        const silent = `echo "error: the tag is wrong" >&2; exit 2`;
        const first = await ended(queue, queue.submit(request(told), "me"));
        const second = await ended(queue, queue.submit(request(silent), "me"));
        assert.deepEqual([first.state, first.outcome, first.message], ["failed", "OutOfMemory", "too large"]);
        assert.deepEqual([second.state, second.outcome, second.message], ["failed", "NotStarted", "the tag is wrong"]);
    });

    it("says of a tag that is not there that it is not, and launches nothing", async () => {
        const queue = service();
        queue.start();
        const record = await ended(queue, queue.submit(request(good, { ref: "missing" }), "me"));
        assert.deepEqual([record.outcome, record.message], ["NotStarted", "there is no tag or commit missing"]);
        assert.deepEqual(calls(), []);
    });

    it("takes what a trigger asks for: an image with its source in it", () => {
        const source = imageSource(`example.com/tool@sha256:${"a".repeat(64)}`, "main");
        const record = service().submit({ kind: "build", source, config: {}, labels: {} }, "triggers");
        assert.deepEqual([record.state, record.request.source], ["queued", source]);
    });

    it("goes on when one that listens fails", async () => {
        const queue = service();
        queue.on("event", () => {
            throw new Error("a listener of the test's");
        });
        queue.start();
        assert.equal((await ended(queue, queue.submit(request(good), "me"))).state, "succeeded");
    });

    it("does not forget a build whose stack it could not destroy", async () => {
        directory.file("calls.undestroyable");
        const queue = service();
        queue.start();
        const { id } = queue.submit(request("exit 1", { keepFailed: true }), "me");
        await until(() => queue.get(id)?.endedAt, "its end");
        await assert.rejects(queue.remove(id), /is not destroyed/);
        assert.equal(queue.get(id)?.kept, true);
    });

    it("gives back what a source takes of the disk, but keeps the build shuttle's", async () => {
        const queue = service();
        queue.start();
        const fetched = { build_uuid: "56bce159-87a7-437f-bed3-2da4e44d9cf4" };
        const builds = [request(good), request(good, { labels: fetched })].map((each) => queue.submit(each, "me"));
        await Promise.all(builds.map(async (build) => ended(queue, build)));
        const has = builds.map(({ id }) => fs.existsSync(path.join(path.dirname(queue.launchLog(id)), "source")));
        assert.deepEqual(has, [false, true]);
    });

    it("cancels what is queued at once, and interrupts what runs", async () => {
        const queue = service({ parallel: 1 });
        queue.start();
        const runs = queue.submit(request(`trap 'exit 130' INT; sleep 20 & wait`), "me");
        const waits = queue.submit(request(good), "me");
        assert.equal(queue.cancel(waits.id, "me").state, "cancelled");
        await until(() => calls().some((call) => call.startsWith("up")), "it runs");
        await sleep(100);
        queue.cancel(runs.id, "somebody");
        const record = await ended(queue, runs);
        assert.deepEqual([record.state, record.outcome], ["cancelled", "Cancelled"]);
        assert.equal(calls().filter((call) => call.startsWith("up")).length, 1, "the other one was never begun");
    });

    it("ends what takes longer than it may", async () => {
        const queue = service();
        queue.start();
        const plan = `trap 'exit 130' INT; sleep 20 & wait`;
        const record = await ended(queue, queue.submit(request(plan, { timeoutSeconds: 1 }), "me"));
        assert.deepEqual(
            [record.state, record.outcome, record.message],
            ["failed", "DeadlineExceeded", "not done after 1 s"],
        );
    });

    it("leaves what runs when it stops, and takes it up again, with what was queued behind it", async () => {
        const first = service({ parallel: 1 });
        first.start();
        const plan = `test -e "$SOURCE/again" && { ${good}; exit; }; touch "$SOURCE/again"; sleep 20`;
        const runs = first.submit(request(plan), "me");
        const waits = first.submit(request(good), "me", { token: "a secret of somebody's" });
        await until(() => calls().includes(`up ${runs.stack}`), "it runs");
        await sleep(100);
        await first.stop();
        assert.equal(first.get(runs.id)?.state, "running");
        const second = service({ parallel: 1 });
        second.start();
        assert.equal((await ended(second, runs)).state, "succeeded");
        assert.equal((await ended(second, waits)).state, "succeeded");
        assert.equal(calls().filter((call) => call === `up ${runs.stack}`).length, 2);
        assert.deepEqual(second.secrets(waits.id), { token: "a secret of somebody's" });
    });

    it("remembers across a kill that a build was to be cancelled", async () => {
        const first = service();
        first.start();
        // It does not heed the interrupt, as if the service had been killed before it got there.
        const runs = first.submit(request(`trap '' INT; sleep 20 & wait`), "me");
        await until(() => calls().includes(`up ${runs.stack}`), "it runs");
        await sleep(100);
        first.cancel(runs.id, "me");
        await first.stop();
        const second = service();
        second.start();
        const record = await ended(second, runs);
        assert.equal(record.state, "cancelled");
        assert.equal(calls().filter((call) => call.startsWith("up")).length, 1, "it is not launched again");
    });

    it("keeps the stack of a build that failed, when asked to, until the lane's next build", async () => {
        const queue = service();
        queue.start();
        const failed = queue.submit(request("exit 1", { lane: "main", keepFailed: true }), "me");
        const record = await until(() => {
            const found = queue.get(failed.id);
            return found?.endedAt !== undefined && found;
        }, "its end");
        assert.equal(record.kept, true);
        assert.deepEqual(
            calls().filter((call) => call.startsWith("destroy")),
            [],
        );
        const next = await ended(queue, queue.submit(request(good, { lane: "main" }), "me"));
        assert.equal(queue.get(failed.id)?.kept, false);
        const order = calls().filter((call) => !call.startsWith("stack"));
        assert.deepEqual(order.slice(1), [`destroy ${next.stack}`, `up ${next.stack}`, `destroy ${next.stack}`]);
    });

    it("destroys at its next start what could not be destroyed", async () => {
        directory.file("calls.undestroyable");
        const first = service();
        first.start();
        const runs = first.submit(request(good), "me");
        await until(() => calls().includes(`destroy ${runs.stack}`), "the attempt");
        await first.stop();
        assert.equal(first.get(runs.id)?.kept, true);
        fs.rmSync(path.join(directory.path, "calls.undestroyable"));
        const second = service();
        second.start();
        assert.equal((await ended(second, runs)).state, "succeeded");
    });

    it("keeps nobody's secrets in the clear, and its files to itself", async () => {
        const queue = service();
        queue.submit(request(good), "me", { callback_auth: "Bearer open-sesame" });
        open[0]!.store.database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
        const files = fs.readdirSync(settings.dataDirectory, { recursive: true }) as string[];
        for (const name of files) {
            const file = path.join(settings.dataDirectory, name);
            const { mode } = fs.statSync(file);
            assert.equal(mode & 0o077, 0, `${name} is for its owner alone`);
            assert.ok(fs.statSync(file).isDirectory() || !fs.readFileSync(file).includes("open-sesame"), name);
        }
        assert.ok(files.includes("service.db"));
        await Promise.resolve();
    });

    it("forgets what ended long ago, and its source, and nothing else", async () => {
        const queue = service({ keepDays: 2 });
        queue.start();
        const old = await ended(queue, queue.submit(request(good), "me"));
        const kept = queue.submit(request("exit 1", { keepFailed: true }), "me");
        await until(() => queue.get(kept.id)?.endedAt, "its end");
        const waits = queue.submit(request("sleep 20"), "me");
        const inDays = (days: number) => Date.now() + days * 24 * 3600 * 1000;
        await queue.prune(inDays(1.9));
        assert.ok(queue.get(old.id));
        await queue.prune(inDays(2.1));
        assert.equal(queue.get(old.id), undefined);
        assert.equal(fs.existsSync(path.dirname(queue.launchLog(old.id))), false);
        assert.ok(queue.get(kept.id), "its stack is there");
        assert.ok(queue.get(waits.id));
    });

    it("finds builds by state, label and text, page by page", () => {
        const queue = service();
        const ids = ["shop", "bank", "shop"].map(
            (app, index) => queue.submit(request(good, { labels: { app, branch: `b${index}` } }), "me").id,
        );
        assert.deepEqual(
            queue.list({ labels: { app: "shop" } }).map(({ id }) => id),
            [ids[2], ids[0]],
        );
        assert.deepEqual(
            queue.list({ labels: { app: "shop", branch: "b0" } }).map(({ id }) => id),
            [ids[0]],
        );
        assert.deepEqual(
            queue.list({ text: "BANK" }).map(({ id }) => id),
            [ids[1]],
        );
        assert.deepEqual(
            queue.list({ limit: 2 }).map(({ id }) => id),
            [ids[2], ids[1]],
        );
        assert.deepEqual(
            queue.list({ limit: 2, before: ids[1] }).map(({ id }) => id),
            [ids[0]],
        );
        assert.deepEqual(queue.list({ state: "running" }), []);
    });
});
