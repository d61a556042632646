import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { slotRules } from "../../components/slotRole";
import { readSettings } from "../../config";
import type { Inputs, ProgramRun } from "../helpers/program";
import { runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory } from "../helpers/temporary";

const token = `ci ${"0".repeat(64)} builds:read,builds:write`;
const cluster = {
    kubeContext: "kind-kind",
    registry: "localhost:5001",
    blobEndpoint: "http://10.77.0.1:10000/ke1dev",
    exporterImage: `localhost:5001/ke-1-exporter@${testDigest}`,
    namespace: "ci",
};
const image = `localhost:5001/ke-1-service@${testDigest}`;

/** What a service's stack declares, with Pulumi's mocks in place of an engine. */
describe("the program of a service", () => {
    const home = new TemporaryDirectory();
    let run: ProgramRun;

    const service = async (given: Inputs, more: Readonly<Record<string, string>> = {}) =>
        runProgram({
            config: { ...cluster, ...more, service: JSON.stringify({ image, tokens: [token], ...given }) },
            environment: { KE1_HOME: home.path },
            program: "serviceProgram",
        });
    const deployment = (of = run) => of.one("kubernetes:apps/v1:Deployment");
    const pod = (of = run) => deployment(of).spec.template.spec;
    const serve = (of = run) => pod(of).containers[0];
    const mounts = (of = run) => serve(of).volumeMounts.map((mount: Inputs) => mount["mountPath"]);

    before(async function () {
        this.timeout(60_000);
        run = await service({ parallel: 2, clients: ["ci-clients"], secret: "more", registrySecret: "push" });
    });
    after(() => home.remove());

    it("gives its account a role in the builds' namespaces, and nowhere else", () => {
        const rbac = run.declared.filter(({ type }) => type.startsWith("kubernetes:rbac.authorization.k8s.io"));
        assert.deepEqual(rbac.map(({ type, inputs }) => [type.split(":").pop(), inputs["metadata"].namespace]).sort(), [
            ["Role", "ci-builds-0"],
            ["Role", "ci-builds-1"],
            ["RoleBinding", "ci-builds-0"],
            ["RoleBinding", "ci-builds-1"],
        ]);
        for (const { inputs } of rbac.filter(({ type }) => type.endsWith(":Role"))) {
            assert.deepEqual(inputs["rules"], slotRules);
        }
        for (const { inputs } of rbac.filter(({ type }) => type.endsWith(":RoleBinding"))) {
            assert.deepEqual(inputs["subjects"], [{ kind: "ServiceAccount", name: "ke1-service", namespace: "ci" }]);
        }
    });

    it("has the role that docs/service-cluster.md lists", () => {
        const page = fs.readFileSync(path.join(__dirname, "../../docs/service-cluster.md"), "utf8");
        const [, table = ""] = /## What its account may do\n([^]*?)\n## /.exec(page) ?? [];
        const listed = [...table.matchAll(/^\| `([\w/]+)`(?:: ([\w-]+))? +\| ([\w, ]+?) +\|/gm)].map(
            ([, resource = "", name = "", verbs = ""]) => [resource, name, verbs.split(", ")],
        );
        const given = slotRules.map(({ resources, resourceNames = [], verbs }) => [
            resources.join(" "),
            resourceNames.join(" "),
            verbs,
        ]);
        assert.deepEqual(listed, given);
    });

    it("has no wildcard, no Secret but one by its name, and no way into a pod in its role", () => {
        for (const { apiGroups, resources, verbs, resourceNames } of slotRules) {
            const words = [...apiGroups, ...resources, ...verbs];
            assert.ok(!words.includes("*"), words.join(" "));
            assert.ok(!resources.some((each) => /exec|attach|portforward|token|ephemeral|proxy/.test(each)));
            assert.equal(resources.includes("secrets"), resourceNames !== undefined);
        }
        assert.deepEqual(slotRules.find(({ resources }) => resources.includes("secrets"))?.resourceNames, [
            "ke1-blob-credential",
        ]);
    });

    it("prepares each builds' namespace: restricted, a quota, no network, and all that a build does not make itself", () => {
        for (const slot of ["ci-builds-0", "ci-builds-1"]) {
            const there = run.declared.filter(({ inputs }) => inputs["metadata"]?.namespace === slot);
            const kinds = there.map(({ type, inputs }) => `${type.split(":").pop()} ${inputs["metadata"].name}`);
            for (const kind of [
                /^ResourceQuota builds$/,
                /^NetworkPolicy default-deny$/,
                /^NetworkPolicy allow-export$/,
            ]) {
                assert.ok(
                    kinds.some((each) => kind.test(each)),
                    `${kind.source} in ${kinds.join(", ")}`,
                );
            }
            for (const kind of [/^ServiceAccount ke1-build$/, /^ConfigMap ke1-wrapper-/, /^ConfigMap ke1-mirror-/]) {
                assert.ok(
                    kinds.some((each) => kind.test(each)),
                    `${kind.source} in ${kinds.join(", ")}`,
                );
            }
            const credential = run.one("command:local:Command", `slot-${slot.at(-1)}-identity-credential`);
            assert.equal(credential.environment.KE1_NAMESPACE, slot);
        }
        const namespaces = run.all("kubernetes:core/v1:Namespace").map(({ inputs }) => inputs["metadata"]);
        assert.deepEqual(namespaces.map(({ name }) => name).sort(), ["ci", "ci-builds-0", "ci-builds-1"]);
        for (const { labels } of namespaces) {
            assert.equal(labels["pod-security.kubernetes.io/enforce"], "restricted");
        }
    });

    it("runs without privilege, with a root file system that cannot be written, and with one token in one container", () => {
        assert.equal(pod().automountServiceAccountToken, false);
        assert.equal(pod().securityContext.runAsNonRoot, true);
        assert.equal(pod().securityContext.seccompProfile.type, "RuntimeDefault");
        for (const container of [...(pod().initContainers ?? []), ...pod().containers]) {
            assert.equal(container.image, image);
            assert.deepEqual(container.securityContext, {
                allowPrivilegeEscalation: false,
                capabilities: { drop: ["ALL"] },
                readOnlyRootFilesystem: true,
            });
        }
        const projected = pod().volumes.filter((volume: Inputs) => volume["projected"]);
        assert.equal(projected.length, 1);
        assert.equal(projected[0].projected.sources[0].serviceAccountToken.expirationSeconds, 3600);
        assert.ok(pod().volumes.every((volume: Inputs) => !volume["hostPath"]));
    });

    it("has its credentials as files, and none in environment, arguments or state", () => {
        assert.deepEqual(
            serve().env.map((variable: Inputs) => variable["name"]),
            ["HOME", "KE1_HOME", "KE1_CACHE", "KE1_STORAGE_CREDENTIAL_FILE", "DOCKER_CONFIG"],
        );
        assert.ok(serve().env.every((variable: Inputs) => variable["valueFrom"] === undefined));
        assert.equal(serve().envFrom, undefined);
        for (const path of ["/run/ke1/store", "/run/ke1/secret", "/run/ke1/registry", "/run/ke1/cluster"]) {
            assert.ok(mounts().includes(path), path);
        }
        // Neither the store's key nor a Secret of anybody passes through the program.
        assert.deepEqual(run.all("kubernetes:core/v1:Secret"), []);
    });

    it("is one pod at a time, asked whether it lives and is ready", () => {
        assert.equal(deployment().spec.replicas, 1);
        assert.deepEqual(deployment().spec.strategy, { type: "Recreate" });
        assert.equal(serve().livenessProbe.httpGet.path, "/healthz");
        assert.equal(serve().readinessProbe.httpGet.path, "/readyz");
        assert.equal(serve().resources.limits.memory, "4Gi");
        const claim = run.one("kubernetes:core/v1:PersistentVolumeClaim");
        assert.deepEqual(claim.spec.accessModes, ["ReadWriteOnce"]);
        assert.deepEqual(run.all("kubernetes:core/v1:PersistentVolume"), []);
    });

    it("launches builds in its namespaces only, with what follows from the stack", () => {
        assert.deepEqual(serve().args, [
            ...["serve", "--stack", "service", "--data", "/data/service", "--parallel", "2"],
            ...["--namespace", "ci-builds-0", "--namespace", "ci-builds-1", "--listen", "0.0.0.0", "--port", "9000"],
            ...["--tokens", "/run/ke1/settings/tokens"],
        ]);
        const { data, immutable } = run.one("kubernetes:core/v1:ConfigMap", "service-settings");
        assert.equal(immutable, true);
        assert.equal(data.tokens, `${token}\n`);
        const { config } = JSON.parse(data.stack);
        assert.equal(config["ke-1-build:preparedNamespace"], true);
        assert.equal(config["ke-1-build:kubeconfig"], "/run/ke1/settings/kubeconfig");
        assert.equal(config["ke-1-build:exporterImage"], cluster.exporterImage);
        const [user] = JSON.parse(data.kubeconfig).users;
        assert.equal(user.user["auth-provider"].config.tokenFile, "/run/ke1/cluster/token");
    });

    it("is called by the namespaces that are named, and reaches API server, store and https, but not a node's own", () => {
        const policies = run.all("kubernetes:networking.k8s.io/v1:NetworkPolicy").map(({ inputs }) => inputs);
        const own = policies.filter(({ metadata }) => metadata.namespace === "ci");
        const named = (name: string) => own.find(({ metadata }) => metadata.name === name)?.["spec"];
        assert.deepEqual(named("default-deny").policyTypes, ["Ingress", "Egress"]);
        assert.deepEqual(
            named("allow-clients").ingress[0].from[0].namespaceSelector.matchLabels["kubernetes.io/metadata.name"],
            "ci-clients",
        );
        assert.deepEqual(named("allow-api-and-sources").egress[0].to[0].ipBlock.except, [
            "169.254.0.0/16",
            "168.63.129.16/32",
        ]);
        assert.equal(named("allow-store").egress[0].to[0].ipBlock.cidr, "10.77.0.1/32");
    });

    it("lets builds fetch their source from the repositories that are named", async () => {
        const named = await service({ parallel: 1, sources: ["https://git.example.com/kerbodyne/ke-1.git"] });
        const policy = named.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", "slot-0-sources");
        assert.deepEqual(policy.spec.podSelector.matchLabels, { "ke1.dev/source": "mirror" });
        assert.equal(
            run.declared.some(({ name }) => name === "slot-0-sources"),
            false,
        );
    });

    for (const [command, atOnce] of [
        ["watch", "--parallel"],
        ["spawn", "--spawn"],
    ]) {
        it(`is ${command}, which nobody calls, with the same rights`, async () => {
            const other = await service({ command, parallel: 1, arguments: ["--interval", "30"] });
            const begin = [command, "--stack", "service", "--data", "/data/service", atOnce, "1"];
            assert.deepEqual(serve(other).args.slice(0, begin.length), begin);
            assert.deepEqual(serve(other).args.slice(-2), ["--interval", "30"]);
            assert.equal((serve(other).args as string[]).includes("--tokens"), false);
            assert.equal(serve(other).livenessProbe, undefined);
            assert.deepEqual(other.all("kubernetes:core/v1:Service"), []);
            assert.deepEqual(other.one("kubernetes:rbac.authorization.k8s.io/v1:Role").rules, slotRules);
        });
    }

    const refused: readonly (readonly [Inputs, RegExp, Readonly<Record<string, string>>?])[] = [
        [{ commands: "serve" }, /^service\.commands is not known; there are command, /],
        [{ command: "build" }, /^service\.command must be serve or watch or spawn, not "build"$/],
        [{ parallel: 0 }, /^service\.parallel must be a whole number from 1 to 50; it is 0$/],
        [{ image: "ke-1-service:v1" }, /^service\.image must be an image by digest/],
        [{ tokens: [] }, /^nobody could call the service: set service\.tokens /],
        [{ tokens: ["ci secret builds:read"] }, /^each of service\.tokens must be a line that `ke1 token add` writes/],
        [{ reaches: ["10.0.0.0/8"] }, /^each of service\.reaches must be a block of addresses and a port/],
        [{ sources: ["https://a:b@git.example.com/x.git"] }, /^each of service\.sources has a password in it/],
        [
            { builds: { createNamespace: true } },
            /^service\.builds has createNamespace, which the service's stack decides/,
        ],
        [{ builds: { "ke-1-build:kubeconfig": "x" } }, /^service\.builds has ke-1-build:kubeconfig, which/],
        [{ builds: { needs: ["broker"] } }, /^service\.builds has needs, but in a namespace of a service's builds /],
        [
            { builds: { "ke-1-build:dependencies": { broker: {} } } },
            /^service\.builds has ke-1-build:dependencies, but/,
        ],
        [{ builds: { imageBuilder: "cluster" } }, /^service\.builds has imageBuilder; set it beside service/],
        [
            { builds: { imageRegistry: "x:5000" } },
            /^service\.builds has imageRegistry, which the service's stack decides/,
        ],
        [{ certificates: "/etc/ssl/ca.pem" }, /^service\.certificates must be certificates as PEM, and nothing else/],
        [{}, /^namespace must be at most 54 characters/, { namespace: "n".repeat(60) }],
    ];
    for (const [given, message, more] of refused) {
        it(`refuses ${JSON.stringify(given)}${more ? " in a long namespace" : ""} in one line`, () => {
            const config: Readonly<Record<string, string>> = {
                ...cluster,
                ...more,
                service: JSON.stringify({ command: "serve", tokens: [token], ...given }),
            };
            const read = () => readSettings({ get: (key) => config[key] }, { project: "ke-1-build", stack: "ci" });
            assert.throws(read, (error: Error) => message.test(error.message) && !error.message.includes("\n"));
        });
    }

    it("makes ready where images are built, for itself and for its builds, where the stack says so", async () => {
        const images = {
            imageBuilder: "cluster",
            imageRegistry: "http://registry.kube-system:5000",
            imageBuilderDns: "false",
        };
        const built = await service({ parallel: 1 }, { ...images, exporterImage: "" });
        const role = built.one("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "images-binding");
        assert.equal(role.metadata.namespace, "ci-images");
        assert.deepEqual(role.subjects, [{ kind: "ServiceAccount", namespace: "ci", name: "ke1-service" }]);
        assert.deepEqual(
            built.all("docker-build:index:Image").concat(built.all("docker:index/image:Image")),
            [],
            "no Docker is asked",
        );
        const itself = JSON.parse(built.one("command:local:Command", "_exporter-image").environment.KE1_IMAGE_BUILD);
        assert.equal(itself.pod.namespace, "ci-images");
        const { stack } = built.all("kubernetes:core/v1:ConfigMap").find(({ name }) => name === "service-settings")!
            .inputs["data"];
        const config = JSON.parse(stack).config;
        const read = readSettings(
            {
                get: (key) =>
                    config[`ke-1-build:${key}`] === undefined ? undefined : String(config[`ke-1-build:${key}`]),
            },
            { project: "ke-1-build", stack: "build" },
        );
        assert.equal(read.preparedNamespace, true);
        assert.deepEqual(read.imageBuilder, {
            ...readSettings({ get: (key) => ({ ...cluster, ...images })[key] }, { project: "ke-1-build", stack: "ci" })
                .imageBuilder,
            createNamespace: false,
        });
    });

    it("trusts a build server's own authority, which a new one replaces with its pod", async () => {
        const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        const trusting = await service({ certificates: pem });
        const environment = Object.fromEntries(
            serve(trusting).env.map(({ name, value }: Inputs) => [name, value] as const),
        ) as Record<string, string>;
        assert.equal(environment["NODE_EXTRA_CA_CERTS"], "/run/ke1/settings/certificates");
        const settings = (of: ProgramRun) =>
            of.all("kubernetes:core/v1:ConfigMap").find(({ name }) => name === "service-settings")!.inputs;
        assert.equal(settings(trusting)["data"].certificates, pem);
        assert.notEqual(settings(trusting)["metadata"].name, settings(await service({}))["metadata"].name);
    });

    it("gives builds what is as it is without: no dependencies", () => {
        const builds = { needs: [], dependencies: {} };
        const config: Readonly<Record<string, string>> = {
            ...cluster,
            service: JSON.stringify({ tokens: [token], builds }),
        };
        const read = readSettings({ get: (key) => config[key] }, { project: "ke-1-build", stack: "ci" });
        assert.deepEqual(read.service?.builds, builds);
    });

    it("is asked for by a map with something in it: Pulumi.yaml has an empty one for all other stacks", () => {
        const read = (value: string) =>
            readSettings(
                { get: (key) => ({ ...cluster, service: value })[key] },
                { project: "ke-1-build", stack: "ci" },
            );
        assert.equal(read("{}").service, undefined);
        assert.throws(() => read("serve"), /service must be a map of keys and values; it is `serve`/);
    });
});

describe("a build in a namespace that a service has prepared", () => {
    const home = new TemporaryDirectory();
    after(() => home.remove());

    it("declares its Job, and of all else only what the service may do: it renews the exporter's credential", async function () {
        this.timeout(60_000);
        const { declared, all, one } = await runProgram({
            config: {
                ...cluster,
                createNamespace: "false",
                preparedNamespace: "true",
                image: `localhost:5001/toolchain@${testDigest}`,
                command: '["make"]',
                source: "example/ke-1",
            },
            environment: { KE1_HOME: home.path, ALLOW_DIRTY: "1" },
        });
        const inCluster = declared.filter(({ type }) => type.startsWith("kubernetes:"));
        assert.deepEqual(
            inCluster.map(({ type }) => type),
            ["kubernetes:batch/v1:Job"],
        );
        const credential = one("command:local:Command", "identity-credential");
        assert.equal(credential.delete, undefined, "the Secret is the service's stack's");
        const { spec } = one("kubernetes:batch/v1:Job").spec.template;
        assert.equal(spec.serviceAccountName, "ke1-build");
        assert.equal(spec.automountServiceAccountToken, false);
        assert.equal(all("docker:index/image:Image").length, 0);
    });

    for (const [more, message] of [
        [{ createNamespace: "true" }, /preparedNamespace is for a namespace that is there/],
        [{ mirrors: '["https://git.example.com/x.git"]' }, /mirrors is set where preparedNamespace is/],
        [
            {
                dependencies: `{"broker":{"image":"localhost:5001/x@${testDigest}","ports":[5672]}}`,
                needs: '["broker"]',
            },
            /dependencies is set where preparedNamespace is: in a namespace of a service's builds there are only/,
        ],
        [{ imageBuilder: "cluster" }, /set imageBuilderCreateNamespace to false too/],
        [{ admission: "true" }, /admission is set where preparedNamespace is/],
    ] as const) {
        it(`is refused with ${JSON.stringify(more)}`, () => {
            const config: Readonly<Record<string, string>> = {
                ...{ ...cluster, createNamespace: "false", preparedNamespace: "true" },
                ...more,
            };
            const read = () => readSettings({ get: (key) => config[key] }, { project: "ke-1-build", stack: "ci" });
            assert.throws(read, message);
        });
    }
});
