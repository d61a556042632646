import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import { resolveSource } from "../../source/resolve";
import type { BuildRequest } from "../../service/build";
import { Clone } from "../../service/watch/clone";
import { runGit } from "../../service/watch/git";
import { parsePattern } from "../../service/watch/patterns";
import { listRefs, watchedRefs } from "../../service/watch/refs";
import { locateRepository } from "../../service/watch/repository";
import { cloneSecret, watchedSources } from "../../service/watch/source";
import { readWatched } from "../../service/watch/watchFile";
import { GitServer } from "../helpers/gitServer";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const cleanUp: (() => unknown)[] = [];
const repositoryOf = () => {
    const repository = new TemporaryRepository();
    cleanUp.push(() => repository.remove());
    return repository;
};
const directoryOf = () => {
    const directory = new TemporaryDirectory();
    cleanUp.push(() => directory.remove());
    return directory;
};
const refused = async (attempt: Promise<unknown>, message: RegExp) =>
    assert.rejects(attempt, (error: unknown) => {
        assert.ok(error instanceof UserError, String(error));
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
    });

afterEach(async () => {
    for (const step of cleanUp.splice(0).reverse()) {
        await step();
    }
});

describe("a watched repository", () => {
    it("is found by a path: its top, a directory in it, a bare one", async () => {
        const repository = repositoryOf();
        repository.file("sub/dir/file", "x");
        repository.commit();
        const top = fs.realpathSync(repository.path);
        const name = path.basename(top);
        assert.deepEqual(await locateRepository(".", top), { address: top, local: true, name, directory: "" });
        assert.deepEqual(await locateRepository("sub/dir", top), {
            address: top,
            local: true,
            name,
            directory: "sub/dir",
        });
        assert.equal((await locateRepository(`file://${top}/sub`, "/")).directory, "sub");
        const bare = directoryOf();
        repository.git("clone", "--quiet", "--bare", top, path.join(bare.path, "ke-1.git"));
        const found = await locateRepository(path.join(bare.path, "ke-1.git"), "/");
        assert.deepEqual([found.name, found.directory, path.basename(found.address)], ["ke-1", "", "ke-1.git"]);
    });

    it("is refused where it is none, and where its address has a credential in it, which is not said again", async () => {
        const plain = directoryOf();
        await refused(locateRepository(plain.path, "/"), /is not a git repository/);
        await refused(locateRepository(path.join(plain.path, "none"), "/"), /there is no directory/);
        for (const address of [
            "https://x-access-token:ghp_secret@github.com/kerbodyne/ke-1",
            "https://ghp_secret@github.com/kerbodyne/ke-1",
            "ssh://git:ghp_secret@github.com/kerbodyne/ke-1",
        ]) {
            await refused(locateRepository(address, "/"), /^(?!.*ghp_secret).*credential helper/);
        }
        await refused(locateRepository("http://github.com/kerbodyne/ke-1", "/"), /https:\/\/ or ssh:\/\//);
        await refused(locateRepository("ext::sh -c id", "/"), /a host and a path of plain characters/);
    });

    it("tells its branches, its tags' commits, and which branch is the default one", async () => {
        const repository = repositoryOf();
        repository.commit();
        const first = repository.git("rev-parse", "HEAD");
        repository.git("tag", "light");
        repository.git("-c", "tag.gpgsign=false", "tag", "-a", "v1", "-m", "a release");
        repository.git("checkout", "--quiet", "-b", "refs/heads/main");
        repository.git("checkout", "--quiet", "main", "--");
        repository.commit();
        const refs = async (...patterns: string[]) => {
            const parsed = patterns.map(parsePattern);
            const found = await listRefs(repository.path, parsed, [], { directory: "/" });
            return { found, watched: watchedRefs(found, parsed) };
        };
        const all = await refs("*", "tags/*");
        assert.equal(all.found.head, "refs/heads/main");
        assert.equal(all.found.commits.get("refs/tags/v1"), first, "the commit, not the tag's own object");
        assert.equal(all.found.commits.get("refs/tags/light"), first);
        const one = await refs("tags/v1", "main");
        assert.deepEqual(one.watched, ["refs/heads/main", "refs/tags/v1"], "no branch whose name only ends so");
        assert.equal(one.found.commits.get("refs/tags/v1"), first);
        repository.git("checkout", "--quiet", "--detach");
        assert.equal((await refs("main")).found.head, undefined);
        await assert.rejects(
            listRefs(path.join(repository.path, "gone"), [], [], { directory: "/" }),
            /does not appear|not exist/,
        );
    });

    it("does not wait for a server that says nothing, and leaves nothing of git behind", async () => {
        const started = performance.now();
        const ended = await runGit(["-c", "alias.wait=!sleep 4242", "wait"], { directory: "/", timeoutSeconds: 0.3 });
        assert.ok(performance.now() - started < 10_000);
        assert.deepEqual([ended.status, ended.stderr], [1, "no answer within 0.3 s"]);
        const left = fs.readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && commandLine(pid) === "sleep 4242");
        assert.deepEqual(left, []);
    });

    it("asks nobody for a password, and says no address with one in it", async () => {
        const repository = repositoryOf();
        repository.commit();
        const server = await GitServer.start("127.0.0.1");
        cleanUp.push(async () => server.stop());
        const address = await server.push(repository, "private");
        await assert.rejects(
            listRefs(address, [], [], { directory: "/" }),
            /could not read Username|terminal prompts disabled/,
        );
        // As a credential helper gives it, by git's own means.
        const helper = `!f() { echo username=x-access-token; echo password=${server.password}; }; f`;
        const before = { ...process.env };
        cleanUp.push(() => {
            for (const name of ["GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"]) {
                if (before[name] === undefined) {
                    Reflect.deleteProperty(process.env, name);
                }
            }
        });
        Object.assign(process.env, {
            GIT_CONFIG_COUNT: "1",
            GIT_CONFIG_KEY_0: "credential.helper",
            GIT_CONFIG_VALUE_0: helper,
        });
        const { commits } = await listRefs(address, [parsePattern("main")], [], { directory: "/" });
        assert.ok(commits.has("refs/heads/main"));
        const [, ...rest] = address.split("//");
        const failed = await runGit(
            ["ls-remote", `http://someone:ghp_secret@${rest.join("").replace("private", "none")}`],
            {
                ...{ directory: "/", timeoutSeconds: 20 },
            },
        );
        assert.notEqual(failed.status, 0);
        assert.doesNotMatch(failed.stderr, /ghp_secret/);
    });
});

