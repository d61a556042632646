import * as assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { Readable } from "node:stream";

import { UserError } from "../../contract/errors";
import type { Resolve } from "../../service/sources/addresses";
import { runGit } from "../../service/sources/gitProcess";
import { defaultSourceLimits } from "../../service/sources/policy";
import { prepareSource, type SourceTools } from "../../service/sources/prepare";
import { Uploads } from "../../service/sources/uploads";
import { resolveSource } from "../../source/resolve";
import { tarGzOf, zipOf } from "../helpers/archives";
import { GitServer } from "../helpers/gitServer";
import { SshGit } from "../helpers/sshGit";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void;

describe("the sources of a service's builds", () => {
    let scratch: TemporaryDirectory;
    let server: http.Server;
    let port: number;
    let handler: Handler;
    let asked: http.IncomingMessage[];
    let number = 0;

    beforeEach(async () => {
        scratch = new TemporaryDirectory();
        asked = [];
        server = http.createServer((request, response) => {
            asked.push(request);
            handler(request, response);
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        port = (server.address() as AddressInfo).port;
    });

    afterEach(async () => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
        scratch.remove();
    });

    const here: SourceTools = {
        limits: { ...defaultSourceLimits, archiveBytes: 1024 ** 2, seconds: 20 },
        policy: { allowSources: ["127.0.0.1"], localSources: false },
    };

    function prepare(source: string, more: Partial<SourceTools> = {}, ref = "") {
        return prepareSource(source, ref, path.join(scratch.path, "builds", String(++number), "source"), {
            ...here,
            ...more,
        });
    }

    function refused(source: string, message: RegExp, more: Partial<SourceTools> = {}, ref = "") {
        return assert.rejects(prepare(source, more, ref), (error: Error) => {
            assert.equal(error.name, "UserError", error.stack);
            assert.match(error.message, message);
            assert.ok(!error.message.includes("\n"), error.message);
            return true;
        });
    }

    const names = (directory: string) => fs.readdirSync(directory).sort();

    it("takes an archive from a web server, with redirects, and keeps it", async () => {
        const archive = await tarGzOf({ name: "repo/Makefile", content: "build:" });
        handler = (request, response) => {
            if (request.url === "/a?x=1") {
                response.writeHead(302, { Location: "/b" }).end();
            } else {
                response.end(archive);
            }
        };
        const prepared = await prepare(`http://user:secret@127.0.0.1:${port}/a?x=1`);
        assert.deepEqual(names(prepared.directory), ["Makefile"]);
        assert.deepEqual(fs.readFileSync(prepared.archive ?? ""), archive);
        assert.equal(fs.statSync(prepared.archive ?? "").mode & 0o777, 0o600);
        assert.equal(asked[1]?.headers.authorization, `Basic ${Buffer.from("user:secret").toString("base64")}`);
    });

    it("asks no address that is not public, however it is written", async () => {
        handler = (_, response) => response.end("metadata");
        const none = { policy: { allowSources: [], localSources: false } };
        const hosts = [
            "127.0.0.1",
            "localhost",
            "0x7f000001",
            "2130706433",
            "127.1",
            "0.0.0.0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::]",
            "[64:ff9b::7f00:1]",
        ];
        for (const host of hosts) {
            await refused(`http://${host}:${port}/`, /is not a public address/, none);
            await refused(`git+http://${host}:${port}/x`, /is not a public address/, none);
            await refused(`git://${host}:${port}/x`, /is not a public address/, none);
            await refused(`ssh://git@${host}:${port}/x`, /is not a public address/, none);
        }
        for (const host of ["localhost", "127.0.0.1"]) {
            await refused(`docker://${host}:${port}/a/b:c`, /is not a public address/, none);
        }
        await refused("http://169.254.169.254/latest/meta-data/", /169\.254\.169\.254 is not a public address/, none);
        assert.equal(asked.length, 0, "nothing was asked");
    });

    it("looks at the address of each redirect", async () => {
        // The first host is allowed by name; the second has the same address, and is not.
        const resolve: Resolve = () => Promise.resolve([{ address: "127.0.0.1", family: 4 }]);
        const policy = { allowSources: ["first.example"], localSources: false };
        for (const location of [
            `http://second.example:${port}/secret`,
            `http://127.0.0.1:${port}/secret`,
            `//0x7f.1:${port}/secret`,
        ]) {
            asked.length = 0;
            handler = (_, response) => response.writeHead(302, { Location: location }).end();
            await refused(`http://first.example:${port}/`, /is not a public address/, { policy, resolve });
            assert.equal(asked.length, 1);
        }
        handler = (_, response) => response.writeHead(302, { Location: "file:///etc/passwd" }).end();
        await refused(`http://127.0.0.1:${port}/`, /redirects to file:/);
        handler = (_, response) => response.writeHead(302, { Location: "/again" }).end();
        await refused(`http://127.0.0.1:${port}/`, /redirects more than 5 times/);
    });

    it("connects to the address that it has checked: a name that changes gains nothing", async () => {
        handler = (_, response) => response.end("metadata");
        let lookups = 0;
        // Public when it is first asked for, this machine's from then on.
        const resolve: Resolve = () =>
            Promise.resolve([{ address: ++lookups === 1 ? "203.0.114.1" : "127.0.0.1", family: 4 }]);
        const signal = AbortSignal.timeout(1500);
        await assert.rejects(
            prepare(`http://rebind.example:${port}/`, {
                policy: { allowSources: [], localSources: false },
                resolve,
                signal,
            }),
        );
        assert.equal(lookups, 1, "one look-up, and it is the one that is connected to");
        await refused(`http://rebind.example:${port}/`, /rebind\.example \(127\.0\.0\.1\) is not a public address/, {
            policy: { allowSources: [], localSources: false },
            resolve,
        });
        assert.equal(asked.length, 0);
    });

    it("does not give a credential to whom a server redirects to", async () => {
        const archive = await tarGzOf({ name: "x" });
        const other = http.createServer((request, response) => {
            asked.push(request);
            response.end(archive);
        });
        await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
        const location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/`;
        handler = (_, response) => response.writeHead(307, { Location: location }).end();
        try {
            await prepare(`http://user:secret@127.0.0.1:${port}/`);
        } finally {
            other.closeAllConnections();
            other.close();
        }
        assert.deepEqual(
            asked.map(({ headers }) => headers.authorization !== undefined),
            [true, false],
        );
    });

    it("ends at its limits: what is said, what is sent, and how long it takes", async () => {
        handler = (_, response) => response.writeHead(200, { "Content-Length": 1024 ** 3 }).write("x");
        await refused(`http://127.0.0.1:${port}/`, /the archive is larger than 1 MiB/);
        handler = (_, response) =>
            Readable.from(endless())
                .on("error", () => undefined)
                .pipe(response);
        await refused(`http://127.0.0.1:${port}/`, /the archive is larger than 1 MiB/);
        handler = (_, response) => response.writeHead(200).write("x");
        await refused(`http://127.0.0.1:${port}/`, /not there after 1 seconds/, {
            limits: { ...here.limits, seconds: 1 },
        });
        handler = (_, response) => {
            response.writeHead(200, { "Content-Length": 100 }).write("x");
            setTimeout(() => response.destroy(), 50);
        };
        await refused(`http://127.0.0.1:${port}/`, /the archive broke off/);
        handler = (_, response) => response.writeHead(404).end();
        await refused(`http://127.0.0.1:${port}/`, /answered HTTP 404/);
        const dead = (server.address() as AddressInfo).port;
        await new Promise((resolve) => server.close(resolve));
        await refused(`http://127.0.0.1:${dead}/`, /could not be reached: ECONNREFUSED/);
        await refused(
            "https://no-such-host.invalid/x.zip",
            /there is no host no-such-host\.invalid|could not be found/,
        );
    });

    it("takes archives that were uploaded, or come in the address", async () => {
        const uploads = new Uploads(path.join(scratch.path, "uploads"));
        const zip = zipOf({ name: "somedir/Dockerfile", content: "FROM scratch" });
        const { id, bytes } = await uploads.receive(Readable.from([zip]), 1024);
        assert.equal(bytes, zip.length);
        for (const source of [
            `upload:${id}`,
            `data:base64,${zip.toString("base64")}`,
            `data:application/zip;base64,${zip.toString("base64")}`,
        ]) {
            const { directory, archive } = await prepare(source, { uploads });
            assert.deepEqual(names(directory), ["Dockerfile"]);
            assert.deepEqual(fs.readFileSync(archive ?? ""), zip);
        }
        await assert.rejects(uploads.receive(Readable.from(endless()), 1024), /the upload is larger than 1 KiB/);
        assert.deepEqual(names(path.join(scratch.path, "uploads")), [id], "nothing is left of what was too large");
        await refused(`upload:${"0".repeat(32)}`, /there is no upload/, { uploads });
        await refused("data:base64,aasdfasdfasdfdsa", /no archive/);
        await refused(`upload:${id}`, /has none; leave it out/, { uploads }, "main");
        uploads.removeOlder(-1, (used) => used === id);
        assert.ok(uploads.find(id));
        uploads.removeOlder(-1, () => false);
        assert.throws(() => uploads.find(id), /there is no upload/);
    });

    it("takes a directory of this machine only where it may", async () => {
        await refused(scratch.path, /not allowed here/);
        const policy = { allowSources: [], localSources: true };
        assert.equal((await prepare(scratch.path, { policy }, "v1")).directory, scratch.path);
        await refused("relative/x", /relative directory/, { policy });
        await refused("/no/such", /there is no directory/, { policy });
    });

    describe("of a git server", () => {
        let remote: GitServer;
        let repository: TemporaryRepository;
        let commits: string[];

        beforeEach(async () => {
            remote = await GitServer.start("127.0.0.1");
            repository = new TemporaryRepository();
            commits = [];
            for (const text of ["one", "two", "three"]) {
                repository.file("Makefile", `build: # ${text}`);
                repository.commit(text);
                commits.push(repository.git("rev-parse", "HEAD"));
                if (text === "two") {
                    repository.git("tag", "-a", "v2", "-m", "two");
                    repository.git("branch", "side");
                }
            }
        });

        afterEach(async () => {
            await remote.stop();
            repository.remove();
        });

        it("makes a working copy of a branch, a tag, a commit, or what HEAD is", async () => {
            const address = await remote.push(repository, "repo");
            execFileSync("git", ["-C", remote.directoryOf("repo"), "symbolic-ref", "HEAD", "refs/heads/main"]);
            const cases: readonly (readonly [string, string, string])[] = [
                ["", commits[2] ?? "", ""],
                ["side", commits[1] ?? "", ""],
                ["refs/heads/main", commits[2] ?? "", ""],
                ["v2", commits[1] ?? "", "v2"],
                [commits[0] ?? "", commits[0] ?? "", ""],
                [commits[0]?.slice(0, 8) ?? "", commits[0] ?? "", ""],
            ];
            for (const [ref, commit, tag] of cases) {
                const prepared = await prepare(address, {}, ref);
                assert.equal(prepared.commit, commit, ref);
                assert.equal(prepared.buildTag, tag, ref);
                const resolved = resolveSource({
                    source: prepared.directory,
                    buildTag: prepared.buildTag,
                    projectDirectory: "/",
                });
                assert.equal(resolved.commit, commit);
                assert.equal(resolved.buildTag, tag || commit.slice(0, 7));
            }
            await refused(address, /no branch or tag `nothing`/, {}, "nothing");
            await refused(address, /no branch, tag or commit `0123456789`/, {}, "0123456789");
            await refused(address, /ref must be a branch/, {}, "--upload-pack=id");
            await refused(`git+${remote.origin}/missing.git`, /there is no git repository at 127\.0\.0\.1/);
        });

        it("has no history it does not need", async () => {
            const address = await remote.push(repository, "repo");
            const { directory } = await prepare(address, {}, "main");
            assert.equal(
                execFileSync("git", ["-C", directory, "rev-list", "--count", "HEAD"], { encoding: "utf8" }).trim(),
                "1",
            );
        });

        it("uses a credential, and leaves it nowhere", async () => {
            await remote.push(repository, "private");
            const address = remote.address("private");
            await refused(address, /wants a credential/, {}, "main");
            await refused(
                address.replace("//", "//x-access-token:wrong-secret@"),
                /wants a credential(?!.*wrong-secret)/,
                {},
                "main",
            );
            const { directory } = await prepare(
                address.replace("//", `//x-access-token:${remote.password}@`),
                {},
                "main",
            );
            assert.deepEqual(names(directory), [".git", "Makefile"]);
            const found = spawnSync("grep", ["-rlE", `${remote.password}|Authorization`, directory], {
                encoding: "utf8",
            });
            assert.equal(found.stdout, "");
        });

        it("runs no hook, filter or command of anybody, follows no redirect, and takes no submodule", async () => {
            repository.file(".gitattributes", "Makefile filter=tool\n");
            repository.commit("attributes");
            const address = await remote.push(repository, "repo");
            const home = scratch.file(
                "home/.gitconfig",
                `[filter "tool"]\n\tsmudge = touch ${scratch.path}/owned; cat\n[core]\n\thooksPath = ${scratch.path}/hooks\n[init]\n\ttemplateDir = ${scratch.path}/template\n`,
            );
            scratch.file("hooks/post-checkout", `#!/bin/sh\ntouch ${scratch.path}/owned\n`, 0o755);
            scratch.file("template/hooks/post-checkout", `#!/bin/sh\ntouch ${scratch.path}/owned\n`, 0o755);
            const before = {
                HOME: process.env["HOME"],
                GIT_CONFIG_GLOBAL: process.env["GIT_CONFIG_GLOBAL"],
                GIT_TEMPLATE_DIR: process.env["GIT_TEMPLATE_DIR"],
            };
            Object.assign(process.env, {
                HOME: path.dirname(home),
                GIT_CONFIG_GLOBAL: home,
                GIT_TEMPLATE_DIR: `${scratch.path}/template`,
            });
            try {
                await prepare(address, {}, "main");
            } finally {
                for (const [key, value] of Object.entries(before)) {
                    if (value === undefined) {
                        // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
                        delete process.env[key];
                    } else {
                        process.env[key] = value;
                    }
                }
            }
            assert.equal(fs.existsSync(path.join(scratch.path, "owned")), false);
            handler = (request, response) =>
                response.writeHead(302, { Location: `${remote.origin}${request.url ?? ""}` }).end();
            await refused(`http://127.0.0.1:${port}/repo.git`, /redirects, which git is not to follow/, {}, "main");
        });

        it("goes by ssh to the address that was checked, and to a host whose key is known", async function () {
            await remote.push(repository, "repo");
            const ssh = await SshGit.start("127.0.0.1", remote.directoryOf("repo"));
            if (!ssh) {
                this.skip();
            }
            const path_ = process.env["PATH"] ?? "";
            try {
                // The service's user's own key and hosts, which ssh takes from its home.
                const key = scratch.file("key", ssh.privateKey, 0o600);
                const hosts = scratch.file("known", "");
                scratch.file(
                    "bin/ssh",
                    `#!/bin/sh\nPATH='${path_}' exec ssh -F none -i ${key} -o UserKnownHostsFile=${hosts} -o GlobalKnownHostsFile=none "$@"\n`,
                    0o755,
                );
                process.env["PATH"] = `${scratch.path}/bin:${path_}`;
                await refused(ssh.address, /does not know the key of 127\.0\.0\.1/, {}, "side");
                fs.writeFileSync(hosts, ssh.knownHosts);
                assert.equal((await prepare(ssh.address, {}, "side")).commit, commits[1]);
                // Of a name nothing but the checked address is used: ssh itself would not find this one.
                fs.writeFileSync(hosts, ssh.knownHosts.replace("127.0.0.1", "git.example"));
                const named = ssh.address.replace("127.0.0.1", "git.example");
                const resolve: Resolve = () => Promise.resolve([{ address: "127.0.0.1", family: 4 }]);
                assert.equal((await prepare(named, { resolve }, "v2")).buildTag, "v2");
            } finally {
                process.env["PATH"] = path_;
                await ssh.stop();
            }
        });

        it("refuses a link that leads out, and more than the limits", async () => {
            fs.symlinkSync("../../../etc/passwd", path.join(repository.path, "link"));
            repository.commit("link");
            const address = await remote.push(repository, "repo");
            await refused(
                address,
                /a link that leads out of it: `link` to `\.\.\/\.\.\/\.\.\/etc\/passwd`/,
                {},
                "main",
            );
            const small = { limits: { ...here.limits, files: 1 } };
            await refused(address, /has 2 files, which is more than 1/, small, "main");
            fs.rmSync(path.join(repository.path, "link"));
            repository.file("large", "x".repeat(3 * 1024 ** 2));
            repository.commit("large");
            await remote.push(repository, "repo");
            await refused(
                address,
                /the source is larger than 2 MiB/,
                { limits: { ...here.limits, unpackedBytes: 2 * 1024 ** 2 } },
                "main",
            );
            fs.writeFileSync(path.join(repository.path, "noise"), randomBytes(3 * 1024 ** 2));
            repository.commit("noise");
            await remote.push(repository, "repo");
            await refused(address, /sends is larger than 1 MiB/, {}, "main");
        });
    });

    it("ends git when it says more than any source's listing has", async () => {
        const flood = ["-c", "alias.flood=!head -c 200000000 /dev/zero", "flood"];
        await assert.rejects(
            runGit(flood, scratch.path, [], here.limits, AbortSignal.timeout(20_000)),
            (error: Error) => {
                assert.ok(error instanceof UserError, String(error));
                assert.match(error.message, /^git says more than 128 MiB of the source/);
                return true;
            },
        );
    });

    function* endless() {
        for (;;) {
            yield Buffer.alloc(64 * 1024, "x");
        }
    }
});
