import * as assert from "node:assert/strict";

import type { ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

/**
 * What the program declares, without an engine: with Pulumi's mocks in its place. What is checked here is what must hold
 * whatever the cluster would make of it: least privilege, and a commit on everything.
 */
describe("the program", () => {
    let run: ProgramRun;
    let repository: TemporaryRepository;
    let tag: string;
    const home = new TemporaryDirectory();

    before(async function () {
        this.timeout(60_000);
        repository = new TemporaryRepository();
        tag = buildableRepository(repository);
        run = await runProgram({
            config: {
                kubeContext: "kind-kind",
                registry: "localhost:5001",
                blobEndpoint: "http://10.77.0.1:10000/ke1dev",
                exporterImage: `localhost:5001/ke-1-exporter@${testDigest}`,
                memoryLimit: "3Gi",
            },
            environment: { SOURCE: repository.path, BUILD_TAG: "", KE1_HOME: home.path },
        });
    });
    after(() => {
        repository.remove();
        home.remove();
    });

    const all = (type: string) => run.all(type);
    const one = (type: string, name?: string) => run.one(type, name);
    const job = () => one("kubernetes:batch/v1:Job");
    const pod = () => job().spec.template.spec;
    const container = (name: string) => pod().containers.find((found: any) => found.name === name);

    it("is made of five components", () => {
        const components = run.declared.filter((resource) => resource.type.startsWith("ke1:components:"));
        assert.deepEqual(
            components.map((component) => [component.type.slice("ke1:components:".length), component.name]).sort(),
            [
                ["ArtifactStore", "artifacts"],
                ["BuildIdentity", "identity"],
                ["BuildImage", tag],
                ["BuildJob", tag],
                ["BuildNamespace", "builds"],
            ],
        );
    });

    it("labels image, Job, pod and build with the BUILD_TAG", () => {
        assert.equal(one("docker:index/image:Image").imageName, `localhost:5001/ke-1-build:${tag}`);
        assert.equal(one("docker:index/image:Image").build.args.BUILD_TAG, tag);
        assert.match(job().metadata.name, new RegExp(`^ke-1-build-${tag}-[0-9a-f]{8}$`));
        assert.equal(job().metadata.labels["ke1.dev/build-tag"], tag);
        assert.equal(job().spec.template.metadata.labels["ke1.dev/build-tag"], tag);
        const env = Object.fromEntries(container("exporter").env.map((entry: any) => [entry.name, entry.value]));
        assert.equal(env.KE1_BUILD_TAG, tag);
        assert.equal(env.KE1_SOURCE_COMMIT, repository.git("rev-parse", "HEAD"));
        assert.equal(env.KE1_SOURCE_TREE, repository.git("rev-parse", "HEAD^{tree}"));
    });

    it("runs images by digest only", () => {
        for (const name of ["build", "exporter"]) {
            assert.match(container(name).image, /@sha256:[0-9a-f]{64}$/);
        }
    });

    it("runs pods that Pod Security `restricted` admits", () => {
        const { securityContext } = pod();
        assert.equal(securityContext.runAsNonRoot, true);
        assert.ok(securityContext.runAsUser > 0);
        assert.equal(securityContext.seccompProfile.type, "RuntimeDefault");
        for (const { name, securityContext: own } of pod().containers) {
            assert.equal(own.allowPrivilegeEscalation, false, name);
            assert.deepEqual(own.capabilities, { drop: ["ALL"] }, name);
            assert.equal(own.privileged, undefined, name);
        }
        for (const volume of pod().volumes) {
            assert.equal(volume.hostPath, undefined);
        }
        assert.equal(container("exporter").securityContext.readOnlyRootFilesystem, true);
        const labels = one("kubernetes:core/v1:Namespace").metadata.labels;
        assert.equal(labels["pod-security.kubernetes.io/enforce"], "restricted");
    });

    it("gives the build no credential: not mounted, not in its environment, and no token", () => {
        const secretVolumes = pod()
            .volumes.filter((volume: any) => volume.secret)
            .map((volume: any) => volume.name);
        assert.deepEqual(secretVolumes, ["credential"]);
        const mounts = (name: string) => container(name).volumeMounts.map((mount: any) => mount.name);
        assert.equal(mounts("build").includes("credential"), false);
        assert.equal(mounts("exporter").includes("credential"), true);
        for (const entry of container("build").env) {
            assert.equal(entry.valueFrom, undefined, entry.name);
        }
        assert.equal(container("build").envFrom, undefined);
        assert.equal(pod().automountServiceAccountToken, false);
        assert.equal(one("kubernetes:core/v1:ServiceAccount").automountServiceAccountToken, false);
        assert.equal(pod().shareProcessNamespace, undefined);
    });

    it("declares no Secret and hands no credential to a command: none is ever in the state", () => {
        assert.equal(all("kubernetes:core/v1:Secret").length, 0);
        assert.doesNotMatch(JSON.stringify(run.declared), /sig=|AccountKey|AZURE_STORAGE|password/i);
        for (const { inputs } of all("command:local:Command")) {
            assert.equal(inputs["addPreviousOutputInEnv"], false);
        }
    });

    it("denies all traffic but the way to the store", () => {
        const [deny] = all("kubernetes:networking.k8s.io/v1:NetworkPolicy").filter(
            ({ name }) => name === "builds-deny",
        );
        assert.deepEqual(deny?.inputs["spec"], { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
        const allow = one("kubernetes:networking.k8s.io/v1:NetworkPolicy", "builds-export").spec;
        assert.deepEqual(allow.policyTypes, ["Egress"]);
        assert.deepEqual(allow.egress, [
            { to: [{ ipBlock: { cidr: "10.77.0.1/32" } }], ports: [{ protocol: "TCP", port: 10000 }] },
        ]);
        assert.equal(job().spec.template.metadata.labels["app.kubernetes.io/component"], "build");
    });

    it("retries disruptions and exports, and never a build that failed", () => {
        const { spec } = job();
        assert.equal(spec.backoffLimit, 3);
        assert.equal(spec.template.spec.restartPolicy, "Never");
        assert.deepEqual(
            spec.podFailurePolicy.rules.map((rule: any) => [rule.action, rule.onExitCodes?.containerName]),
            [
                ["Ignore", undefined],
                ["FailJob", "exporter"],
                ["Count", "exporter"],
                ["FailJob", "build"],
            ],
        );
    });

    it("bounds a build: deadline, memory, disk, pods, and how long a finished Job stays", () => {
        assert.equal(job().spec.activeDeadlineSeconds, 6000);
        assert.equal(job().spec.ttlSecondsAfterFinished, 3600);
        assert.equal(container("build").resources.limits.memory, "3Gi");
        assert.equal(container("build").resources.limits["ephemeral-storage"], "10Gi");
        assert.equal(pod().volumes.find((volume: any) => volume.name === "shared").emptyDir.sizeLimit, "10Gi");
        assert.equal(one("kubernetes:core/v1:ResourceQuota").spec.hard.pods, "100");
    });

    it("declares nothing that is empty, which one of the two engines would not keep in the state", () => {
        const empty = (value: any, at: string): string[] =>
            value === "" || (at.endsWith("annotations") && Object.keys(value ?? {}).length === 0)
                ? [at]
                : value !== null && typeof value === "object"
                  ? Object.entries(value).flatMap(([key, each]) => empty(each, `${at}.${key}`))
                  : [];
        assert.deepEqual(empty(job().spec.template, "template"), []);
    });

    it("runs `make build-wrapper`, the image's entrypoint, where the Makefile has it; but not as PID 1", () => {
        assert.deepEqual(container("build").command, ["/bin/sh", "/ke1/bin/wrap"]);
        assert.deepEqual(container("build").args, ["--init", "make", "build-wrapper"]);
        const env = Object.fromEntries(container("build").env.map((entry: any) => [entry.name, entry.value]));
        assert.equal(env.KE1_WRAP, "/bin/sh /ke1/bin/wrap");
    });

    it("hands back what the manifest says", () => {
        const { buildTag, outcome, artifacts, job: name } = run.outputs;
        assert.equal(buildTag, tag);
        assert.equal(outcome, "Succeeded");
        assert.equal(artifacts[0].name, "ke-1-ctl");
        assert.match(name, /^ke-1-build-dev\/ke-1-build-/);
    });
});