describe("the clone of a watched repository", () => {
    it("keeps what was fetched when a branch is rewritten, deleted, or becomes a directory", async () => {
        const repository = repositoryOf();
        repository.commit();
        repository.git("checkout", "--quiet", "-b", "a");
        repository.file("file", "one");
        repository.commit();
        const first = repository.git("rev-parse", "HEAD");
        const clone = new Clone(path.join(directoryOf().path, "watch"), { address: repository.path, local: true });
        await clone.fetch(["refs/heads/a"]);
        assert.equal(await clone.commitOf("refs/heads/a"), first);
        repository.git("checkout", "--quiet", "main");
        repository.git("branch", "--quiet", "-D", "a");
        repository.git("checkout", "--quiet", "-b", "a/b");
        repository.file("file", "two");
        repository.commit();
        const second = repository.git("rev-parse", "HEAD");
        repository.git("reflog", "expire", "--expire=now", "--all");
        repository.git("gc", "--quiet", "--prune=now");
        await clone.fetch(["refs/heads/a/b"]);
        assert.deepEqual(await clone.progress(first, second), { skipped: [], rewritten: true });
        for (const [commit, content] of [
            [first, "one"],
            [second, "two"],
        ] as const) {
            const copy = directoryOf();
            await clone.checkOut(commit, copy.path);
            assert.equal(fs.readFileSync(path.join(copy.path, "file"), "utf8"), content);
        }
        assert.equal(fs.statSync(path.dirname(clone.directory)).mode & 0o777, 0o700);
    });

    it("knows what is between two commits of a branch, without what was merged into it", async () => {
        const repository = repositoryOf();
        let count = 0;
        const commit = () => {
            repository.commit(`commit ${++count}`);
            return repository.git("rev-parse", "HEAD");
        };
        const [first, second] = [commit(), commit()];
        repository.git("checkout", "--quiet", "-b", "side");
        commit();
        repository.git("checkout", "--quiet", "main");
        const third = commit();
        repository.git(
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@localhost",
            "merge",
            "--quiet",
            "--no-ff",
            "-m",
            "merge",
            "side",
        );
        const merge = repository.git("rev-parse", "HEAD");
        const clone = new Clone(directoryOf().path, { address: repository.path, local: true });
        await clone.fetch(["refs/heads/main"]);
        assert.deepEqual(await clone.progress(first, merge), { skipped: [second, third], rewritten: false });
        assert.deepEqual(await clone.progress(third, merge), { skipped: [], rewritten: false });
        assert.equal(await clone.subject(merge), "merge");
    });

    it("makes a working copy that is built under the repository's own short hash, and runs no hook", async () => {
        const repository = repositoryOf();
        repository.file("sub/file", "x");
        repository.git("remote", "add", "origin", "https://user:ghp_secret@github.com/kerbodyne/ke-1.git");
        repository.git("config", "core.abbrev", "11");
        const tag = repository.commit();
        const clone = new Clone(directoryOf().path, { address: repository.path, local: true });
        await clone.fetch(["refs/heads/main"]);
        const copy = directoryOf();
        const hooks = directoryOf();
        const ran = path.join(hooks.path, "ran");
        hooks.file("post-checkout", `#!/bin/sh\ntouch '${ran}'\n`, 0o755);
        const home = directoryOf();
        home.file(".gitconfig", `[core]\n\thooksPath = ${hooks.path}\n`);
        const before = process.env["HOME"];
        cleanUp.push(() => (process.env["HOME"] = before));
        process.env["HOME"] = home.path;
        const commit = await clone.commitOf("refs/heads/main");
        await clone.checkOut(commit, copy.path);
        assert.equal(fs.existsSync(ran), false);
        const source = resolveSource({ source: path.join(copy.path, "sub"), buildTag: commit, projectDirectory: "/" });
        assert.deepEqual([source.buildTag, source.prefix, tag.length], [tag, "sub/", 11]);
        assert.equal(source.repository, "https://github.com/kerbodyne/ke-1");
        assert.doesNotMatch(fs.readFileSync(path.join(copy.path, ".git", "config"), "utf8"), /ghp_secret/);
        await clone.tag(copy.path, "v1", commit);
        assert.equal(resolveSource({ source: copy.path, buildTag: "v1", projectDirectory: "/" }).buildTag, "v1");
    });
});

