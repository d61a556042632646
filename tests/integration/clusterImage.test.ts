import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { V1Job, V1Pod } from "@kubernetes/client-node";

import { imageJob } from "../../launcher/imageJob";
import { ke1Home } from "../../platform/home";
import type { ImageRegistryCredential } from "../../platform/imageRegistry";
import { BuildableRepository, smallBuild } from "../helpers/buildable";
import { kubectl, platform, projectDirectory, TemporaryStack } from "../helpers/ke1";
import { api } from "../helpers/prepared";

/** The toolchain is made after a WORKDIR, whose directory BuildKit gives the time of SOURCE_DATE_EPOCH. */
const dockerfile = (toolchain: string) => `ARG BASE_IMAGE
FROM \${BASE_IMAGE}
WORKDIR /src
RUN echo made the toolchain && ${toolchain}
COPY --chown=65532:65532 . .
RUN chown 65532:65532 .
USER 65532:65532
ARG SOURCE_DATE_EPOCH
ENV SOURCE_DATE_EPOCH=\${SOURCE_DATE_EPOCH}
ENTRYPOINT ["make", "build-wrapper"]
`;

/** Looks for what a command of a Dockerfile's could do harm with. */
const lookingAround = [
    "mkdir /opt/toolchain",
    "id -u",
    "cat /proc/self/uid_map",
    "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/environ; ls $p/root/run/buildkit $p/root/ke1; done 2>/dev/null",
    "env",
    "ls /var/run/docker.sock /run/secrets /ke1 2>&1 | grep -v 'No such file'",
    "(mount -t tmpfs none /mnt || unshare -U true) 2>/dev/null && echo has privilege",
    "stat -c 'directories %a' /src /opt/toolchain",
].join("; ");

