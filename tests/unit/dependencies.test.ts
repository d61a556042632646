import * as assert from "node:assert/strict";

import { readDependencies } from "../../config/dependencies";
import { Reader } from "../../config/reader";
import { dependencyVariables } from "../../contract/dependencies";

import type { ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const image = `registry.example.com/broker@sha256:${"a".repeat(64)}`;

describe("the program with dependencies", () => {
    const repository = new TemporaryRepository();
    const home = new TemporaryDirectory();
    let run: ProgramRun;

    before(async function () {
        this.timeout(60_000);
        buildableRepository(repository);
        run = await runProgram({
            config: {
                ...{ kubeContext: "kind-kind", registry: "localhost:5001", maxPods: "7" },
                blobEndpoint: "http://10.77.0.1:10000/ke1dev",
                exporterImage: `localhost:5001/ke-1-exporter@${testDigest}`,
                dependencies: JSON.stringify({ broker: { image, ports: [5672] }, store: { image, ports: [9000] } }),
                needs: JSON.stringify(["broker"]),
                launchers: JSON.stringify(["developers"]),
            },
            environment: { SOURCE: repository.path, BUILD_TAG: "", KE1_HOME: home.path },
        });
    });

    after(() => {
        repository.remove();
        home.remove();
    });

    it("declares servers without a pod, as restricted as builds are", () => {
        const [broker, ...others] = run.all("kubernetes:apps/v1:Deployment").map(({ inputs }) => inputs);
        assert.equal(others.length, 1);
        const { replicas, template } = broker!["spec"];
        assert.equal(replicas, 0);
        const { containers, securityContext, automountServiceAccountToken } = template.spec;
        assert.equal(automountServiceAccountToken, false);
        assert.deepEqual([securityContext.runAsNonRoot, securityContext.seccompProfile.type], [true, "RuntimeDefault"]);
        assert.deepEqual(containers[0].securityContext.capabilities, { drop: ["ALL"] });
        assert.deepEqual(containers[0].readinessProbe.tcpSocket, { port: 5672 });
        assert.equal(run.one("kubernetes:core/v1:ResourceQuota").spec.hard.pods, "9");
    });

    it("lets in the builds that need one, and makes those wait for it", () => {
        const policies = run.all("kubernetes:networking.k8s.io/v1:NetworkPolicy").map(({ inputs }) => inputs);
        const into = policies.find(({ metadata }) => metadata.name === "ke1-dependency-broker-in")!["spec"];
        assert.deepEqual(into.podSelector.matchLabels, { "ke1.dev/dependency": "broker" });
        assert.deepEqual(into.ingress, [
            {
                from: [{ podSelector: { matchLabels: { "ke1.dev/needs-broker": "true" } } }],
                ports: [{ protocol: "TCP", port: 5672 }],
            },
        ]);
        const { suspend, template } = run.one("kubernetes:batch/v1:Job").spec;
        assert.equal(suspend, true);
        assert.equal(template.metadata.labels["ke1.dev/needs-broker"], "true");
        assert.equal(template.metadata.labels["ke1.dev/needs-store"], undefined);
        const [build, exporter] = template.spec.containers;
        assert.deepEqual(build.envFrom, [{ configMapRef: { name: "ke1-dependency-broker" } }]);
        assert.equal(exporter.envFrom, undefined);
    });

    it("gives launchers what it takes to scale them", () => {
        const { rules } = run.one("kubernetes:rbac.authorization.k8s.io/v1:Role");
        const ofDeployments = rules.find(({ resources }: any) => resources.includes("deployments"));
        assert.deepEqual(ofDeployments.verbs, ["get", "patch"]);
    });
});

describe("dependencies", () => {
    const read = (dependencies: unknown, needs: readonly string[] = []) => {
        const values: Record<string, string> = {
            dependencies: JSON.stringify(dependencies),
            needs: JSON.stringify(needs),
        };
        return readDependencies(new Reader({ get: (key) => values[key] }));
    };

    it("are read with their defaults", () => {
        const { dependencies, needs } = read({ broker: { image, ports: [5672], env: { DEBUG: 1 } } }, ["broker"]);
        assert.deepEqual(dependencies["broker"], {
            ...{ image, command: [], ports: [5672], env: { DEBUG: "1" }, readiness: [], cpu: "50m", memory: "256Mi" },
        });
        assert.deepEqual(needs, ["broker"]);
        assert.deepEqual(readDependencies(new Reader({ get: () => undefined })), { dependencies: {}, needs: [] });
    });

    it("are refused in one line", () => {
        const good = { image, ports: [1] };
        const cases: readonly (readonly [unknown, RegExp])[] = [
            [[], /must be a mapping of names/],
            [{ Broker: good }, /Broker is no name/],
            [{ a: 1 }, /a must be a mapping with image and ports/],
            [{ a: { ...good, port: 1 } }, /a has no key port/],
            [{ a: { ...good, image: "broker:latest" } }, /image must be by digest/],
            [{ a: { ...good, ports: [] } }, /ports must be a list/],
            [{ a: { ...good, ports: ["1"] } }, /ports must be a list/],
            [{ a: { ...good, env: { KE1_X: "1" } } }, /none of them ke1's own/],
            [{ a: { ...good, memory: "much" } }, /must be quantities/],
            [{ a: { ...good, readiness: "true" } }, /readiness must be a list of words/],
        ];
        for (const [dependencies, message] of cases) {
            assert.throws(() => read(dependencies), { name: "UserError", message });
        }
        assert.throws(() => read({ a: good }, ["b"]), { message: /needs names b, .* there are: a$/ });
    });

    it("are told by names that a shell can have", () => {
        assert.deepEqual(dependencyVariables("object-store", "10.0.0.7", [9000, 9001]), {
            KE1_DEPENDENCY_OBJECT_STORE_HOST: "10.0.0.7",
            KE1_DEPENDENCY_OBJECT_STORE_PORT: "9000",
            KE1_DEPENDENCY_OBJECT_STORE_PORT_2: "9001",
        });
    });
});