describe("a file of watched repositories", () => {
    it("says branches, tags, configuration and secrets of each", async () => {
        const repository = repositoryOf();
        repository.commit();
        const directory = directoryOf();
        directory.file("secret", `${"s".repeat(32)}\n${"t".repeat(32)}\n`, 0o600);
        const file = directory.file(
            "watch.yaml",
            `repositories:
  - repository: ${repository.path}
    branches: [main, "release/*"]
    tags: ["v*"]
    directory: sub/dir/
    config: { memoryLimit: 4Gi }
    debug: true
    webhookSecretFile: secret
  - repository: git@github.com:kerbodyne/ke-1.git
`,
        );
        const [local, remote] = await readWatched([file], "/");
        assert.deepEqual(
            local?.patterns.map(({ kind, ref }) => [kind, ref]),
            [
                ["branch", "refs/heads/main"],
                ["branch", undefined],
                ["tag", undefined],
            ],
        );
        assert.deepEqual([local.directory, local.debug, local.config], ["sub/dir", true, { memoryLimit: "4Gi" }]);
        assert.deepEqual(local.webhookSecrets, ["s".repeat(32), "t".repeat(32)]);
        assert.deepEqual(
            [remote?.address, remote?.patterns.map(({ kind }) => kind)],
            ["ssh://git@github.com/kerbodyne/ke-1.git", ["default"]],
        );
    });

    it("takes several targets of one repository together", async () => {
        const repository = repositoryOf();
        repository.commit();
        const found = await readWatched(
            [`${repository.path}^main`, `${repository.path}^dev`, `${repository.path}^main`],
            "/",
        );
        assert.deepEqual(
            found.map(({ patterns }) => patterns.map(({ text }) => text)),
            [["main", "dev"]],
        );
    });

    it("says in one line what is wrong with it", async () => {
        const directory = directoryOf();
        directory.file("open", "s".repeat(32), 0o644);
        directory.file("short", "secret\n", 0o600);
        const remote = "repository: https://github.com/kerbodyne/ke-1.git";
        for (const [content, why] of [
            ["repositories: []", /repositories must NOT have fewer than 1/],
            ["repositories:\n  - branch: x", /repositories\.0 .*/],
            [`repositories:\n  - ${remote}\n    branch: main`, /additional properties: branch/],
            [
                `repositories:\n  - ${remote}\n    branches: ["a b"]`,
                /repositories\[0\]: `a b` is not the name of a branch/,
            ],
            [`repositories:\n  - ${remote}\n    directory: ../x`, /must be a path in the repository/],
            [`repositories:\n  - ${remote}\n    webhookSecretFile: none`, /there is no file .*none/],
            [`repositories:\n  - ${remote}\n    webhookSecretFile: open`, /chmod 600/],
            [`repositories:\n  - ${remote}\n    webhookSecretFile: short`, /at least 16 characters/],
            ["repositories: [", /cannot be read/],
        ] as const) {
            await refused(readWatched([directory.file("watch.yaml", content)], "/"), why);
        }
    });
});

