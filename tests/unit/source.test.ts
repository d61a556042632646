import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../../contract/errors";
import { findTarget } from "../../source/makefile";
import { plainImage } from "../../config/image";
import { planBuilds } from "../../source/plan";
import { resolveSource, resolveSources } from "../../source/resolve";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const inImage = {
    ...plainImage,
    sourceMode: "image",
    remote: "",
    toolchainDockerfile: "",
} as const;

describe("the source of a build", () => {
    let repository: TemporaryRepository;
    let project: TemporaryDirectory;

    beforeEach(() => {
        repository = new TemporaryRepository();
        project = new TemporaryDirectory();
    });
    afterEach(() => {
        repository.remove();
        project.remove();
    });

    const resolve = (more: { buildTag?: string; allowDirty?: boolean; source?: string } = {}) =>
        resolveSource({ source: repository.path, projectDirectory: project.path, ...more });

    it("is HEAD, labelled with its short hash", () => {
        repository.file("a", "1");
        const short = repository.commit();
        const found = resolve();
        assert.equal(found.buildTag, short);
        assert.equal(found.commit, repository.git("rev-parse", "HEAD"));
        assert.equal(found.tree, repository.git("rev-parse", "HEAD^{tree}"));
        assert.equal(found.sourceDateEpoch, Number(repository.git("show", "-s", "--format=%ct")));
        assert.deepEqual(found.notes, []);
    });

    it("is the commit of a tag, labelled with the tag, whatever the working tree is like", () => {
        repository.file("a", "1");
        repository.commit();
        repository.git("tag", "v1.0.2");
        repository.file("a", "2");
        repository.commit();
        repository.file("a", "uncommitted");
        const found = resolve({ buildTag: "v1.0.2" });
        assert.equal(found.buildTag, "v1.0.2");
        found.extract(path.join(project.path, "out"));
        assert.equal(fs.readFileSync(path.join(project.path, "out", "a"), "utf8"), "1");
    });

    it("labels a branch or a full hash with the short hash: only a tag stays what it is", () => {
        repository.file("a", "1");
        const short = repository.commit();
        assert.equal(resolve({ buildTag: "main" }).buildTag, short);
        assert.equal(resolve({ buildTag: repository.git("rev-parse", "HEAD") }).buildTag, short);
    });

    it("is several at once, each what it is alone, in their order", () => {
        repository.file("part/a", "1");
        repository.commit();
        repository.git("tag", "plain");
        repository.file("part/a", "2");
        repository.file("part/.gitmodules", "");
        const second = repository.commit();
        repository.git("tag", "--annotate", "--message=m", "annotated");
        repository.git("tag", "on/a-path");
        const source = path.join(repository.path, "part");
        const names = ["annotated", "main", "plain", second, "plain"];
        const found = resolveSources({ source, projectDirectory: project.path }, names);
        assert.deepEqual(
            found.map(({ buildTag, commit, tree, sourceDateEpoch, notes }) => [
                buildTag,
                commit,
                tree,
                sourceDateEpoch,
                notes.length,
            ]),
            names.map((name) => [
                name === "main" ? second : name,
                repository.git("rev-parse", `${name}^{commit}`),
                repository.git("rev-parse", `${name}:part`),
                Number(repository.git("show", "-s", "--format=%ct", `${name}^{commit}`)),
                name === "plain" ? 0 : 1,
            ]),
        );
        for (const name of ["no\nmain", "nowhere", "annotated~1 x", "tags/*", "-x", "HEAD:part", "on"]) {
            const asked = () => resolveSources({ source, projectDirectory: project.path }, ["plain", name]);
            assert.throws(
                asked,
                (error: Error) => error instanceof UserError && /no tag or commit/.test(error.message),
            );
        }
        assert.throws(() => resolve({ buildTag: "on/a-path" }), /the tag on\/a-path cannot be a BUILD_TAG/);
    });

    it("can be a directory of a repository: its own tree, and only its own changes count", () => {
        repository.file("part/a", "1");
        repository.file("other/b", "1");
        repository.commit();
        repository.file("other/b", "changed");
        const found = resolve({ source: path.join(repository.path, "part") });
        assert.equal(found.tree, repository.git("rev-parse", "HEAD:part"));
        found.extract(path.join(project.path, "out"));
        assert.deepEqual(fs.readdirSync(path.join(project.path, "out")), ["a"]);
    });

    it("gives the files the commit's time", () => {
        repository.file("a", "1");
        repository.commit();
        const found = resolve();
        found.extract(path.join(project.path, "out"));
        assert.equal(fs.statSync(path.join(project.path, "out", "a")).mtimeMs / 1000, found.sourceDateEpoch);
    });

    it("names uncommitted changes, and builds them when that is allowed", () => {
        repository.file("a", "1");
        const short = repository.commit();
        repository.file("a", "2");
        repository.file("new file", "3");
        assert.throws(
            () => resolve(),
            (error: Error) => error instanceof UserError && /uncommitted changes .*: a, new file;/.test(error.message),
        );
        const found = resolve({ allowDirty: true });
        assert.match(found.buildTag, new RegExp(`^${short}-[0-9a-f]{7}-dirty$`));
        found.extract(path.join(project.path, "out"));
        assert.equal(fs.readFileSync(path.join(project.path, "out", "new file"), "utf8"), "3");
        assert.equal(repository.git("status", "--porcelain"), 'M a\n?? "new file"'.trim(), "the index is untouched");
    });

    it("is called another name for each state of a dirty tree", () => {
        repository.file("a", "1");
        repository.commit();
        repository.file("a", "2");
        const first = resolve({ allowDirty: true }).buildTag;
        repository.file("a", "3");
        assert.notEqual(resolve({ allowDirty: true }).buildTag, first);
    });

    it("that is not under git is labelled with a hash of its content, and says so", () => {
        const plain = new TemporaryDirectory();
        try {
            plain.file("a", "1");
            plain.file(".gitignore", "ignored\n");
            const first = resolve({ source: plain.path });
            assert.match(first.buildTag, /^tree-[0-9a-f]{12}$/);
            assert.equal(first.commit, undefined);
            assert.match(first.notes.join(), /not under git/);
            plain.file("ignored", "x");
            assert.equal(resolve({ source: plain.path }).buildTag, first.buildTag, "what is ignored does not count");
            plain.file("a", "2");
            assert.notEqual(resolve({ source: plain.path }).buildTag, first.buildTag);
            resolve({ source: plain.path }).extract(path.join(project.path, "out"));
            assert.equal(fs.readFileSync(path.join(project.path, "out", "a"), "utf8"), "2");
            assert.equal(fs.existsSync(path.join(plain.path, ".git")), false);
        } finally {
            plain.remove();
        }
    });

    it("that lies ignored in another repository is not a part of that one", () => {
        repository.file(".gitignore", "unpacked/\n");
        repository.commit();
        repository.file("unpacked/a", "1");
        assert.match(resolve({ source: path.join(repository.path, "unpacked") }).buildTag, /^tree-/);
    });

    it("says the commit where the archive asks for it", () => {
        repository.file("part/.gitattributes", "version export-subst\n");
        repository.file("part/version", "$Format:%H$\n");
        repository.commit();
        resolve({ source: path.join(repository.path, "part") }).extract(path.join(project.path, "out"));
        const written = fs.readFileSync(path.join(project.path, "out", "version"), "utf8").trim();
        assert.equal(written, repository.git("rev-parse", "HEAD"));
    });

    it("does not mind changes when nobody wants to build", () => {
        repository.file("a", "1");
        const short = repository.commit();
        repository.file("a", "2");
        const found = resolveSource({ source: repository.path, projectDirectory: project.path, ignoreChanges: true });
        assert.equal(found.buildTag, short);
    });

    it("is the repository asked for, whatever GIT_DIR says", () => {
        const other = new TemporaryRepository();
        try {
            other.commit();
            repository.file("a", "1");
            const short = repository.commit();
            process.env["GIT_DIR"] = path.join(other.path, ".git");
            assert.equal(resolve().buildTag, short);
        } finally {
            delete process.env["GIT_DIR"];
            other.remove();
        }
    });

    describe("is refused in one line", () => {
        const refused = (run: () => unknown, pattern: RegExp) => {
            assert.throws(run, (error: Error) => {
                assert.ok(error instanceof UserError, `${error.name}: ${error.message}`);
                assert.match(error.message, pattern);
                assert.equal(error.message.includes("\n"), false);
                return true;
            });
        };

        it("when there is no such directory", () => {
            refused(() => resolve({ source: "/nowhere/at/all" }), /no directory \/nowhere\/at\/all/);
        });
        it("when it is a file", () => {
            refused(() => resolve({ source: repository.file("a") }), /is not a directory/);
        });
        it("when it is a remote address", () => {
            refused(() => resolve({ source: "https://example.com/x.git" }), /clone it/);
            refused(() => resolve({ source: "git@example.com:x.git" }), /clone it/);
        });
        it("when it is a bare repository", () => {
            repository.commit();
            refused(
                () => resolve({ source: path.join(repository.path, ".git") }),
                /bare repository, or inside of a \.git/,
            );
            repository.git("clone", "--quiet", "--bare", repository.path, path.join(project.path, "bare.git"));
            refused(() => resolve({ source: "bare.git" }), /bare\.git is a bare repository, or .*; give the directory/);
        });
        it("when it has the layout of one, and no command of its configuration is run", () => {
            repository.commit();
            repository.git("clone", "--quiet", "--bare", repository.path, path.join(project.path, "tree"));
            const ran = path.join(project.path, "ran");
            project.file(
                "tree/config",
                `[core]\nrepositoryformatversion = 0\nbare = false\nworktree = .\nfsmonitor = touch ${ran}; false\n`,
            );
            project.file("tree/sub/Makefile", "build:\n");
            for (const source of ["tree", "tree/sub"]) {
                refused(() => resolve({ source }), /has one's layout; give the directory of a checkout/);
            }
            assert.equal(fs.existsSync(ran), false);
        });
        it("when a repository in it would be left out", () => {
            const plain = new TemporaryDirectory();
            const inner = new TemporaryRepository();
            try {
                inner.file("a", "1");
                inner.commit();
                fs.cpSync(inner.path, path.join(plain.path, "inner"), { recursive: true });
                refused(() => resolve({ source: plain.path }), /inner in .* is a git repository of its own/);
            } finally {
                plain.remove();
                inner.remove();
            }
        });
        it("without a commit", () => {
            refused(() => resolve(), /no commit yet/);
        });
        it("with an unknown tag, or one that looks like an option", () => {
            repository.commit();
            refused(() => resolve({ buildTag: "v9" }), /no tag or commit v9/);
            refused(() => resolve({ buildTag: "--all" }), /no tag or commit --all/);
        });
        it("with a tag that cannot be a label", () => {
            repository.commit();
            repository.git("tag", "release/1");
            refused(() => resolve({ buildTag: "release/1" }), /cannot be a BUILD_TAG/);
        });
        it("when the directory is not in the commit", () => {
            repository.commit();
            repository.file("part/a", "1");
            refused(
                () => resolve({ source: path.join(repository.path, "part") }),
                /uncommitted changes|has no directory/,
            );
        });
        it("when the repository belongs to another user", function () {
            if (process.getuid?.() !== 0) {
                this.skip();
            }
            repository.file("a", "1");
            repository.commit();
            fs.chownSync(repository.path, 12345, 12345);
            fs.chownSync(path.join(repository.path, ".git"), 12345, 12345);
            refused(() => resolve(), /belongs to another user; .*safe\.directory/);
        });
        it("without a Dockerfile, without a build target, and when two tags are one commit", () => {
            const plan = (buildTags: string[], command: string[] = []) =>
                planBuilds(
                    {
                        source: repository.path,
                        buildTags,
                        allowDirty: false,
                        dockerfile: "Dockerfile",
                        command,
                        image: "",
                        pipeline: "",
                        pipelineVariables: {},
                        ...inImage,
                    },
                    project.path,
                );
            repository.file("Makefile", "all:\n\ttrue\n");
            repository.commit();
            refused(() => plan([""]), /has no Dockerfile/);
            repository.file("Dockerfile", "FROM scratch\n");
            repository.commit();
            refused(() => plan([""]), /no Makefile with a `build` target/);
            assert.deepEqual(plan([""], ["make", "all"])[0]?.command, ["make", "all"]);
            repository.file("Makefile", "build:\n\ttrue\n");
            const short = repository.commit();
            refused(() => plan(["main", short]), /same commit/);
            const [planned] = plan([""]);
            assert.equal(planned!.usesBuildWrapper, false, "no build-wrapper target: the build is wrapped for it");
            assert.match(planned!.context, /^\.ke1\/contexts\/[0-9a-f]{40}-[0-9a-f]{8}$/);
        });
    });
});

describe("the labels of an image", () => {
    const project = new TemporaryDirectory();
    let repository: TemporaryRepository;
    beforeEach(() => {
        repository = new TemporaryRepository();
    });
    afterEach(() => repository.remove());
    after(() => project.remove());

    function labelsOf(dockerfile = "FROM scratch"): string {
        repository.file("Dockerfile", dockerfile);
        repository.file("Makefile", "build:\n\ttrue\n");
        repository.commit();
        const settings = {
            buildTags: [""],
            allowDirty: false,
            dockerfile: "Dockerfile",
            command: [],
            image: "",
            pipeline: "",
            pipelineVariables: {},
            ...inImage,
        };
        const [plan] = planBuilds({ ...settings, source: repository.path }, project.path);
        return fs.readFileSync(path.join(project.path, plan!.context, "Dockerfile"), "utf8");
    }

    it("name the commit, its time, the BUILD_TAG, and where it can be had", () => {
        repository.git("remote", "add", "origin", "git@github.com:kerbodyne/ke-1.git");
        const [first, label, ...more] = labelsOf().split("\n");
        assert.equal(first, "FROM scratch");
        assert.deepEqual(more, [""]);
        const commit = repository.git("rev-parse", "HEAD");
        const created = new Date(Number(repository.git("show", "-s", "--format=%ct")) * 1000).toISOString();
        assert.equal(
            label,
            `LABEL org.opencontainers.image.version="${repository.git("rev-parse", "--short", "HEAD")}"` +
                ` org.opencontainers.image.revision="${commit}" org.opencontainers.image.created="${created}"` +
                ' org.opencontainers.image.source="https://github.com/kerbodyne/ke-1"',
        );
    });
    it("are the same however the repository was cloned, and without what was in its address", () => {
        repository.git("remote", "add", "origin", "x");
        for (const address of [
            "https://github.com/kerbodyne/ke-1",
            "https://octocat:ghp_secret@github.com/kerbodyne/ke-1.git",
            "ssh://git@github.com:22/kerbodyne/ke-1.git",
            "github.com:kerbodyne/ke-1",
        ]) {
            repository.git("remote", "set-url", "origin", address);
            assert.match(labelsOf(), /image\.source="https:\/\/github\.com\/kerbodyne\/ke-1"\n$/, address);
        }
        for (const address of ["/srv/git/ke-1.git", "../ke-1", "file:///srv/ke-1"]) {
            repository.git("remote", "set-url", "origin", address);
            assert.doesNotMatch(labelsOf(), /image\.source/, address);
        }
    });
    it("leave a file alone that the Dockerfile links to outside of the tree", () => {
        const outside = new TemporaryDirectory();
        outside.file("Dockerfile", "FROM scratch\n");
        fs.symlinkSync(path.join(outside.path, "Dockerfile"), path.join(repository.path, "Linked"));
        repository.file("Makefile", "build:\n\ttrue\n");
        repository.commit();
        const settings = {
            buildTags: [""],
            allowDirty: false,
            dockerfile: "Linked",
            command: [],
            image: "",
            pipeline: "",
            pipelineVariables: {},
            ...inImage,
        };
        planBuilds({ ...settings, source: repository.path }, project.path);
        assert.equal(fs.readFileSync(path.join(outside.path, "Dockerfile"), "utf8"), "FROM scratch\n");
        outside.remove();
    });
});

describe("the targets of a Makefile", () => {
    let directory: TemporaryDirectory;
    beforeEach(() => {
        directory = new TemporaryDirectory();
    });
    afterEach(() => directory.remove());

    const found = (makefile: string, target = "build") => {
        directory.file("Makefile", makefile);
        return findTarget(directory.path, target);
    };

    it("are found in rules, also of several targets, double-colon rules and included files", () => {
        assert.equal(found("build: x\n"), "yes");
        assert.equal(found("all build:\n"), "yes");
        assert.equal(found("build::\n"), "yes");
        directory.file("more.mk", "build-wrapper:\n");
        assert.equal(found("include more.mk\n", "build-wrapper"), "yes");
        assert.equal(found("-include missing.mk more.mk\n", "build-wrapper"), "yes");
    });
    it("are not variables, recipes, comments or declarations", () => {
        assert.equal(found("build := 1\nbuild ::= 2\nbuild = 3\n"), "no");
        assert.equal(found("all:\n\tbuild: x\n"), "no");
        assert.equal(found("# build: x\n"), "no");
        assert.equal(found(".PHONY: build\n"), "no");
        assert.equal(found("rebuild: x\n"), "no");
    });
    it("are unknown where only make could tell", () => {
        assert.equal(found("include mk/*.mk\n"), "unknown");
        assert.equal(found("include $(TOP)/rules.mk\n"), "unknown");
        assert.equal(found("$(TARGETS): x\n"), "unknown");
        assert.equal(found("%:\n\ttrue\n"), "unknown");
        assert.equal(found("$(eval $(call rule,build))\n"), "unknown");
        assert.equal(found("include mk/*.mk\nbuild:\n"), "yes");
    });
    it("are unknown where a file is not the source's, or no text of a person's", () => {
        const outside = new TemporaryDirectory();
        try {
            const rules = outside.file("rules.mk", "build:\n");
            assert.equal(found(`include ${rules}\n`), "unknown");
            assert.equal(found(`include ../${path.basename(outside.path)}/rules.mk\n`), "unknown");
            fs.symlinkSync(rules, path.join(directory.path, "link.mk"));
            assert.equal(found("include link.mk\n"), "unknown");
            directory.file("large.mk", `build:\n${"#".repeat(1024 ** 2)}`);
            assert.equal(found("include large.mk\n"), "unknown");
            assert.equal(found("include .\n"), "unknown", "no regular file");
            directory.file("sub/rules.mk", "build:\n");
            assert.equal(found(`include ${directory.path}/sub/../sub/rules.mk\n`), "yes");
        } finally {
            outside.remove();
        }
    });
    it("of files that include each other end", () => {
        directory.file("more.mk", "include Makefile\n");
        assert.equal(found("include more.mk\n"), "no");
    });
});
