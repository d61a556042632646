import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { zstdCompressSync } from "node:zlib";

import { unpackArchive } from "../../service/sources/archive";
import { linkTarget } from "../../service/sources/treeWriter";
import { bombOf, tarGzOf, tarOf, zipOf } from "../helpers/archives";
import { TemporaryDirectory } from "../helpers/temporary";

const limits = { unpackedBytes: 10 * 1024 ** 2, files: 1000 };

describe("archives of sources", () => {
    let scratch: TemporaryDirectory;
    let number = 0;

    beforeEach(() => (scratch = new TemporaryDirectory()));
    afterEach(() => scratch.remove());

    async function unpack(content: Buffer | string, some = limits): Promise<string> {
        const file = typeof content === "string" ? content : scratch.file(`archive-${++number}`, "");
        if (typeof content !== "string") {
            fs.writeFileSync(file, content);
        }
        const directory = path.join(scratch.path, `tree-${++number}`);
        await unpackArchive(file, directory, some, new AbortController().signal);
        return directory;
    }

    /** The names and contents below a directory. */
    function content(directory: string): Readonly<Record<string, string>> {
        const found: Record<string, string> = {};
        for (const entry of fs.readdirSync(directory, { recursive: true, withFileTypes: true })) {
            const name = path.join(entry.parentPath, entry.name);
            if (!entry.isDirectory()) {
                found[path.relative(directory, name)] = entry.isSymbolicLink()
                    ? `-> ${fs.readlinkSync(name)}`
                    : fs.readFileSync(name, "utf8");
            }
        }
        return found;
    }

    it("unpacks tar, tar.gz, tar.zst and zip, whatever the file is called", async () => {
        const tar = await tarOf(
            { name: "a/run.sh", mode: 0o4755, content: "run" },
            { name: "a/b", type: "symlink", linkname: "run.sh" },
            { name: "c", type: "link", linkname: "a/run.sh" },
        );
        const expected = { "a/run.sh": "run", "a/b": "-> run.sh", c: "run" };
        for (const archive of [tar, await tarGzOf({ name: "x", content: "y" }), zstdCompressSync(tar)]) {
            const directory = await unpack(archive);
            if (fs.existsSync(path.join(directory, "a"))) {
                assert.deepEqual(content(directory), expected);
                assert.equal(fs.statSync(path.join(directory, "a/run.sh")).mode & 0o7777, 0o755, "no setuid");
            } else {
                assert.deepEqual(content(directory), { x: "y" });
            }
        }
        const zip = zipOf(
            { name: "a/run.sh", content: "run", mode: 0o104755 },
            { name: "a/b", content: "run.sh", mode: 0o120777 },
            { name: "d/", mode: 0o040755 },
        );
        const directory = await unpack(zip);
        assert.deepEqual(content(directory), { "a/run.sh": "run", "a/b": "-> run.sh" });
        assert.equal(fs.statSync(path.join(directory, "a/run.sh")).mode & 0o7777, 0o755);
    });

    it("is what the one directory of an archive holds, as git hosts make them", async () => {
        const host = await unpack(
            await tarGzOf(
                { name: "repo-main/", type: "directory" },
                { name: "repo-main/.gitignore", content: "x" },
                { name: "repo-main/Makefile", content: "all:" },
            ),
        );
        assert.deepEqual(content(host), { ".gitignore": "x", Makefile: "all:" });
        // What `tar` and `zip` themselves make.
        fs.mkdirSync(path.join(scratch.path, "made/src"), { recursive: true });
        fs.writeFileSync(path.join(scratch.path, "made/src/main.c"), "int main;");
        execFileSync("tar", ["-czf", path.join(scratch.path, "made.bin"), "-C", path.join(scratch.path, "made"), "."]);
        assert.deepEqual(content(await unpack(path.join(scratch.path, "made.bin"))), { "main.c": "int main;" });
    });

    it("refuses what would leave the directory", async () => {
        const outside = path.join(path.dirname(scratch.path), `outside-${process.pid}`);
        const cases: readonly (readonly [Buffer, RegExp])[] = [
            [await tarOf({ name: `../${path.basename(outside)}`, content: "x" }), /leads out of it: `\.\.\/outside/],
            [await tarOf({ name: "a/../../x", content: "x" }), /leads out of it/],
            [await tarOf({ name: outside, content: "x" }), /absolute name/],
            [await tarOf({ name: "C:\\x", content: "x" }), /absolute name/],
            [
                await tarOf({ name: "l", type: "symlink", linkname: "/etc/passwd" }),
                /link that leads out of it: `l` to `\/etc\/passwd`/,
            ],
            [await tarOf({ name: "l", type: "symlink", linkname: "../x" }), /link that leads out/],
            [await tarOf({ name: "d/l", type: "symlink", linkname: "x/../../../y" }), /link that leads out/],
            [
                await tarOf({ name: "l", type: "symlink", linkname: "." }, { name: "l/x", content: "x" }),
                /below `l`, which is no directory/,
            ],
            [await tarOf({ name: "h", type: "link", linkname: "../../etc/passwd" }), /leads out of it/],
            [await tarOf({ name: "h", type: "link", linkname: "nothing" }), /hard link/],
            [
                await tarOf(
                    { name: "s", type: "symlink", linkname: "." },
                    { name: "h", type: "link", linkname: "s/x" },
                ),
                /hard link/,
            ],
            [
                await tarOf({ name: "dev", type: "character-device", devmajor: 1, devminor: 3 }),
                /neither a file, a directory nor a link: `dev` \(character-device\)/,
            ],
            [await tarOf({ name: "f", type: "fifo" }), /fifo/],
            [await tarOf({ name: "p", pax: { path: "a\0b" }, content: "x" }), /NUL/],
            [zipOf({ name: "../x", content: "x" }), /leads out of it/],
            [zipOf({ name: "/x", content: "x" }), /absolute name/],
            [zipOf({ name: "a\\..\\..\\x", content: "x" }), /leads out of it/],
            [zipOf({ name: "a\0b", content: "x" }), /NUL/],
            [zipOf({ name: "l", content: "/etc/passwd", mode: 0o120777 }), /link that leads out/],
            [zipOf({ name: "l", content: ".", mode: 0o120777 }, { name: "l/x", content: "x" }), /no directory/],
            [zipOf({ name: "dev", mode: 0o020666 }), /neither a file/],
            [zipOf({ name: "x", content: "x", flags: 1 }), /encrypted zip/],
            [zipOf({ name: "x", content: "x".repeat(1000), claimed: 10 }), /broken zip/],
        ];
        for (const [archive, message] of cases) {
            await assert.rejects(unpack(archive), (error: Error) => {
                assert.match(error.message, message);
                assert.equal(error.name, "UserError", error.message);
                assert.ok(!error.message.includes("\n"));
                return true;
            });
        }
        assert.equal(fs.existsSync(outside), false);
        const left = fs.readdirSync(scratch.path).filter((name) => !name.startsWith("archive-"));
        assert.deepEqual(left, [], "nothing is left of an archive that was refused");
    });

    it("makes links so that they cannot lead out by way of another", () => {
        assert.equal(linkTarget("a/b", "../c"), "../c");
        assert.equal(linkTarget("a/b", "x/../c"), "c");
        assert.equal(linkTarget("y", "x/../z"), "z");
        assert.equal(linkTarget("y", "x/../../z"), undefined);
        assert.equal(linkTarget("y", ".."), undefined);
        assert.equal(linkTarget("y", ".git/config"), undefined);
        assert.equal(
            linkTarget("a/y", "/w/z", (target) => target.replace(/^\/w\//, "")),
            "../z",
        );
    });

    it("leaves out what git would run", async () => {
        const directory = await unpack(
            await tarOf(
                { name: "Makefile", content: "all:" },
                { name: ".git/config", content: "[core]\n\tfsmonitor = touch /tmp/owned" },
                { name: "sub/.GIT/hooks/post-checkout", mode: 0o755, content: "#!/bin/sh" },
                { name: "sub/x", content: "x" },
            ),
        );
        assert.deepEqual(content(directory), { Makefile: "all:", "sub/x": "x" });
        const bare = tarOf(
            { name: "HEAD", content: "ref: refs/heads/main" },
            { name: "objects/x" },
            { name: "refs/x" },
        );
        await assert.rejects(unpack(await bare), /bare git repository/);
        const linked = tarOf(
            { name: "HEAD", content: "ref: refs/heads/main" },
            { name: "commondir", content: "elsewhere" },
            { name: "config.worktree", content: "[core]\n\tfsmonitor = touch /tmp/owned" },
        );
        await assert.rejects(unpack(await linked), /bare git repository/);
    });

    it("ends at its limits: bytes, files, a bomb", async () => {
        await assert.rejects(
            unpack(await tarOf({ name: "x", content: "x".repeat(1025) }), { unpackedBytes: 1024, files: 10 }),
            /larger than 1 KiB/,
        );
        await assert.rejects(
            unpack(zipOf({ name: "x", content: "x".repeat(1025) }), { unpackedBytes: 1024, files: 10 }),
            /larger than 1 KiB/,
        );
        const many = Array.from({ length: 11 }, (_, index) => ({ name: `f${index}` }));
        await assert.rejects(unpack(await tarOf(...many), { unpackedBytes: 1024, files: 10 }), /more than 10 files/);
        const copies = Array.from({ length: 5 }, (_, index) => ({
            name: `c${index}`,
            type: "link" as const,
            linkname: "x",
        }));
        await assert.rejects(
            unpack(await tarOf({ name: "x", content: "x".repeat(300) }, ...copies), { unpackedBytes: 1024, files: 10 }),
            /larger than 1 KiB/,
        );
        const bomb = path.join(scratch.path, "bomb");
        await bombOf(bomb, 200 * 1024 ** 2);
        assert.ok(fs.statSync(bomb).size < 1024 ** 2);
        await assert.rejects(unpack(bomb), /larger than 10 MiB/);
        assert.deepEqual(
            fs.readdirSync(scratch.path).filter((name) => name.startsWith(".unpack")),
            [],
        );
    });

    it("says what it is that is no archive", async () => {
        const cases: readonly (readonly [Buffer, RegExp])[] = [
            [Buffer.from("<!DOCTYPE html><p>404"), /web page/],
            [Buffer.from(""), /is empty/],
            [Buffer.from("BZh91AY"), /bzip2/],
            [Buffer.from("hello"), /no archive; it must be tar, tar\.gz, tar\.zst or zip/],
            [(await tarGzOf({ name: "x", content: "y".repeat(9000) })).subarray(0, 60), /broken archive/],
            [zipOf({ name: "x", content: "y" }).subarray(0, 40), /broken zip/],
        ];
        for (const [archive, message] of cases) {
            await assert.rejects(unpack(archive), message);
        }
    });
});