describe("the source of a watched repository's build", () => {
    it("is a directory of the commit, but none outside of it or that git would take for a repository", async () => {
        const repository = repositoryOf();
        repository.file("sub/dir/file", "x");
        repository.file("bare/HEAD", "ref: refs/heads/main\n");
        repository.file("bare/commondir", "../elsewhere\n");
        repository.file("bare/dir/file", "x");
        fs.symlinkSync("bare/dir", path.join(repository.path, "link"));
        fs.symlinkSync(directoryOf().path, path.join(repository.path, "out"));
        repository.commit();
        const clone = new Clone(directoryOf().path, { address: repository.path, local: true });
        await clone.fetch(["refs/heads/main"]);
        const commit = await clone.commitOf("refs/heads/main");
        const provide = watchedSources(() => assert.fail("it is the watcher's"));
        const sourceIn = async (directory: string) => {
            const [watched] = await readWatched([`${repository.path}^main`], "/");
            assert.ok(watched);
            const secrets = cloneSecret({ ...watched, directory }, clone, commit);
            const request = { source: repository.path, config: {}, labels: {} } as BuildRequest;
            return provide(request, secrets, directoryOf().path, AbortSignal.timeout(20_000));
        };
        assert.ok(fs.existsSync(path.join((await sourceIn("sub/dir")).directory, "file")));
        assert.equal(path.basename((await sourceIn("none")).directory), "none");
        await refused(sourceIn("bare"), /bare git repository/);
        await refused(sourceIn("bare/dir"), /bare git repository/);
        await refused(sourceIn("link"), /bare git repository/);
        await refused(sourceIn("out"), /^the directory out of the repository is a link that leads out of it$/);
    });
});

function commandLine(pid: string): string {
    try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim();
    } catch {
        return "";
    }
}
