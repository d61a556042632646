import * as assert from "node:assert/strict";

import { UserError } from "../../contract/errors";
import { dnsLabel } from "../../contract/patterns";
import { laneName } from "../../service/watch/names";
import { parsePattern, shortRef } from "../../service/watch/patterns";
import { repositoryIdentity, splitWatched } from "../../service/watch/repository";

const repository = "https://github.com/kerbodyne/ke-1.git";

describe("the name of a watched branch's namespace", () => {
    const name = (branch: string, address = repository, owner = "o") =>
        laneName(owner, address, `refs/heads/${branch}`);

    it("says which repository and branch it is of", () => {
        assert.match(name("main"), /^ke1-ke-1-main-[0-9a-f]{8}$/);
        assert.match(name("feature/212_kops_1.11"), /^ke1-ke-1-feature-212-kops-1-11-[0-9a-f]{8}$/);
        assert.match(name("Größe-prüfen"), /^ke1-ke-1-gro-e-prufen-[0-9a-f]{8}$/);
        assert.match(laneName("o", "/home/me/ke-1", "refs/tags"), /^ke1-ke-1-tags-[0-9a-f]{8}$/);
    });

    it("is a DNS label, whatever the branch is called", () => {
        const odd = ["a".repeat(200), "功能/修复", "-x-", "a--b/--c", "UPPER_CASE", "x/".repeat(80) + "y", "1", "🚀"];
        for (const branch of odd) {
            for (const address of [repository, `https://git.example/${"long-name-".repeat(12)}`, "/srv/功能"]) {
                const made = name(branch, address);
                assert.match(made, dnsLabel);
                assert.match(made, /^ke1-.*[0-9a-f]{8}$/);
                assert.doesNotMatch(made, /--/);
            }
        }
        const long = name("b".repeat(200), `https://git.example/${"r".repeat(200)}`);
        assert.equal(long.length, 63);
        assert.match(long, /^ke1-r{20}-b{29}-/, "the repository's name leaves room for the branch's");
    });

    it("is never that of another branch, repository or watcher", () => {
        const names = [
            name("fix/a"),
            name("fix-a"),
            name("fix_a"),
            name("Fix-A"),
            name("fix/a", "https://github.com/other/ke-1.git"),
            name("fix/a", repository, "another"),
            name(`${"l".repeat(100)}1`),
            name(`${"l".repeat(100)}2`),
        ];
        assert.equal(new Set(names).size, names.length, names.join(" "));
        assert.equal(name("fix/a"), name("fix/a"), "and the same each time");
    });
});

describe("what is watched", () => {
    const matching = (pattern: string, ...refs: string[]) => refs.filter(parsePattern(pattern).matches).map(shortRef);

    it("is a branch, a tag, or all that a pattern matches", () => {
        const refs = ["refs/heads/main", "refs/heads/release/1", "refs/heads/tags/v1", "refs/tags/v1", "refs/tags/v10"];
        assert.deepEqual(matching("main", ...refs), ["main"]);
        assert.deepEqual(matching("*", ...refs), ["main", "release/1", "tags/v1"]);
        assert.deepEqual(matching("release/*", ...refs), ["release/1"]);
        assert.deepEqual(matching("*e*/?", ...refs), ["release/1"]);
        assert.deepEqual(matching("m?in", ...refs), ["main"]);
        assert.deepEqual(matching("m?n", ...refs), []);
        assert.deepEqual(matching("a*n", "refs/heads/an", "refs/heads/a"), ["an"]);
        assert.deepEqual(matching("ab*ba", "refs/heads/aba"), [], "one letter does not count twice");
        assert.deepEqual(matching("tags/v1", ...refs), ["tags/v1"]);
        assert.equal(parsePattern("tags/v1").ref, "refs/tags/v1");
        assert.deepEqual(matching("tags/v*", ...refs), ["tags/v1", "tags/v10"]);
        assert.equal(parsePattern("refs/heads/tags/v1").ref, "refs/heads/tags/v1");
    });

    it("takes no time to match, however many asterisks there are", () => {
        const started = performance.now();
        assert.deepEqual(matching("*a".repeat(90) + "b", `refs/heads/${"a".repeat(10_000)}`), []);
        assert.ok(performance.now() - started < 5000);
    });

    it("refuses what no branch is called", () => {
        for (const name of [
            "a b",
            "a..b",
            "~x",
            "x^",
            "x:y",
            "a[b]",
            "x.lock",
            "/x",
            "x/",
            "-x",
            ".x",
            "a/.b",
            "@{-1}",
            "tags/",
        ]) {
            assert.throws(() => parsePattern(name), UserError, name);
        }
    });

    it("is written REPO^BRANCH, split at the last ^", () => {
        assert.deepEqual(
            { ...splitWatched(".^feature/x"), pattern: splitWatched(".^feature/x").pattern.ref },
            { repository: ".", pattern: "refs/heads/feature/x" },
        );
        assert.equal(splitWatched("/a^b/c^main").repository, "/a^b/c");
        assert.equal(splitWatched("git@github.com:kerbodyne/ke-1.git").pattern.kind, "default");
        for (const wrong of ["^main", "repo^", "^", ""]) {
            assert.throws(() => splitWatched(wrong), UserError, wrong);
        }
    });

    it("knows a repository by each way to write its address", () => {
        const same = [
            repository,
            "https://GitHub.com/Kerbodyne/ke-1",
            "git@github.com:kerbodyne/ke-1.git",
            "ssh://git@github.com/kerbodyne/ke-1/",
            "https://github.com:443/kerbodyne/ke-1.git",
        ];
        assert.deepEqual([...new Set(same.map(repositoryIdentity))], ["github.com/kerbodyne/ke-1"]);
        assert.equal(repositoryIdentity("nonsense"), undefined);
        assert.equal(repositoryIdentity("https://github.com/"), undefined);
    });
});
