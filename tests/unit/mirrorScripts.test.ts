import * as assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { GitServer } from "../helpers/gitServer";
import { projectDirectory, run } from "../helpers/ke1";
import { SshGit } from "../helpers/sshGit";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

/** The syncer's and the source's programs with git, as they are in a pod, but here. */
describe("mirrors", function () {
    this.timeout(60_000);
    let server: GitServer;
    let repository: TemporaryRepository;
    let place: TemporaryDirectory;
    const syncers: ChildProcess[] = [];

    before(async () => {
        server = await GitServer.start("127.0.0.1");
    });
    after(async () => server.stop());
    beforeEach(async () => {
        repository = new TemporaryRepository();
        repository.file("a", "1\n");
        repository.file("sub/b", "1\n");
        repository.commit("one");
        repository.git("tag", "-a", "v1", "-m", "v1");
        await server.push(repository, "one");
        place = new TemporaryDirectory();
        for (const program of ["git", "sync", "source"]) {
            place.file(
                `bin/${program}`,
                fs.readFileSync(path.join(projectDirectory, "mirror", `${program}.sh`), "utf8"),
            );
        }
        fs.mkdirSync(path.join(place.path, "mirrors"));
        list("one");
    });
    afterEach(async () => {
        await Promise.all(syncers.splice(0).map(end));
        place.remove();
        repository.remove();
    });

    it("are made, follow their remote, and lose what it loses", async () => {
        const syncer = start();
        await synced("one");
        assert.equal(mirror("rev-parse", "main"), repository.git("rev-parse", "main"));
        assert.equal(mirror("rev-parse", "v1"), repository.git("rev-parse", "v1"));
        repository.file("a", "2\n");
        repository.commit("two");
        repository.git("tag", "-d", "v1");
        repository.git("branch", "other");
        await server.push(repository, "one");
        await until(
            () => mirror("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags") === "main\nother",
        );
        assert.equal(mirror("rev-parse", "main"), repository.git("rev-parse", "main"));
        await until(() => /fetched \d+ KiB in \d+ s/.test(syncer.output()));
        assert.match(syncer.output(), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ one\.git: cloned: \d+ KiB in \d+ s$/m);
    });

    it("go on when a remote is down, and say which is", async () => {
        fs.writeFileSync(
            path.join(place.path, "bin/mirrors"),
            `down.git http://127.0.0.1:9/down.git\none.git ${server.address("one")}\n`,
        );
        const syncer = start();
        await synced("one");
        await until(() => syncer.output().includes("down.git: not synced"));
        assert.match(syncer.output(), /down\.git: not synced: unable to access .*9\/down\.git.*; next try in 1 s/);
        const ready = await program("sync", ["ready"]);
        assert.equal(ready.code, 1);
        assert.match(ready.stdout, /^down\.git \(http.*\) is not ready$/m);
        assert.equal((await program("sync", ["alive"])).code, 0);
        list("one");
        assert.equal((await program("sync", ["ready"])).code, 0);
    });

    it("are no longer ready when they are stale, and not alive when their loop hangs", async () => {
        start();
        await synced("one");
        await Promise.all(syncers.splice(0).map(end));
        fs.writeFileSync(path.join(mirrorPath(), "ke1-synced"), String(Math.floor(Date.now() / 1000) - 100));
        assert.equal((await program("sync", ["ready"])).code, 1);
        fs.writeFileSync(path.join(place.path, "state/beat.one.git"), String(Math.floor(Date.now() / 1000) - 100_000));
        assert.equal((await program("sync", ["alive"])).code, 1);
    });

    it("are made anew when they are broken, and are unlocked when a syncer was killed", async () => {
        start();
        await synced("one");
        for (const syncer of syncers.splice(0)) {
            process.kill(-(syncer.pid ?? 0), "SIGKILL");
            await new Promise((resolve) => syncer.once("close", resolve));
        }
        fs.writeFileSync(path.join(mirrorPath(), "packed-refs.lock"), "");
        fs.mkdirSync(path.join(place.path, "state/lock.one.git"), { recursive: true });
        repository.commit("two");
        await server.push(repository, "one");
        start();
        await until(() => mirror("rev-parse", "main") === repository.git("rev-parse", "main"));

        fs.rmSync(path.join(mirrorPath(), "objects"), { recursive: true });
        await until(() => mirror("fsck") === "" && fs.existsSync(path.join(mirrorPath(), "ke1-synced")));
    });

    it("let a build have a commit without asking the remote, in one of its directories too", async () => {
        start();
        await synced("one");
        await Promise.all(syncers.splice(0).map(end));
        server.forget();
        const { code, stdout } = await source("HEAD", "sub");
        assert.equal(code, 0, stdout);
        assert.match(stdout, /is in the mirror, synced \d+ s ago: nothing was fetched/);
        assert.deepEqual(server.asked, []);
        assert.equal(copy("rev-parse", "HEAD"), repository.git("rev-parse", "HEAD"));
        assert.equal(copy("describe"), "v1");
        assert.equal(copy("status", "--porcelain"), "");
        assert.equal(copy("fsck"), "");
        assert.equal(fs.readFileSync(path.join(place.path, "work/work/sub/b"), "utf8"), "1\n");
        assert.deepEqual(
            fs.readdirSync(path.join(place.path, "work/work/.git/objects/pack")),
            [],
            "nothing was copied",
        );
        assert.equal(fs.readFileSync(path.join(place.path, "work/log"), "utf8"), stdout);
        assert.deepEqual(fs.readdirSync(path.join(place.path, "work")).sort(), ["log", "work"]);
    });

    it("let a build fetch no more than is new", async () => {
        repository.file("large", Array.from({ length: 40_000 }, () => Math.random()).join("\n"));
        repository.commit("large");
        await server.push(repository, "one");
        start();
        await synced("one");
        await Promise.all(syncers.splice(0).map(end));
        repository.file("a", "new\n");
        repository.commit("small");
        await server.push(repository, "one");
        server.forget();
        const { code, stdout } = await source("HEAD");
        assert.equal(code, 0, stdout);
        assert.match(stdout, /is newer than the mirror, synced \d+ s ago: fetched \d+ KiB from http/);
        assert.ok(server.sent < 10_000, `${server.sent} bytes`);
        assert.equal(copy("fsck"), "");
        assert.equal(fs.readFileSync(path.join(place.path, "work/work/a"), "utf8"), "new\n");
    });

    for (const [what, spoil] of [
        ["missing", () => fs.rmSync(mirrorPath(), { recursive: true })],
        ["without its objects", () => fs.rmSync(path.join(mirrorPath(), "objects/pack"), { recursive: true })],
        ["not even a repository", () => fs.writeFileSync(path.join(mirrorPath(), "HEAD"), "garbage")],
    ] as const) {
        it(`do not matter when one is ${what}: the build clones`, async () => {
            start();
            await synced("one");
            await Promise.all(syncers.splice(0).map(end));
            spoil();
            const { code, stdout } = await source("HEAD");
            assert.equal(code, 0, stdout);
            assert.match(stdout, /cloning http.* without a mirror\n.*: fetched \d+ KiB from http/);
            assert.equal(copy("fsck"), "");
            assert.equal(fs.existsSync(path.join(place.path, "work/work/.git/objects/info/alternates")), false);
        });
    }

    it("give a source that is not what was planned, or not there, to no build", async () => {
        start();
        await synced("one");
        const tree = repository.git("rev-parse", "HEAD:sub");
        const other = await source("HEAD", "", { KE1_TREE: tree });
        assert.equal(other.code, 3);
        assert.match(other.stdout, new RegExp(`the commit's tree is .*, not ${tree}, which was to be built`));
        const nowhere = await source("HEAD", "", { KE1_COMMIT: "f".repeat(40) });
        assert.equal(nowhere.code, 3);
        assert.match(nowhere.stdout, /has no commit f{40}: push it first/);
        const gone = await source("HEAD", "", { KE1_MIRROR: "x", KE1_REMOTE: server.address("gone") });
        assert.equal(gone.code, 3);
        assert.match(gone.stdout, /turned us away: repository 'http.*' not found/);
    });

    it("notice a file that is not the commit's", async () => {
        start();
        await synced("one");
        await Promise.all(syncers.splice(0).map(end));
        // Of the size and the time that the index has: only its content tells.
        const git = path.join(place.path, "fake/git");
        const real = execFileSync("which", ["git"], { encoding: "utf8" }).trim();
        place.file(
            "fake/git",
            `#!/bin/sh\n${real} "$@" || exit\ncase " $* " in *" checkout "*) cd "$2" && touch -r a ../t && echo 9 >a && touch -r ../t a ;; esac\n`,
        );
        fs.chmodSync(git, 0o755);
        const { code, stdout } = await source("HEAD", "", {
            PATH: `${path.dirname(git)}:${process.env["PATH"] ?? ""}`,
        });
        assert.equal(code, 3, stdout);
        assert.match(stdout, /the working copy is not .*: a: needs update/);
    });

    describe("and what builds still need", () => {
        /** A commit on a branch that is then rewritten, in a pack that looks as old as can be. */
        async function rewritten(keep: number): Promise<{ readonly old: string }> {
            repository.git("checkout", "--quiet", "-b", "topic");
            repository.file("only-here", "x\n");
            repository.commit("to be rewritten");
            repository.git("tag", "-a", "t", "-m", "t");
            const old = repository.git("rev-parse", "HEAD");
            await server.push(repository, "one");
            start(keep);
            await synced("one");
            const { code, stdout } = await source(old);
            assert.equal(code, 0, stdout);
            assert.equal(copy("fsck"), "");
            execFileSync("find", [path.join(mirrorPath(), "objects"), "-exec", "touch", "-d", "2001-01-01", "{}", "+"]);
            repository.git("reset", "--quiet", "--hard", "main");
            repository.file("instead", "y\n");
            repository.commit("rewritten");
            repository.git("tag", "-d", "t");
            await server.push(repository, "one");
            await until(() => mirror("rev-parse", "topic") === repository.git("rev-parse", "topic"));
            return { old };
        }

        it("stays, through a collection, for as long as a build may take", async () => {
            const { old } = await rewritten(3600);
            await until(() => mirror("for-each-ref", "refs/ke1/kept").includes(old));
            const { code, stdout, stderr } = await program("sync", ["collect", "one.git"], { KE1_KEEP: "3600" });
            assert.equal(code, 0, stderr);
            assert.match(stdout, /collected: \d+ KiB became \d+ KiB/);
            assert.equal(
                fs.readdirSync(path.join(mirrorPath(), "objects/pack")).filter((name) => /pack$/.test(name)).length,
                1,
            );
            assert.equal(copy("fsck", "--full", "--no-dangling"), "");
            assert.equal(copy("show", "HEAD:only-here"), "x");
            assert.equal(copy("describe", "HEAD"), "t");
        });

        it("would not stay by git's own rule, the age of objects: what is kept is kept by a ref", async () => {
            await rewritten(3600);
            await until(() => mirror("for-each-ref", "refs/ke1/kept") !== "");
            await Promise.all(syncers.splice(0).map(end));
            for (const ref of mirror("for-each-ref", "--format=%(refname)", "refs/ke1/kept").split("\n")) {
                mirror("update-ref", "-d", ref);
            }
            mirror("gc", "--quiet", "--prune=1.hour.ago");
            const broken = spawnSync("git", ["-C", path.join(place.path, "work/work"), "fsck"], { encoding: "utf8" });
            assert.notEqual(broken.status, 0);
        });

        it("goes in the end, and is given to no new build before", async () => {
            const { old } = await rewritten(1);
            const { code, stdout } = await source(old);
            assert.equal(code, 0, "the remote has it still");
            assert.match(stdout, /no branch and no tag of the mirror leads to .* any more\n.*without a mirror/);
            assert.equal(fs.existsSync(path.join(place.path, "work/work/.git/objects/info/alternates")), false);
            await until(() => mirror("for-each-ref", "refs/ke1/kept").includes(old));
            await sleep(2100);
            const collected = await program("sync", ["collect", "one.git"], { KE1_KEEP: "1" });
            assert.equal(collected.code, 0, collected.stderr);
            assert.throws(() => mirror("cat-file", "-e", old));
            assert.equal(mirror("fsck"), "");
        });

        it("stays when a syncer was killed between the fetch and the note of what it replaced", async () => {
            const { old } = await rewritten(3600);
            await until(() => mirror("for-each-ref", "refs/ke1/kept").includes(old));
            await Promise.all(syncers.splice(0).map(end));
            for (const ref of mirror("for-each-ref", "--format=%(refname)", "refs/ke1/kept").split("\n")) {
                mirror("update-ref", "-d", ref);
            }
            fs.writeFileSync(path.join(mirrorPath(), "ke1-tips"), `${old} commit\n`);
            start(3600);
            await until(() => mirror("for-each-ref", "refs/ke1/kept").includes(old));
            assert.equal(fs.existsSync(path.join(mirrorPath(), "objects")), true);
        });
    });

    it("send a password to its own host, and keep it out of arguments, variables, files and logs", async () => {
        await server.push(repository, "private");
        place.file("secret/password", server.password);
        list("private");
        const syncer = start(3600, { KE1_GIT_SECRET: path.join(place.path, "secret"), KE1_GIT_ORIGIN: server.origin });
        await synced("private");
        assert.ok(server.asked.some(({ path: asked, authorized }) => asked.startsWith("/private") && authorized));
        const written = execFileSync("grep", ["-rlF", server.password, place.path], { encoding: "utf8" }).trim();
        assert.equal(written, path.join(place.path, "secret/password"));
        assert.equal(syncer.output().includes(server.password), false);
        await Promise.all(syncers.splice(0).map(end));

        server.forget();
        const environment = { KE1_GIT_SECRET: path.join(place.path, "secret"), KE1_GIT_ORIGIN: "http://elsewhere" };
        const { code, stdout } = await source("HEAD", "", {
            ...environment,
            KE1_MIRROR: "none",
            KE1_REMOTE: server.address("private"),
        });
        assert.equal(code, 3, stdout);
        assert.match(stdout, /turned us away: could not read Username/);
        assert.ok(server.asked.every(({ authorized }) => !authorized));
    });

    it("trust no ssh host blindly", async () => {
        const { code, stdout } = await source("HEAD", "", { KE1_MIRROR: "none", KE1_REMOTE: "ssh://git@127.0.0.1/x" });
        assert.equal(code, 3);
        assert.match(stdout, /ssh needs the key known_hosts in the Secret/);
    });

    it("come over ssh from a host that is known, and from no other", async function () {
        const ssh = await SshGit.start("127.0.0.1", server.directoryOf("one"));
        if (!ssh) {
            return this.skip();
        }
        try {
            place.file("secret/ssh-privatekey", ssh.privateKey, 0o600);
            const known = place.file("secret/known_hosts", ssh.knownHosts);
            const environment = {
                KE1_GIT_SECRET: path.join(place.path, "secret"),
                KE1_MIRROR: "none",
                KE1_REMOTE: ssh.address,
            };
            const { code, stdout } = await source("HEAD", "", environment);
            assert.equal(code, 0, stdout);
            assert.match(stdout, /fetched \d+ KiB from ssh:/);

            const key = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
            fs.writeFileSync(known, ssh.knownHosts.replace(/ssh-ed25519 .*/, `ssh-ed25519 ${key}`));
            const changed = await source("HEAD", "", environment);
            assert.equal(changed.code, 3, changed.stdout);
            assert.match(changed.stdout, /turned us away: Host key verification failed/);
        } finally {
            await ssh.stop();
        }
    });

    it("have programs that shellcheck finds no fault with", function () {
        const found = spawnSync("shellcheck", ["-x", "mirror/git.sh", "mirror/sync.sh", "mirror/source.sh"], {
            cwd: projectDirectory,
            encoding: "utf8",
        });
        if (found.error) {
            this.skip();
        }
        assert.equal(found.stdout, "");
    });

    function list(name: string): void {
        fs.writeFileSync(path.join(place.path, "bin/mirrors"), `${name}.git ${server.address(name)}\n`);
    }

    function environmentOf(state: string): NodeJS.ProcessEnv {
        const directory = path.join(place.path, state);
        fs.mkdirSync(directory, { recursive: true });
        return {
            ...process.env,
            TMPDIR: directory,
            KE1_MIRRORS: path.join(place.path, "mirrors"),
            KE1_GIT_SECRET: path.join(place.path, "no-secret"),
            KE1_INTERVAL: "1",
        };
    }

    function start(keep = 3600, more: NodeJS.ProcessEnv = {}): { readonly output: () => string } {
        const child = spawn("dash", [path.join(place.path, "bin/sync"), "run"], {
            env: { ...environmentOf("state"), KE1_KEEP: String(keep), ...more },
            stdio: ["ignore", "pipe", "pipe"],
            detached: true,
        });
        let output = "";
        child.stdout.on("data", (text: Buffer) => (output += text.toString()));
        child.stderr.on("data", (text: Buffer) => (output += text.toString()));
        syncers.push(child);
        return { output: () => output };
    }

    async function end(syncer: ChildProcess): Promise<void> {
        if (syncer.exitCode === null && syncer.signalCode === null) {
            const closed = new Promise((resolve) => syncer.once("close", resolve));
            syncer.kill("SIGTERM");
            await closed;
        }
    }

    async function program(name: string, args: readonly string[], more: NodeJS.ProcessEnv = {}) {
        return run("dash", [path.join(place.path, "bin", name), ...args], { ...environmentOf("state"), ...more });
    }

    async function source(revision: string, prefix = "", more: NodeJS.ProcessEnv = {}) {
        const commit = repository.git("rev-parse", `${revision}^{commit}`);
        return program("source", [], {
            ...environmentOf("work/tmp"),
            KE1_REMOTE: server.address("one"),
            KE1_COMMIT: commit,
            KE1_TREE: repository.git("rev-parse", `${commit}:${prefix}`),
            KE1_PREFIX: prefix,
            KE1_MIRROR: "one.git",
            KE1_WORK: path.join(place.path, "work"),
            ...more,
        });
    }

    function mirrorPath(): string {
        return path.join(place.path, "mirrors/one.git");
    }

    function mirror(...args: string[]): string {
        return execFileSync("git", ["--git-dir", mirrorPath(), ...args], {
            encoding: "utf8",
            stdio: ["ignore", "pipe", "pipe"],
        }).trim();
    }

    function copy(...args: string[]): string {
        return execFileSync("git", ["-C", path.join(place.path, "work/work"), ...args], { encoding: "utf8" }).trim();
    }

    async function synced(name: string): Promise<void> {
        await until(() => fs.existsSync(path.join(place.path, `mirrors/${name}.git/ke1-synced`)));
    }

    async function until(isSo: () => boolean): Promise<void> {
        for (let attempt = 0; attempt < 200; attempt++) {
            try {
                if (isSo()) {
                    return;
                }
            } catch {
                // Not yet.
            }
            await sleep(50);
        }
        assert.fail(`it did not come to be: ${isSo.toString()}`);
    }
});
