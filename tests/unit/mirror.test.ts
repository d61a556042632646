import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { readSettings } from "../../config";
import { planMirrors } from "../../config/mirror";
import { UserError } from "../../contract/errors";
import { sourceFailure } from "../../launcher/sourceFailure";
import { outcomeOfFailedJob, phaseOf } from "../../launcher/podStatus";
import { plainImage } from "../../config/image";
import { planBuilds } from "../../source/plan";
import { mirrorName, parseRemote } from "../../source/remote";
import type { ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const base = `localhost:5001/base@${testDigest}`;
const own = {
    kubeContext: "kind-kind",
    registry: "localhost:5001",
    blobEndpoint: "http://10.77.0.1:10000/ke1dev",
    baseImage: base,
    exporterImage: `localhost:5001/ke-1-exporter@${testDigest}`,
};

function refused(attempt: () => unknown, message: RegExp): void {
    assert.throws(attempt, (error: unknown) => {
        assert.ok(error instanceof UserError, String(error));
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
    });
}

describe("the configuration of mirrors", () => {
    const settings = (config: Record<string, string>) => {
        const all: Record<string, string> = { ...own, ...config };
        return readSettings({ get: (key) => all[key] }, { project: "ke-1-build", stack: "dev" }, {});
    };
    const plan = (config: Record<string, string>, checkedOut: string[] = []) =>
        planMirrors(settings(config), checkedOut);
    const list = (...remotes: string[]) => JSON.stringify(remotes);

    it("is none by default", () => {
        assert.equal(plan({}), undefined);
        assert.equal(settings({}).mirrorDirectory, "");
    });

    it("takes a repository's address in each of its forms as one", () => {
        for (const [written, address] of [
            ["https://github.com/kerbodyne/ke-1.git", "https://github.com/kerbodyne/ke-1.git"],
            ["https://me@github.com/kerbodyne/ke-1/", "https://github.com/kerbodyne/ke-1"],
            ["git@github.com:kerbodyne/ke-1.git", "ssh://git@github.com/kerbodyne/ke-1.git"],
            ["ssh://git@git.kerbodyne.example:2222/~x/ke-1", "ssh://git@git.kerbodyne.example:2222/~x/ke-1"],
            ["git://10.77.0.1/ke-1.git", "git://10.77.0.1/ke-1.git"],
            ["http://10.77.0.1:8080/ke-1.git", "http://10.77.0.1:8080/ke-1.git"],
        ] as const) {
            assert.equal(parseRemote(written, "remote"), address);
        }
    });

    it("refuses what pods cannot reach, what anybody could change on the way, and what is no address", () => {
        for (const [remote, why] of [
            ["/srv/ke-1.git", /must be an https, ssh or git address that pods can reach/],
            ["../ke-1", /must be an https, ssh or git address/],
            ["file:///srv/ke-1.git", /must be an https, ssh or git address/],
            ["ext::sh -c id", /must be/],
            ["https://me:secret@github.com/ke-1", /has a password in it; put it in a Secret, and set mirrorSecret/],
            ["http://github.com/ke-1", /must begin with https:\/\/ or ssh:\/\/, as github\.com is not in a private/],
            ["git://github.com/ke-1", /must begin with https/],
            ["https://github.com/ke-1?x=1", /plain characters/],
            ["https://github.com", /plain characters/],
            ["ssh://-oProxyCommand=id/x", /./],
            ["git@github.com:a?b", /plain characters/],
        ] as const) {
            refused(() => parseRemote(remote, "remote"), why);
        }
        assert.doesNotMatch(
            messageOf(() => parseRemote("https://me:secret@github.com/x", "remote")),
            /secret@/,
        );
    });

    it("names a mirror after its repository, and never two alike", () => {
        assert.match(
            mirrorName("https://github.com/kerbodyne/ke-1.git"),
            /^github\.com-kerbodyne-ke-1-[0-9a-f]{8}\.git$/,
        );
        assert.notEqual(mirrorName("https://github.com/a/b-c"), mirrorName("https://github.com/a-b/c"));
        assert.match(mirrorName(`https://x.example/${"é../".repeat(40)}`), /^[a-z0-9][a-z0-9.-]{1,80}$/);
    });

    it("sends a password to one host", () => {
        const secret = { mirrorSecret: "git" };
        const github = "https://github.com/a";
        assert.equal(plan({ mirrors: list(github) })?.secretOrigin, "", "without a Secret there is none");
        assert.equal(plan({ ...secret, mirrors: list(github, "git@x:y") })?.secretOrigin, "https://github.com");
        assert.equal(plan({ ...secret, mirrors: list("git@x:y") })?.secretOrigin, "");
        const two = { ...secret, mirrors: list(github, "https://gitlab.com/b") };
        refused(() => plan(two), /are at https:\/\/github\.com and https:\/\/gitlab\.com; set mirrorSecretOrigin/);
        assert.equal(plan({ ...two, mirrorSecretOrigin: "https://gitlab.com" })?.secretOrigin, "https://gitlab.com");
        refused(() => plan({ ...two, mirrorSecretOrigin: "https://evil" }), /where none of the remotes is/);
        refused(() => plan({ ...two, mirrorSecretOrigin: "github.com" }), /must be a scheme and a host/);
    });

    it("refuses what cannot be", () => {
        refused(() => settings({ sourceMode: "mirrors" }), /sourceMode must be image or mirror/);
        refused(() => settings({ remote: "https://x.example/y" }), /remote is for sourceMode mirror/);
        refused(() => settings({ toolchainDockerfile: "D" }), /toolchainDockerfile is for sourceMode mirror/);
        const mirror = { sourceMode: "mirror", image: base, toolchainDockerfile: "D" };
        refused(() => settings(mirror), /set either image or toolchainDockerfile/);
        refused(() => settings({ mirrors: list("git@x:y", "ssh://git@x/y") }), /mirrors names ssh:\/\/git@x\/y twice/);
        refused(() => settings({ mirrors: "git@x:y" }), /mirrors must be a list of strings/);
        refused(() => settings({ mirrorInterval: "1" }), /mirrorInterval must be a whole number from 5/);
        refused(() => settings({ mirrorSize: "much" }), /mirrorSize must be a quantity/);
        refused(() => settings({ mirrorImage: "git:latest" }), /mirrorImage must be an image by digest/);
        refused(() => settings({ mirrorAddresses: list("10.0.0.0") }), /each of mirrorAddresses must be a CIDR block/);
        const tag = { baseImage: "gcc:14" };
        refused(
            () => plan({ ...tag, mirrors: list("git@x:y") }),
            /mirrorImage is not set; it must be an image with git/,
        );
        refused(
            () => plan({ ...tag, mirrorImage: base, sourceMode: "mirror" }, ["ssh://x/y"]),
            /needs a toolchain: set image/,
        );
        assert.equal(plan({ ...tag, mirrorImage: base, mirrors: list("git@x:y") })?.image, base);
    });
});

describe("a source that comes from a mirror", () => {
    let repository: TemporaryRepository;
    let project: TemporaryDirectory;
    beforeEach(() => {
        repository = new TemporaryRepository();
        project = new TemporaryDirectory();
        repository.file("sub/Makefile", "build:\n");
        repository.file("toolchain/Dockerfile", "FROM scratch\n");
        repository.commit();
    });
    afterEach(() => {
        repository.remove();
        project.remove();
    });
    const plan = (
        more: {
            source?: string;
            remote?: string;
            allowDirty?: boolean;
            toolchainDockerfile?: string;
            buildArgs?: Readonly<Record<string, string>>;
            noCache?: boolean;
        } = {},
    ) =>
        planBuilds(
            {
                ...{
                    source: repository.path,
                    buildTags: [""],
                    allowDirty: false,
                    dockerfile: "Dockerfile",
                    command: [],
                },
                ...{ image: "", pipeline: "", pipelineVariables: {}, ...plainImage },
                ...{ sourceMode: "mirror", remote: "", toolchainDockerfile: "", ...more },
            },
            project.path,
        )[0]!;

    it("is the commit, its directory's tree, and `origin` without what a person's clone has in it", () => {
        repository.git("remote", "add", "origin", "https://me:token@github.com/kerbodyne/ke-1.git");
        const { checkout, context, command, notes } = plan({ source: `${repository.path}/sub` });
        assert.deepEqual(checkout, {
            remote: "https://github.com/kerbodyne/ke-1.git",
            mirror: mirrorName("https://github.com/kerbodyne/ke-1.git"),
            commit: repository.git("rev-parse", "HEAD"),
            tree: repository.git("rev-parse", "HEAD:sub"),
            prefix: "sub",
        });
        assert.equal(context, "");
        assert.deepEqual(command, ["make", "build"]);
        assert.deepEqual(notes, []);
    });

    it("has a toolchain that is the same for all commits with one Dockerfile, and nothing in it but that", () => {
        const more = { remote: "https://github.com/kerbodyne/ke-1.git", toolchainDockerfile: "toolchain/Dockerfile" };
        const first = plan(more);
        repository.file("sub/Makefile", "build:\n\ttrue\n");
        repository.commit();
        assert.equal(plan(more).context, first.context);
        assert.match(first.context, /^\.ke1\/contexts\/toolchain-[0-9a-f]{12}$/);
        repository.file("toolchain/Dockerfile", "FROM scratch\nENV A=b\n");
        repository.commit();
        assert.notEqual(plan(more).context, first.context);
        const given = plan({ ...more, buildArgs: { A: "1" }, noCache: true });
        assert.equal(
            fs.readFileSync(path.join(project.path, given.context, "Dockerfile"), "utf8"),
            "FROM scratch\nARG A\nARG KE1_NO_CACHE\nENV A=b\n",
        );
        assert.notEqual(plan({ ...more, buildArgs: { A: "2" }, noCache: true }).context, given.context);
        refused(() => plan({ ...more, toolchainDockerfile: "none" }), /has no none; add it, or set image/);
    });

    it("must be somewhere else too", () => {
        refused(() => plan(), /has no remote `origin`; set remote/);
        repository.git("remote", "add", "origin", "/srv/ke-1.git");
        refused(() => plan(), /remote, which is that of `origin`, must be an https, ssh or git address/);
        const remote = "https://github.com/kerbodyne/ke-1.git";
        repository.file("sub/Makefile", "build:\n\ttrue\n");
        refused(() => plan({ remote, allowDirty: true }), /uncommitted changes in .* cannot be had from a remote/);
        refused(() => plan({ remote, source: project.path }), /is not under git; sourceMode mirror builds commits/);
        repository.git("checkout", "--quiet", ".");
        repository.git("update-ref", "refs/remotes/origin/main", "HEAD");
        assert.deepEqual(plan({ remote }).notes, []);
        repository.commit();
        assert.match(plan({ remote }).notes.join(), /is on no branch of a remote .*: the build needs it pushed/);
    });
});

describe("a program with mirrors", () => {
    let run: ProgramRun;
    let repository: TemporaryRepository;
    const home = new TemporaryDirectory();

    before(async function () {
        this.timeout(60_000);
        repository = new TemporaryRepository();
        buildableRepository(repository);
        repository.git("remote", "add", "origin", "https://git.kerbodyne.example/ke-1.git");
        run = await runProgram({
            config: {
                ...own,
                sourceMode: "mirror",
                mirrors: JSON.stringify(["git@10.1.2.3:other.git"]),
                mirrorSecret: "git-access",
                mirrorStorageClass: "azurefile-premium",
                mirrorAddresses: JSON.stringify(["10.1.0.0/16"]),
                mirrorImage: `localhost:5001/git@${testDigest}`,
                deadlineSeconds: "1000",
            },
            environment: { SOURCE: repository.path, BUILD_TAG: "", KE1_HOME: home.path },
        });
    });
    after(() => {
        repository.remove();
        home.remove();
    });

    const syncer = () => run.one("kubernetes:apps/v1:StatefulSet").spec;
    const job = () => run.one("kubernetes:batch/v1:Job").spec;
    const pod = () => job().template.spec;
    const named = (containers: any[], name: string) => containers.find((found) => found.name === name);
    const mountsOf = (container: any) =>
        Object.fromEntries(container.volumeMounts.map((mount: any) => [mount.name, mount.readOnly ?? false]));
    const envOf = (container: any) => Object.fromEntries(container.env.map((entry: any) => [entry.name, entry.value]));

    it("has one syncer, which alone can write to the volume, and may do nothing in the cluster", () => {
        const { template, replicas } = syncer();
        assert.equal(replicas, 1);
        assert.equal(template.spec.automountServiceAccountToken, false);
        assert.equal(
            run.one("kubernetes:core/v1:ServiceAccount", "mirror-service-account").automountServiceAccountToken,
            false,
        );
        assert.equal(run.all("kubernetes:rbac.authorization.k8s.io/v1:Role").length, 0);
        assert.equal(mountsOf(template.spec.containers[0]).mirrors, false);
        for (const container of [named(pod().containers, "build"), named(pod().initContainers, "source")]) {
            assert.equal(mountsOf(container).mirrors, true, container.name);
        }
        assert.equal(mountsOf(named(pod().containers, "exporter")).mirrors, undefined);
        const volume = pod().volumes.find(({ name }: any) => name === "mirrors");
        assert.equal(volume.persistentVolumeClaim.readOnly, true);
    });

    it("runs pods that Pod Security `restricted` admits, by digest", () => {
        for (const spec of [syncer().template.spec, pod()]) {
            assert.equal(spec.securityContext.runAsNonRoot, true);
            assert.equal(spec.securityContext.seccompProfile.type, "RuntimeDefault");
            for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
                assert.match(container.image, /@sha256:[0-9a-f]{64}$/);
                assert.equal(container.securityContext.allowPrivilegeEscalation, false);
                assert.deepEqual(container.securityContext.capabilities, { drop: ["ALL"] });
                assert.ok(container.resources.limits.memory, container.name);
            }
        }
    });

    it("gives the credential to syncer and source, and never to the build", () => {
        assert.equal(mountsOf(syncer().template.spec.containers[0])["git-secret"], true);
        assert.equal(mountsOf(named(pod().initContainers, "source"))["git-secret"], true);
        for (const container of pod().containers) {
            assert.equal(mountsOf(container)["git-secret"], undefined, container.name);
            assert.equal(envOf(container).KE1_GIT_SECRET, undefined);
        }
        assert.equal(envOf(named(pod().initContainers, "source")).KE1_GIT_ORIGIN, "https://git.kerbodyne.example");
    });

    it("builds in a toolchain image, in the working copy of the commit", () => {
        const build = named(pod().containers, "build");
        assert.equal(build.image, base);
        assert.equal(run.all("docker:index/image:Image").length, 0);
        assert.equal(build.workingDir, "/ke1/source/work");
        const env = envOf(named(pod().initContainers, "source"));
        assert.equal(env.KE1_COMMIT, repository.git("rev-parse", "HEAD"));
        assert.equal(env.KE1_TREE, repository.git("rev-parse", "HEAD^{tree}"));
        assert.equal(env.KE1_REMOTE, "https://git.kerbodyne.example/ke-1.git");
        const { data } = run.one("kubernetes:core/v1:ConfigMap", "mirror-programs");
        assert.equal(
            data.mirrors,
            `${env.KE1_MIRROR} ${env.KE1_REMOTE}\n${mirrorName("ssh://git@10.1.2.3/other.git")} ssh://git@10.1.2.3/other.git\n`,
        );
    });

    it("keeps what a build may need for longer than the build may take", () => {
        assert.ok(
            Number(envOf(syncer().template.spec.containers[0]).KE1_KEEP) >= Number(job().activeDeadlineSeconds) + 60,
        );
    });

    it("lets the syncer out to all remotes, builds to their own, and nobody to more", () => {
        const policy = (name: string) => run.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", name).spec;
        const places = (spec: any) =>
            spec.egress.map(({ to, ports }: any): unknown[] => [
                to.map(({ ipBlock }: any) => ipBlock?.cidr ?? "dns"),
                ports[0].port,
            ]);
        const named = [["0.0.0.0/0", "10.1.0.0/16"], 443];
        assert.deepEqual(places(policy("mirror-egress")), [named, [["10.1.2.3/32"], 22], [["dns"], 53]]);
        assert.deepEqual(places(policy("mirror-source-egress")), [named, [["dns"], 53]]);
        assert.deepEqual(policy("mirror-egress").podSelector.matchLabels, { "app.kubernetes.io/component": "mirror" });
        const { matchLabels } = policy("mirror-source-egress").podSelector;
        assert.deepEqual(matchLabels, { "ke1.dev/source": "mirror" });
        assert.equal(job().template.metadata.labels["ke1.dev/source"], "mirror");
        assert.equal(pod().dnsPolicy, "ClusterFirst");
    });

    it("has a volume that many nodes can mount, in the class that was given, and room for it in the quota", () => {
        const claim = run.one("kubernetes:core/v1:PersistentVolumeClaim").spec;
        assert.deepEqual(claim.accessModes, ["ReadWriteMany"]);
        assert.equal(claim.storageClassName, "azurefile-premium");
        assert.equal(claim.resources.requests.storage, "10Gi");
        assert.equal(run.all("kubernetes:core/v1:PersistentVolume").length, 0);
        const { hard } = run.one("kubernetes:core/v1:ResourceQuota").spec;
        assert.deepEqual([hard.persistentvolumeclaims, hard.pods], ["1", "101"]);
    });

    it("does not try again to get what the remote does not have", () => {
        const [, rule] = job().podFailurePolicy.rules;
        assert.deepEqual(rule, {
            action: "FailJob",
            onExitCodes: { containerName: "source", operator: "In", values: [3] },
        });
    });
});