describe("an image that is built in the cluster", () => {
    let repository: BuildableRepository;
    let stack: TemporaryStack;
    let images: string;
    const made: string[] = [];

    before(async function () {
        this.timeout(400_000);
        repository = new BuildableRepository(smallBuild);
        repository.file("Dockerfile", dockerfile(lookingAround));
        repository.commit();
        // A tag of its own: a cache that another run has left is none.
        stack = new TemporaryStack("images", {
            source: repository.path,
            imageBuilder: "cluster",
            imageCache: `test-${process.pid}-${Date.now()}`,
            cpuRequest: "10m",
        });
        images = `${stack.namespace}-images`;
        const up = await stack.ke1(["up", "--yes"], { DOCKER_HOST: "unix:///nonexistent" });
        assert.equal(up.code, 0, up.stderr);
        made.push(up.stderr);
    });
    after(async () => {
        await stack.remove();
        await kubectl("delete", "namespace", images, "--ignore-not-found", "--wait=false");
        const rules = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        await kubectl("delete", rules, `ke1-${images}`, "--ignore-not-found");
        repository.remove();
    });

    async function podsOf(match: string): Promise<readonly V1Pod[]> {
        const { items } = await api().core.listNamespacedPod({ namespace: images });
        return items.filter(({ metadata }) => metadata?.name?.includes(match));
    }

    it("is pushed with the commit's labels, and the build runs in it by its digest", async () => {
        const image = (await stack.ke1(["stack", "output", "image"])).stdout.trim();
        assert.match(image, /^localhost:\d+\/ke-1-build@sha256:[0-9a-f]{64}$/);
        const config = await configOf(image);
        const { Labels, Env } = config.config;
        assert.match(Labels["org.opencontainers.image.revision"] ?? "", /^[0-9a-f]{40}$/);
        const epoch = Env.find((line) => line.startsWith("SOURCE_DATE_EPOCH="))?.split("=")[1];
        assert.equal(
            Labels["org.opencontainers.image.created"],
            new Date(Number(epoch) * 1000).toISOString(),
            "a stage's own ARG has the commit's time",
        );
    });

    it("is built without privilege, in a pod that Pod Security baseline lets in", async () => {
        const namespace = await api().core.readNamespace({ name: images });
        assert.equal(namespace.metadata?.labels?.["pod-security.kubernetes.io/enforce"], "baseline");
        const pods = await podsOf("image-");
        assert.ok(pods.length >= 2, "the build's and the exporter's");
        for (const { spec } of pods) {
            assert.equal(spec?.securityContext?.runAsNonRoot, true);
            assert.equal(spec.automountServiceAccountToken, false);
            assert.deepEqual(
                [...spec.containers, ...(spec.initContainers ?? [])].map(({ name, securityContext }) => [
                    name,
                    securityContext?.privileged,
                    securityContext?.capabilities?.add,
                    securityContext?.seccompProfile?.type,
                ]),
                [
                    ["client", undefined, undefined, "RuntimeDefault"],
                    ["buildkitd", undefined, ["SETUID", "SETGID"], "Localhost"],
                ],
            );
            assert.ok(spec.volumes?.every(({ hostPath }) => hostPath === undefined));
        }
    });

    it("shows a Dockerfile's commands neither the host, nor BuildKit's memory, nor a credential", () => {
        const printed = (made[0] ?? "").split("\n").filter((line) => /#\d+ \d+\.\d+ /.test(line));
        const lines = printed.map((line) => line.replace(/^.*?#\d+ \d+\.\d+ /, "").trim());
        assert.ok(lines.includes("made the toolchain"), made[0]);
        assert.ok(
            lines.some((line) => /^0\s+1000\s+1$/.test(line)),
            "its root is the node's user 1000",
        );
        assert.ok(!lines.includes("has privilege"));
        assert.deepEqual(
            lines.filter((line) => /buildkitd\.sock|KE1_BUILDKITD|docker\.sock|registry|login/.test(line)),
            [],
        );
        // Volumes with a group would mark them: 2755.
        assert.deepEqual(
            lines.filter((line) => line.startsWith("directories")),
            ["directories 755", "directories 755"],
        );
    });

    it("leaves the registry's password nowhere: not in state, log, pod or Secret", async () => {
        const file = path.join(ke1Home(), "credentials", "image-registry.json");
        assert.equal(fs.statSync(file).mode & 0o777, 0o600);
        const { username, password } = JSON.parse(fs.readFileSync(file, "utf8")) as ImageRegistryCredential;
        const encoded = Buffer.from(`${username}:${password}`).toString("base64");
        assert.ok(password.length >= 40);
        const state = (await stack.ke1(["stack", "export"])).stdout;
        assert.ok(state.includes("image-build"));
        const { items: secrets } = await api().core.listNamespacedSecret({ namespace: images });
        assert.deepEqual(secrets, []);
        for (const text of [state, ...made, JSON.stringify(await podsOf(""))]) {
            assert.ok(!text.includes(password) && !text.includes(encoded));
        }
    });

    it("does no work when nothing has changed", async () => {
        const before = (await podsOf("")).length;
        const up = await stack.ke1(["up", "--yes"], { BUILD_TAG: await builtTag() });
        assert.equal(up.code, 0, up.stderr);
        assert.doesNotMatch(up.stderr, /-image/);
        assert.equal((await podsOf("")).length, before);
    });

    it("takes the toolchain from the cache when only the source has changed, and is the same when it does not", async function () {
        this.timeout(300_000);
        repository.file("source", String(Math.random()));
        repository.commit();
        const warm = await stack.ke1(["up", "--yes"]);
        assert.equal(warm.code, 0, warm.stderr);
        assert.match(warm.stderr, /CACHED/);
        assert.doesNotMatch(warm.stderr, /\d made the toolchain/);
        const image = (await stack.ke1(["stack", "output", "image"])).stdout.trim();
        stack.configure({ imageCache: "none" });
        try {
            const cold = await stack.ke1(["up", "--yes"]);
            assert.equal(cold.code, 0, cold.stderr);
            assert.match(cold.stderr, /\d made the toolchain/);
            assert.equal((await stack.ke1(["stack", "output", "image"])).stdout.trim(), image);
        } finally {
            stack.configure({});
        }
    });

    it("fails with the Dockerfile's own error", async function () {
        this.timeout(120_000);
        const other = new BuildableRepository(smallBuild);
        try {
            other.file("Dockerfile", dockerfile("echo cannot find libfoo >&2 && exit 3"));
            other.commit();
            const up = await stack.ke1(["up", "--yes"], { SOURCE: other.path });
            assert.equal(up.code, 1, up.stderr);
            assert.match(up.stderr, /\d cannot find libfoo/);
            assert.match(up.stderr, /Dockerfile:4/);
            assert.match(up.stderr, /ImageBuildFailed: \S+: failed to solve: .*exit code: 3/);
        } finally {
            other.remove();
        }
    });

    it("is ended when `up` is interrupted, and leaves nothing running", async function () {
        this.timeout(120_000);
        const other = new BuildableRepository(smallBuild);
        try {
            other.file("Dockerfile", dockerfile("sleep 100"));
            const tag = other.commit();
            const child = spawn(path.join(projectDirectory, "bin", "ke1"), ["up", "--yes", "--stack", stack.name], {
                cwd: projectDirectory,
                env: { ...process.env, ...stack.environment, SOURCE: other.path },
                stdio: ["ignore", "ignore", "pipe"],
            });
            let printed = "";
            child.stderr.setEncoding("utf8").on("data", (text: string) => (printed += text));
            const closed = once(child, "close");
            await until(
                () => /\d made the toolchain/.test(printed),
                () => printed,
            );
            child.kill("SIGINT");
            const [code] = (await closed) as [number];
            assert.equal(code, 130, printed);
            await until(
                async () => (await podsOf(tag)).length === 0,
                () => "the pod is still there",
            );
            const { items } = await api().core.listNamespacedSecret({ namespace: images });
            assert.deepEqual(items, []);
        } finally {
            other.remove();
        }
    });

    it("is the only thing that may run there", async () => {
        const right = imageJob(
            "image-right",
            {
                ...{ imageName: "localhost:5000/x:1", pushName: "10.77.0.1:5001/x:1", context: "", dockerfile: "" },
                buildArgs: {},
                pod: {
                    ...{ namespace: images, builderImage: `localhost:5000/x@sha256:${"0".repeat(64)}`, insecure: true },
                    ...{ cache: "", reproducible: true, seccomp: "ke1/image-builder.json", appArmor: "" },
                    ...{
                        cpuRequest: "10m",
                        memoryLimit: "1Gi",
                        diskLimit: "1Gi",
                        deadlineSeconds: 60,
                        clusterDns: false,
                    },
                },
            },
            { size: 1, sha256: "", epochAsDefault: false },
        );
        assert.equal(await refusal(right, () => undefined), "");
        const wrong: readonly (readonly [RegExp, (spec: PodSpec) => void])[] = [
            [
                /mount no Secret in buildkitd/,
                (s) => builderOf(s).volumeMounts?.push({ name: "credential", mountPath: "/c" }),
            ],
            [/mount nothing but emptyDir/, (s) => s.volumes?.push({ name: "c", configMap: { name: "c" } })],
            // The cluster mounts the token first, a volume of another kind.
            [/mount nothing but emptyDir/, (s) => (s.automountServiceAccountToken = true)],
            [/shareProcessNamespace/, (s) => (s.shareProcessNamespace = true)],
            [/set runAsNonRoot/, (s) => (s.securityContext = { runAsUser: 0 })],
            [/drop ALL capabilities/, (s) => (s.containers[0]!.securityContext!.capabilities = { drop: [] })],
            [/drop ALL capabilities/, (s) => builderOf(s).securityContext?.capabilities?.add?.push("CHOWN")],
            [/allowPrivilegeEscalation/, (s) => (s.containers[0]!.securityContext!.allowPrivilegeEscalation = true)],
            [/privileged/, (s) => (builderOf(s).securityContext!.privileged = true)],
        ];
        for (const [message, change] of wrong) {
            assert.match(await refusal(right, change), message);
        }
    });

    async function builtTag(): Promise<string> {
        return (await stack.ke1(["stack", "output", "buildTag"])).stdout.trim();
    }

    /** What the cluster says against a pod; empty when it takes it. Nothing is made. */
    async function refusal(job: V1Job, change: (spec: PodSpec) => void): Promise<string> {
        const spec = structuredClone(job.spec?.template.spec) as PodSpec;
        change(spec);
        try {
            await api().core.createNamespacedPod({
                namespace: images,
                dryRun: "All",
                body: { metadata: { name: "refused", namespace: images }, spec },
            });
            return "";
        } catch (error) {
            return String((error as { readonly body?: unknown }).body ?? error);
        }
    }
});

type PodSpec = NonNullable<NonNullable<V1Job["spec"]>["template"]["spec"]>;

function builderOf(spec: PodSpec) {
    const builder = spec.initContainers?.[0];
    assert.ok(builder);
    return builder;
}

interface ImageConfig {
    readonly config: { readonly Labels: Readonly<Record<string, string>>; readonly Env: readonly string[] };
}

async function configOf(image: string): Promise<ImageConfig> {
    const [repository = "", digest = ""] = image.slice(platform().registry.length + 1).split("@");
    const base = `http://${platform().registry}/v2/${repository}`;
    const accept = { accept: "application/vnd.docker.distribution.manifest.v2+json" };
    const manifest = (await (await fetch(`${base}/manifests/${digest}`, { headers: accept })).json()) as {
        readonly config: { readonly digest: string };
    };
    return (await (await fetch(`${base}/blobs/${manifest.config.digest}`)).json()) as ImageConfig;
}

async function until(condition: () => boolean | Promise<boolean>, otherwise: () => string): Promise<void> {
    for (const deadline = Date.now() + 90_000; !(await condition());) {
        assert.ok(Date.now() < deadline, otherwise());
        await sleep(200);
    }
}
