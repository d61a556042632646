import * as assert from "node:assert/strict";

import { readEnvironments, resolveEnvironment } from "../../config/environments";
import type { ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const image = `localhost:5000/tools@${testDigest}`;
const own = { kubeContext: "kind-kind", registry: "localhost:5001", blobEndpoint: "http://10.77.0.1:10000/ke1dev" };

function resolved(environments: object, name: string) {
    return resolveEnvironment(readEnvironments({ get: () => JSON.stringify(environments) }), name);
}

describe("an environment that extends another", () => {
    const base = {
        image,
        command: ["make"],
        args: ["all"],
        workingDirectory: "/src",
        env: { A: "base", B: "base" },
        resources: { cpuRequest: "1", memoryLimit: "1Gi" },
        volumes: { cache: { path: "/cache", sizeLimit: "1Gi" }, rules: { path: "/rules", configMap: "rules" } },
        security: { runAsUser: 1000, readOnlyRootFilesystem: true },
        required: true,
        onBuildEnd: "terminate",
    };
    const otherImage = `localhost:5000/other@${testDigest}`;

    it("is the other where it says nothing", () => {
        const { command, args, ...rest } = base;
        const wanted = { ...rest, name: "own", command: [...command, ...args] };
        assert.deepEqual(resolved({ base, own: { extends: "base" } }, "own"), wanted);
    });

    // What the table in docs/environments.md says.
    for (const [what, given, key, wanted] of [
        ["replaces the image", { image: otherImage }, "image", otherImage],
        ["replaces the working directory", { workingDirectory: "/work" }, "workingDirectory", "/work"],
        ["replaces a command with its arguments", { command: ["ninja"] }, "command", ["ninja"]],
        ["replaces the arguments alone", { args: ["test"] }, "command", ["make", "test"]],
        ["merges variables by name", { env: { B: "own", C: "own" } }, "env", { A: "base", B: "own", C: "own" }],
        ["removes a variable with null", { env: { A: null } }, "env", { B: "base" }],
        [
            "merges resources by name",
            { resources: { cpuRequest: "2" } },
            "resources",
            { cpuRequest: "2", memoryLimit: "1Gi" },
        ],
        [
            "replaces a volume as a whole, and removes one with null",
            { volumes: { cache: { path: "/elsewhere" }, rules: null } },
            "volumes",
            { cache: { path: "/elsewhere" } },
        ],
        [
            "merges security by name",
            { security: { runAsUser: 2000 } },
            "security",
            { runAsUser: 2000, readOnlyRootFilesystem: true },
        ],
        ["replaces required", { required: false }, "required", false],
        ["replaces onBuildEnd", { onBuildEnd: "file" }, "onBuildEnd", "file"],
    ] as const) {
        it(what, () => {
            const environments = { base, own: { extends: "base", ...given } };
            assert.deepEqual(resolved(environments, "own")[key], wanted);
        });
    }

    it("extends what the other extends, the nearest first", () => {
        const environments = {
            a: { env: { X: "a", Y: "a", Z: "a" } },
            b: { extends: "a", env: { X: "b", Y: "b", Z: null } },
            c: { extends: "b", env: { X: "c" } },
        };
        assert.deepEqual(resolved(environments, "c").env, { X: "c", Y: "b" });
    });
});

describe("a program with environments", () => {
    let run: ProgramRun;
    const home = new TemporaryDirectory();
    const repository = new TemporaryRepository();
    const environments = {
        make: {
            command: ["make", "build"],
            env: { CFLAGS: "-O2" },
            resources: { cpuRequest: "2", cpuLimit: "4", memoryRequest: "1Gi", memoryLimit: "4Gi" },
            volumes: { deps: { path: "/deps", sizeLimit: "2Gi", readOnly: true } },
            security: { runAsUser: 1234, readOnlyRootFilesystem: true },
        },
        fetch: {
            image,
            command: ["fetch"],
            args: ["all"],
            volumes: { deps: { path: "/out", sizeLimit: "2Gi" }, key: { path: "/key", secret: "fetch-key" } },
        },
        junit: { image, command: ["junit-summary"], required: true, resources: { memoryRequest: "512Mi" } },
        server: { command: ["serve"], onBuildEnd: "terminate", security: { runAsUser: 2000 } },
    };
    const config = {
        ...own,
        exporterImage: `localhost:5001/ke-1-exporter@${testDigest}`,
        environments: JSON.stringify(environments),
        environment: "make",
        initContainers: JSON.stringify(["fetch"]),
        sidecars: JSON.stringify(["junit", "server"]),
        sidecarLimitSeconds: "30",
        maskSecret: "words",
    };

    before(async function () {
        this.timeout(60_000);
        buildableRepository(repository);
        run = await runProgram({ config, environment: environmentOf() });
    });
    after(() => {
        repository.remove();
        home.remove();
    });

    const environmentOf = () => ({ SOURCE: repository.path, BUILD_TAG: "", KE1_HOME: home.path });
    const job = () => run.one("kubernetes:batch/v1:Job");
    const pod = () => job().spec.template.spec;
    const named = (name: string) =>
        [...pod().containers, ...pod().initContainers].find((container: any) => container.name === name);
    const mounts = (name: string) =>
        Object.fromEntries(named(name).volumeMounts.map((mount: any) => [mount.mountPath, mount]));
    const env = (name: string) => Object.fromEntries(named(name).env.map((entry: any) => [entry.name, entry.value]));

    it("runs the build in its environment", () => {
        assert.deepEqual(named("build").args, ["make", "build"]);
        assert.equal(env("build").CFLAGS, "-O2");
        assert.deepEqual(named("build").resources, {
            requests: { cpu: "2", memory: "1Gi", "ephemeral-storage": "0" },
            limits: { memory: "4Gi", cpu: "4", "ephemeral-storage": "10Gi" },
        });
        assert.equal(pod().securityContext.runAsUser, 1234, "the exporter must be the same user");
        assert.equal(named("build").securityContext.readOnlyRootFilesystem, true);
        assert.deepEqual(mounts("build")["/deps"], { mountPath: "/deps", name: "env-deps", readOnly: true });
    });

    it("declares init containers, then sidecars as Kubernetes knows them", () => {
        assert.deepEqual(
            pod().initContainers.map(({ name, restartPolicy }: any) => [name, restartPolicy]),
            [
                ["fetch", undefined],
                ["junit", "Always"],
                ["server", "Always"],
            ],
        );
        assert.deepEqual(named("fetch").args, ["fetch", "all"]);
        assert.equal(named("server").image, named("build").image, "without an image of its own, it has the build's");
        assert.deepEqual(named("junit").resources, {
            requests: { cpu: "10m", memory: "512Mi" },
            limits: { memory: "512Mi" },
        });
        assert.equal(named("server").securityContext.runAsUser, 2000);
    });

    it("makes none of them looser than `restricted`, by digest all of them", () => {
        for (const { name, image: by, securityContext } of [...pod().initContainers, ...pod().containers]) {
            assert.match(by, /@sha256:[0-9a-f]{64}$/, name);
            assert.equal(securityContext.allowPrivilegeEscalation, false, name);
            assert.deepEqual(securityContext.capabilities, { drop: ["ALL"] }, name);
        }
    });

    it("gives each a volume that only it and the exporter have, and a sidecar what the build leaves, to read", () => {
        const own = mounts("junit")["/ke1/own"].name;
        assert.equal(mounts("exporter")["/ke1/sidecars/junit"].name, own);
        for (const other of ["build", "server", "fetch"]) {
            assert.ok(!Object.values<any>(mounts(other)).some(({ name }) => name === own), other);
        }
        assert.equal(mounts("junit")["/ke1/shared"].readOnly, true);
        assert.equal(mounts("fetch")["/ke1/shared"], undefined);
        assert.equal(mounts("fetch")["/ke1/init"].readOnly, true);
        assert.equal(mounts("fetch")["/ke1/own"].subPath, "fetch");
    });

    it("keeps Secrets from the build, and the exporter's from all others", () => {
        const secrets = new Map<string, string>(
            pod().volumes.flatMap(({ name, secret }: any) => (secret ? [[name, secret.secretName]] : [])),
        );
        const held = (name: string) =>
            named(name).volumeMounts.flatMap((mount: any) => secrets.get(mount.name) ?? []) as string[];
        assert.deepEqual(held("build"), []);
        assert.deepEqual(held("fetch"), ["fetch-key"]);
        assert.deepEqual(held("junit"), []);
        assert.deepEqual(held("exporter"), ["ke1-blob-credential", "words"]);
        assert.equal(env("fetch").KE1_QUIET, "1", "what is to be masked is not in the pod's own log");
    });

    it("tells the exporter of them, and the Job's policy to try none again", () => {
        assert.deepEqual(JSON.parse(env("exporter").KE1_COMPANIONS), {
            init: ["fetch"],
            initDir: "/ke1/init",
            sidecars: [
                { name: "junit", required: true, terminate: false },
                { name: "server", required: false, terminate: true },
            ],
            sidecarDir: "/ke1/sidecars",
            limitSeconds: 30,
        });
        const rules = job().spec.podFailurePolicy.rules;
        assert.deepEqual(rules.at(-1), {
            action: "FailJob",
            onExitCodes: { containerName: "fetch", operator: "NotIn", values: [0, 75, 143] },
        });
        assert.ok(!JSON.stringify(rules).includes("junit"), "a sidecar does not decide over the Job");
    });

    it("gives the Job another name with any other environment, and the same with the same", async function () {
        this.timeout(60_000);
        const nameWith = async (changed: object) => {
            const all = JSON.stringify({ ...environments, ...changed });
            const other = await runProgram({ config: { ...config, environments: all }, environment: environmentOf() });
            return other.one("kubernetes:batch/v1:Job").metadata.name as string;
        };
        const name = job().metadata.name as string;
        assert.equal(await nameWith({ unused: { env: { A: "b" } } }), name);
        assert.notEqual(await nameWith({ junit: { ...environments.junit, env: { A: "b" } } }), name);
        assert.notEqual(await nameWith({ fetch: { ...environments.fetch, args: ["some"] } }), name);
    });
});