describe("a build without a source", () => {
    const pod = (state: object) => ({
        spec: { nodeName: "n" },
        status: { initContainerStatuses: [{ name: "source", state }] },
    });
    const failed = (message: string, more: object = {}) =>
        pod({ terminated: { exitCode: 3, message, ...more } }) as never;

    it("is told in the words of who could not get it", () => {
        const message =
            "ke1: source: there is no mirror of x yet\nwarning: noise\nke1: source: x has no commit y: push it first\n";
        const expected = "the source could not be had: there is no mirror of x yet; x has no commit y: push it first";
        assert.equal(sourceFailure(failed(message)), expected);
        const outcome = outcomeOfFailedJob({ status: { conditions: [] } }, failed(message));
        assert.deepEqual(outcome, { outcome: "BuildFailed", message: expected });
        assert.equal(sourceFailure(failed("sh: no such file\n")), "the source could not be had: sh: no such file");
        assert.match(sourceFailure(failed("", { reason: "OOMKilled" })) ?? "", /git used more memory than memoryLimit/);
        assert.equal(sourceFailure(pod({ terminated: { exitCode: 0 } }) as never), undefined);
    });

    it("takes its time while it is being had, and is given up when its image cannot be", () => {
        assert.equal(phaseOf(pod({ running: {} }) as never).name, "fetching");
        assert.equal(phaseOf(pod({ waiting: { reason: "ErrImagePull" } }) as never).name, "pullFailing");
    });
});

function messageOf(attempt: () => unknown): string {
    try {
        attempt();
        return "";
    } catch (error) {
        return String(error);
    }
}
