import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { parse } from "yaml";

import { readSettings } from "../../config";
import type { ImageBuilderSettings } from "../../config/imageBuilder";
import { officialImage } from "../../config/imageBuilder";
import type { ImageBuild } from "../../contract/imageBuild";
import { asksPlainlyForEpoch } from "../../launcher/epochArgument";
import { imageJob } from "../../launcher/imageJob";
import { ImageLog } from "../../launcher/imageLog";
import type { ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const own = { imageBuilder: "cluster", kubeContext: "aks", registry: "ghcr.io/kerbodyne", blobEndpoint: "https://b" };

describe("the configuration of imageBuilder", () => {
    const read = (config: Readonly<Record<string, string>>): ImageBuilderSettings | undefined => {
        const get = (key: string) => config[key];
        return readSettings({ get }, { project: "ke-1-build", stack: "dev" }, {}).imageBuilder;
    };

    it("is Docker unless it says otherwise", () => {
        assert.equal(read({ ...own, imageBuilder: "" }), undefined);
        assert.equal(read({ ...own, imageBuilder: "docker" }), undefined);
    });

    it("builds in the cluster with BuildKit's own image, by digest, in a namespace of its own", () => {
        const builder = read(own);
        assert.equal(builder?.image, officialImage);
        assert.match(officialImage, /@sha256:[0-9a-f]{64}$/);
        assert.equal(builder.namespace, "ke-1-build-dev-images");
        assert.equal(builder.registry, "ghcr.io/kerbodyne");
        assert.equal(builder.insecure, false);
        assert.equal(builder.credentialFile, "");
    });

    it("has the defaults that Pulumi.yaml documents", () => {
        const file = path.join(__dirname, "../../Pulumi.yaml");
        const { config } = parse(fs.readFileSync(file, "utf8")) as {
            readonly config: Readonly<Record<string, { readonly default: unknown }>>;
        };
        const documented = Object.entries(config)
            .filter(([key]) => /^image(Builder.+|Registry|Cache|Reproducible)$/.test(key))
            .map(([key, { default: byDefault }]) => [
                key,
                typeof byDefault === "string" ? byDefault : JSON.stringify(byDefault),
            ]);
        assert.equal(documented.length, 14);
        assert.deepEqual(read({ ...own, ...Object.fromEntries(documented) }), read(own));
        assert.equal(config["imageBuilder"]?.default, "docker");
    });

    it("takes the registry's address in the cluster, without TLS only where it says so", () => {
        const local = { ...own, registry: "localhost:5001", imageRegistry: "http://kind-registry:5000" };
        const builder = read(local);
        assert.equal(builder?.registry, "kind-registry:5000");
        assert.equal(builder.insecure, true);
        assert.equal(read({ ...local, imageRegistry: "kind-registry:5000" })?.insecure, false);
    });

    it("keeps the namespace's name a label", () => {
        assert.equal(read({ ...own, namespace: "n".repeat(63) })?.namespace, `${"n".repeat(56)}-images`);
    });

    const home = new TemporaryDirectory();
    after(() => home.remove());
    for (const [config, message] of [
        [{ ...own, imageBuilder: "kaniko" }, /imageBuilder must be docker or cluster, not kaniko/],
        [{ ...own, imageBuilder: "", imageRegistry: "x:5000" }, /imageRegistry is for imageBuilder cluster/],
        [{ ...own, registry: "localhost:5001" }, /imageRegistry is not set; a pod cannot reach localhost:5001/],
        [{ ...own, imageRegistry: "https://x" }, /imageRegistry must be a registry/],
        [{ ...own, imageBuilderImage: "moby/buildkit:rootless" }, /imageBuilderImage must be an image by digest/],
        [{ ...own, imageBuilderSeccomp: "../x" }, /imageBuilderSeccomp must be the name of a profile/],
        [{ ...own, imageCache: "a b" }, /imageCache must be a tag/],
        [{ ...own, imageBuilderAddresses: '["10.0.0.0"]' }, /imageBuilderAddresses must be a CIDR block/],
    ] as const) {
        it(`turns away what matches ${message.source}`, () => {
            assert.throws(() => read(config), message);
        });
    }

    it("says what to run where the embedded platform is not ready for it", () => {
        const before = process.env["KE1_HOME"];
        process.env["KE1_HOME"] = home.path;
        try {
            const platform = { version: 1, kubeconfig: "/k", registry: "localhost:5000", blobEndpoint: "http://b/x" };
            fs.writeFileSync(path.join(home.path, "platform.json"), JSON.stringify(platform));
            assert.throws(() => read({ imageBuilder: "cluster" }), /run `ke1 platform image-builder`/);
        } finally {
            if (before === undefined) {
                delete process.env["KE1_HOME"];
            } else {
                process.env["KE1_HOME"] = before;
            }
        }
    });
});

describe("the program with imageBuilder cluster", () => {
    let run: ProgramRun;
    let repository: TemporaryRepository;
    let tag: string;

    before(async function () {
        this.timeout(60_000);
        repository = new TemporaryRepository();
        tag = buildableRepository(repository);
        run = await runProgram({
            config: {
                ...own,
                blobEndpoint: "http://10.77.0.1:10000/ke1dev",
                exporterImage: `ghcr.io/kerbodyne/ke-1-exporter@${testDigest}`,
                registryUsername: "pusher",
                registryPassword: "hunter2-not-to-be-seen",
                launchers: '["developers"]',
                admission: "true",
            },
            secretKeys: ["registryPassword"],
            environment: { SOURCE: repository.path, BUILD_TAG: "" },
        });
    });
    after(() => repository.remove());

    const images = "ke-1-build-dev-images";
    const inNamespace = (type: string) => run.all(type).filter(({ inputs }) => inputs.metadata.namespace === images);
    const command = () => run.one("command:local:Command", `${tag}-image`);

    it("asks no Docker", () => {
        assert.deepEqual(run.all("docker:index/image:Image"), []);
        assert.equal(command().create, "bin/ke1 image-build");
    });

    it("leaves the builds' namespace restricted, and has images built in one that is baseline", () => {
        const levels = run
            .all("kubernetes:core/v1:Namespace")
            .map(({ inputs: { metadata } }) => [
                metadata.name,
                metadata.labels["pod-security.kubernetes.io/enforce"],
                metadata.labels["app.kubernetes.io/component"],
            ]);
        assert.deepEqual(levels.sort(), [
            ["ke-1-build-dev", "restricted", undefined],
            [images, "baseline", "image-build"],
        ]);
    });

    it("gives the command the commit and no credential but the password, a secret", () => {
        const environment = command().environment;
        const build = JSON.parse(environment.KE1_IMAGE_BUILD) as ImageBuild;
        assert.equal(build.imageName, `ghcr.io/kerbodyne/ke-1-build:${tag}`);
        assert.equal(build.pushName, build.imageName);
        assert.equal(build.buildArgs["BUILD_TAG"], tag);
        assert.equal(build.pod.namespace, images);
        const declared = run.declared.filter(({ inputs }) => JSON.stringify(inputs).includes("hunter2"));
        assert.deepEqual(
            declared.map(({ name, secrets }) => [name, secrets]),
            [[`${tag}-image`, ["environment.KE1_REGISTRY_PASSWORD"]]],
        );
    });

    it("lets image builds out to the internet's packages and the registry, and never to a node's own addresses", () => {
        const policies = inNamespace("kubernetes:networking.k8s.io/v1:NetworkPolicy").map(({ inputs }) => inputs);
        assert.deepEqual(policies.map(({ metadata }) => metadata.name).sort(), ["allow-images", "default-deny"]);
        const egress = policies.find(({ metadata }) => metadata.name === "allow-images")?.spec.egress;
        const blocks = egress.flatMap(({ to }: any) => to).filter(({ ipBlock }: any) => ipBlock);
        assert.ok(blocks.length > 0);
        blocks.forEach(({ ipBlock }: any) => {
            for (const kept of ["169.254.0.0/16", "168.63.129.16/32", "10.0.0.0/8"]) {
                assert.ok(ipBlock.except.includes(kept), kept);
            }
        });
    });

    it("lets launchers hand over a credential, and neither read one nor run anything in a pod", () => {
        const [role] = inNamespace("kubernetes:rbac.authorization.k8s.io/v1:Role");
        const verbs = (resource: string) =>
            role?.inputs.rules.find(({ resources }: any) => resources.includes(resource))?.verbs;
        assert.deepEqual(verbs("secrets"), ["create", "delete"]);
        assert.equal(verbs("pods/exec"), undefined);
        assert.deepEqual(verbs("pods"), ["get", "list", "watch"]);
    });

    it("declares the rules for its pods, bound to its namespace alone", () => {
        const binding = run.one(
            "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding",
            "images-policy-binding",
        );
        assert.deepEqual(binding.spec.matchResources.namespaceSelector.matchLabels, {
            "kubernetes.io/metadata.name": images,
        });
    });
});

describe("the Job that builds an image", () => {
    const build: ImageBuild = {
        imageName: "localhost:5000/ke-1-build:abc",
        pushName: "10.77.0.1:5001/ke-1-build:abc",
        context: ".ke1/contexts/x",
        dockerfile: "docker/Dockerfile",
        buildArgs: { BUILD_TAG: "abc", SOURCE_DATE_EPOCH: "1700000000" },
        pod: {
            ...{
                namespace: "images",
                builderImage: officialImage,
                insecure: true,
                cache: "latest",
                reproducible: true,
            },
            ...{
                seccomp: "ke1/image-builder.json",
                appArmor: "",
                cpuRequest: "1",
                memoryLimit: "4Gi",
                diskLimit: "20Gi",
            },
            ...{ deadlineSeconds: 60, clusterDns: false },
        },
    };
    const context = { size: 1, sha256: "0".repeat(64), epochAsDefault: true };
    const pod = (changed: Partial<ImageBuild["pod"]> = {}, packed = context) =>
        imageJob("image-x", { ...build, pod: { ...build.pod, ...changed } }, packed).spec?.template.spec;
    const client = (...args: Parameters<typeof pod>) => pod(...args)?.containers[0];
    const builder = (...args: Parameters<typeof pod>) => pod(...args)?.initContainers?.[0];

    it("keeps the registry's credential from the container that a Dockerfile's commands run in", () => {
        assert.deepEqual(
            builder()?.volumeMounts?.filter(({ name }) => ["credential", "login", "work"].includes(name)),
            [],
        );
        assert.ok(client()?.volumeMounts?.some(({ name }) => name === "credential"));
        assert.notEqual(pod()?.shareProcessNamespace, true);
        assert.equal(pod()?.automountServiceAccountToken, false);
    });

    it("loosens one container by what rootless BuildKit needs, and nothing else", () => {
        assert.deepEqual(builder()?.securityContext, {
            allowPrivilegeEscalation: true,
            capabilities: { drop: ["ALL"], add: ["SETUID", "SETGID"] },
            readOnlyRootFilesystem: true,
            seccompProfile: { type: "Localhost", localhostProfile: "ke1/image-builder.json" },
            appArmorProfile: undefined,
        });
        assert.deepEqual(client()?.securityContext, {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
            readOnlyRootFilesystem: true,
            seccompProfile: { type: "RuntimeDefault" },
        });
        assert.equal(pod()?.securityContext?.runAsNonRoot, true);
        // It would mark directories of the images that are made on its volumes.
        assert.equal(pod()?.securityContext?.fsGroup, undefined);
    });

    it("asks for no profile where none is configured, and for none at all only by name", () => {
        assert.equal(builder({ seccomp: "" })?.securityContext?.seccompProfile, undefined);
        assert.deepEqual(builder({ appArmor: "unconfined" })?.securityContext?.appArmorProfile, { type: "Unconfined" });
    });

    it("pushes to the registry as pods reach it, with its cache beside the image", () => {
        const command = client()?.command?.join(" ") ?? "";
        assert.match(command, /type=image,name=10\.77\.0\.1:5001\/ke-1-build:abc,push=true/);
        assert.match(command, /--import-cache type=registry,ref=10\.77\.0\.1:5001\/ke-1-build-cache:latest /);
        assert.match(command, /filename=docker\/Dockerfile/);
        assert.doesNotMatch(client({ cache: "" })?.command?.join(" ") ?? "", /cache/);
        assert.match(
            builder()?.env?.[0]?.value ?? "",
            /\[registry."localhost:5000"\]\nmirrors = \["10\.77\.0\.1:5001"\]/,
        );
    });

    it("gives the commit's time as an argument only where the Dockerfile asks for it in its own way", () => {
        assert.doesNotMatch(client()?.command?.join(" ") ?? "", /build-arg:SOURCE_DATE_EPOCH/);
        const other = client({}, { ...context, epochAsDefault: false });
        assert.match(other?.command?.join(" ") ?? "", /build-arg:SOURCE_DATE_EPOCH=1700000000/);
        assert.equal(other?.env?.find(({ name }) => name === "KE1_EPOCH")?.value, "");
    });

    it("sees how a Dockerfile asks for the commit's time", () => {
        assert.ok(asksPlainlyForEpoch("FROM x\nRUN true\n"));
        assert.ok(
            asksPlainlyForEpoch("ARG BASE\nFROM $BASE\n  arg SOURCE_DATE_EPOCH\t\r\nENV E=${SOURCE_DATE_EPOCH}\n"),
        );
        assert.ok(!asksPlainlyForEpoch("ARG SOURCE_DATE_EPOCH\nFROM x\n"));
        assert.ok(!asksPlainlyForEpoch("FROM x\nARG SOURCE_DATE_EPOCH=1\n"));
        assert.ok(!asksPlainlyForEpoch("FROM x\nARG A SOURCE_DATE_EPOCH\n"));
        assert.ok(!asksPlainlyForEpoch("FROM x\nRUN echo \\\nARG SOURCE_DATE_EPOCH\n"));
    });
});

describe("the log of an image's build", () => {
    it("shows what goes on, and not how far transfers have got", () => {
        const lines: string[] = [];
        const log = new ImageLog((line) => lines.push(line));
        [
            "#5 ERROR: failed to configure registry cache importer: r/x-cache:latest: not found",
            "#6 sha256:ab 66.06MB / 138.93MB 0.3s",
            "#7 [2/3] RUN make",
            "#7 0.1 cc",
            "#7 DONE 0.2s",
            "------",
        ].forEach((line) => log.line(line));
        assert.deepEqual(lines, ["there is no layer cache yet (r/x-cache:latest)", "#7 [2/3] RUN make", "#7 0.1 cc"]);
    });

    it("is cut where it is long, and ends with the error all the same", () => {
        const lines: string[] = [];
        const log = new ImageLog((line) => lines.push(line));
        for (let i = 0; i < 2000; i++) {
            log.line(`#7 0.1 line ${i}`);
        }
        log.line("error: failed to solve: exit code: 3");
        const live = lines.length;
        assert.ok(lines.join("\n").length < 20_000);
        log.showEnd();
        assert.equal(lines.length - live, 30);
        assert.equal(lines.at(-1), "error: failed to solve: exit code: 3");
        assert.equal(log.lastError, "failed to solve: exit code: 3");
    });
});
