import * as assert from "node:assert/strict";
import * as fs from "node:fs";

import { lockData } from "../../service/dataLock";
import { UserError } from "../../contract/errors";
import { GitServer } from "../helpers/gitServer";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";
import { eventually, Watching } from "../helpers/watching";

describe("a watcher", () => {
    const cleanUp: (() => unknown)[] = [];
    const repositoryOf = () => {
        const repository = new TemporaryRepository();
        cleanUp.push(() => repository.remove());
        return repository;
    };
    const watching = (targets: readonly string[], options: ConstructorParameters<typeof Watching>[1] = {}) => {
        const made = new Watching(targets, options);
        cleanUp.push(async () => made.remove());
        return made;
    };
    const ends = (made: Watching) => made.told("ended").map(({ buildTag, state }) => [buildTag, state]);

    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    it("builds what it finds, and then each new commit, that nobody has pushed", async () => {
        const repository = repositoryOf();
        const first = repository.commit("the\u001b[31m first\u202e one");
        const made = watching([`${repository.path}^main`]);
        await made.start();
        await made.until("started");
        made.finish(first);
        await made.until("ended");
        const second = repository.commit();
        made.finish(second);
        await made.until("ended", 2);
        assert.deepEqual(ends(made), [
            [first, "succeeded"],
            [second, "succeeded"],
        ]);
        const [commit] = made.told("commit");
        assert.equal(commit?.subject, "the [31m first  one", "nothing that would do something to a terminal");
        assert.match(commit.lane, /^ke1-ke1-test-.*-main-[0-9a-f]{8}$/);
        const [record] = made.queue.list();
        assert.deepEqual(
            [record?.request.namespace, record?.request.lane, record?.request.labels["branch"], record?.caller],
            [commit.lane, commit.lane, "main", "watch"],
        );
        assert.equal(record?.commit, repository.git("rev-parse", "HEAD"));
        await eventually("no working copy is left", () => made.workingCopies().length === 0);
        assert.doesNotMatch(JSON.stringify(made.queue.list()), /\.git"/, "where the clone is, is nobody's business");
    });

    it("builds of a burst what runs already and the newest, and says what it leaves out", async () => {
        const repository = repositoryOf();
        const first = repository.commit("1");
        const made = watching([`${repository.path}^main`]);
        await made.start();
        await made.until("started");
        const skipped = [repository.commit("2")];
        await made.until("commit", 2);
        // Two more between two looks.
        repository.git("commit", "--quiet", "--allow-empty", "-m", "3");
        skipped.push(repository.git("rev-parse", "--short", "HEAD"));
        const newest = repository.commit("4");
        await eventually("the newest waits", () =>
            made.queue.list({ state: "queued" }).some(({ request }) => request.labels["sha"]?.startsWith(newest)),
        );
        assert.equal(made.queue.list({ state: "queued" }).length, 1, "only one waits");
        made.finish(first);
        [...skipped, newest].forEach((tag) => made.finish(tag));
        await made.until("ended", 2);
        assert.deepEqual(ends(made), [
            [first, "succeeded"],
            [newest, "succeeded"],
        ]);
        const said = made.told("skipped").flatMap(({ commits }) => commits.map((commit) => commit.slice(0, 7)));
        assert.deepEqual([...new Set(said)].sort(), skipped.map((commit) => commit.slice(0, 7)).sort());
        const cancelled = made.queue.list({ state: "cancelled" });
        assert.match(cancelled[0]?.message ?? "", /^cancelled by the newer commit [0-9a-f]{12}$/);
    });

    it("builds the branches of a repository side by side, and each of them in a namespace of its own", async () => {
        const repository = repositoryOf();
        repository.commit("1");
        repository.git("checkout", "--quiet", "-b", "fix/a");
        repository.commit("2");
        repository.git("checkout", "--quiet", "-b", "fix-a");
        repository.commit("3");
        const made = watching([`${repository.path}^fix*`]);
        await made.start();
        await made.until("started", 2);
        assert.deepEqual(
            made
                .told("started")
                .map(({ branch }) => branch)
                .sort(),
            ["fix-a", "fix/a"],
        );
        assert.equal(new Set(made.queue.list().map(({ namespace }) => namespace)).size, 2);
    });

    it("remembers what it built, and takes up what ran, when it is back", async () => {
        const repository = repositoryOf();
        const first = repository.commit("1");
        const made = watching([`${repository.path}^main`]);
        await made.start();
        made.finish(first);
        await made.until("ended");
        const second = repository.commit("2");
        await made.until("started", 2);
        await made.close();
        made.events.length = 0;
        await made.start();
        await made.until("known");
        made.finish(second);
        await made.until("ended");
        assert.deepEqual(ends(made), [[second, "succeeded"]]);
        await made.close();
        made.events.length = 0;
        await made.start();
        await made.until("known");
        assert.equal(made.told("known")[0]?.state, "succeeded");
        const third = repository.commit("3");
        made.finish(third);
        await made.until("ended");
        assert.deepEqual(ends(made), [[third, "succeeded"]], "nothing was built twice");
        assert.equal(made.queue.list().length, 3);
    });

    it("does not lose the build of a commit that it had no time to remember", async () => {
        const repository = repositoryOf();
        const tag = repository.commit();
        const made = watching([`${repository.path}^main`]);
        await made.start();
        await made.until("started");
        const [known] = made.state.known(made.told("commit")[0]?.repository ?? "");
        await made.close();
        // As if it had been killed after the queue took the build.
        await made.open();
        made.state.forget(known?.repository ?? "", known?.ref ?? "");
        const once = made.watcher.once();
        await eventually("it knows", () => made.state.known(known?.repository ?? "").length === 1);
        made.finish(tag);
        assert.deepEqual(
            (await once).builds.map(({ buildTag, state }) => [buildTag, state]),
            [[tag, "succeeded"]],
        );
        assert.equal(made.queue.list().length, 1);
    });

    it("keeps in debug mode what failed until the branch's next commit", async () => {
        const repository = repositoryOf();
        const broken = repository.commit("1");
        const made = watching([`${repository.path}^main`], { debug: true });
        await made.start();
        made.finish(broken, 1);
        await made.until("ended");
        const lane = made.told("commit")[0]?.lane;
        assert.deepEqual([made.told("ended")[0]?.kept, made.told("ended")[0]?.state], [lane, "failed"]);
        await eventually("the build is done with", () => made.queue.counts().running === 0);
        const keptNow = () =>
            made.queue
                .list()
                .filter(({ kept }) => kept)
                .map(({ buildTag }) => buildTag);
        assert.deepEqual(keptNow(), [broken]);
        assert.equal(
            made.queue.list()[0]?.request.config["ttlSecondsAfterFinished"],
            604_800,
            "and Kubernetes the pod",
        );
        const fixed = repository.commit("2");
        await made.until("started", 2);
        await eventually("the kept one goes first", () => keptNow().length === 0);
        made.finish(fixed);
        await made.until("ended", 2);
        assert.equal(made.told("ended")[1]?.kept, undefined);
        await eventually("its stack goes", () => keptNow().length === 0);
    });

    it("builds a branch that was rewritten, and goes back", async () => {
        const repository = repositoryOf();
        repository.commit("1");
        const old = repository.commit("2");
        const made = watching([`${repository.path}^main`]);
        await made.start();
        made.finish(old);
        await made.until("ended");
        repository.git("reset", "--quiet", "--hard", "HEAD~1");
        const changed = repository.commit("2, otherwise");
        made.finish(changed);
        await made.until("ended", 2);
        assert.deepEqual(
            made.told("commit").map(({ rewritten }) => rewritten),
            [false, true],
        );
        assert.deepEqual(ends(made)[1], [changed, "succeeded"]);
    });

    it("ends what there is of a branch that goes away", async () => {
        const repository = repositoryOf();
        repository.commit("1");
        repository.git("branch", "--quiet", "failed");
        repository.git("checkout", "--quiet", "-b", "running");
        const running = repository.commit("2");
        repository.git("checkout", "--quiet", "failed");
        const failed = repository.commit("3");
        repository.git("checkout", "--quiet", "main");
        const made = watching([`${repository.path}^failed`, `${repository.path}^running`], { debug: true });
        await made.start();
        await made.until("started", 2);
        made.finish(failed, 1);
        await made.until("ended");
        repository.git("branch", "--quiet", "-D", "failed", "running");
        await made.until("gone", 2);
        assert.deepEqual(
            made
                .told("gone")
                .map(({ branch }) => branch)
                .sort(),
            ["failed", "running"],
        );
        const left = made.queue.list();
        assert.deepEqual(
            left.map(({ state, kept, buildTag }) => [state, kept, buildTag]),
            [["cancelled", false, running]],
        );
        const [problem] = made.told("nothing");
        assert.equal(problem?.problem, "there is no branch failed, branch running yet");
        // A branch that comes again is built again.
        repository.git("checkout", "--quiet", "-b", "running");
        const again = repository.commit("4");
        made.finish(again);
        await eventually("the branch is built again", () =>
            ends(made).some(([tag, state]) => tag === again && state === "succeeded"),
        );
    });

    it("builds a new tag under its name, and none that was there before", async () => {
        const repository = repositoryOf();
        repository.commit("1");
        repository.git("tag", "v1");
        const made = watching([`${repository.path}^tags/v*`]);
        ["v1", "v2", "v3"].forEach((tag) => made.finish(tag));
        await made.start();
        await eventually("it looked", () => made.state.known(fs.realpathSync(repository.path)).length === 1);
        repository.commit("2");
        repository.git("tag", "v2");
        repository.git("-c", "tag.gpgsign=false", "tag", "-a", "v3", "-m", "three", "HEAD~1");
        await made.until("ended", 2);
        assert.deepEqual(
            ends(made)
                .map(([tag]) => tag)
                .sort(),
            ["v2", "v3"],
            "one after another, and none left out",
        );
        assert.equal(new Set(made.queue.list().map(({ request }) => request.lane)).size, 1);
    });

    it("says once that a remote does not answer, and goes on when it does again", async () => {
        const repository = repositoryOf();
        const first = repository.commit("1");
        let server = await GitServer.start("127.0.0.1");
        const { port } = new URL(server.origin);
        const address = await server.push(repository, "ke-1");
        cleanUp.push(async () => server.stop());
        const made = watching([`${address}^main`]);
        await made.start();
        made.finish(first);
        await made.until("ended");
        await server.stop();
        await made.until("unreachable");
        await new Promise((resolve) => setTimeout(resolve, 500));
        assert.equal(made.told("unreachable").length, 1);
        assert.match(made.told("unreachable")[0]?.problem ?? "", /^.+$/);
        const second = repository.commit("2");
        made.finish(second);
        server = await GitServer.start("127.0.0.1", Number(port));
        await server.push(repository, "ke-1");
        await made.until("reachable");
        await made.until("ended", 2);
        assert.deepEqual(ends(made)[1], [second, "succeeded"]);
        assert.equal(made.queue.list()[0]?.request.source, address);
    });

    it("looks once and says how it ended", async () => {
        const repository = repositoryOf();
        const tag = repository.commit();
        const made = watching([`${repository.path}^main`, "https://ke1.invalid/none.git^main"]);
        await made.open();
        made.finish(tag, 1);
        const { builds, problems } = await made.watcher.once();
        assert.deepEqual(
            builds.map(({ buildTag, state }) => [buildTag, state]),
            [[tag, "failed"]],
        );
        assert.deepEqual(problems, ["none: it does not answer"]);
        assert.deepEqual((await made.watcher.once()).problems.length, 1);
    });

    it("has its data directory for itself", () => {
        const directory = new TemporaryDirectory();
        cleanUp.push(() => directory.remove());
        const unlock = lockData(directory.path);
        assert.throws(() => lockData(directory.path), UserError);
        unlock();
        lockData(directory.path)();
    });
});
