import * as assert from "node:assert/strict";

import { sketchOf } from "../../components/judge";
import { readSettings } from "../../config";
import { planBuilds } from "../../source/plan";
import { ownRules } from "../helpers/judgedJobs";
import type { Inputs, ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const config = {
    kubeContext: "kind-kind",
    registry: "localhost:5001",
    blobEndpoint: "http://10.77.0.1:10000/ke1dev",
    exporterImage: `localhost:5001/ke-1-exporter@${testDigest}`,
    namespace: "builds",
    admission: "true",
    nodeSizes: '["cpu=8,memory=32Gi,nvidia.com/gpu=1"]',
    admissionRules: JSON.stringify(ownRules),
    extendedResources: '["nvidia.com/gpu=1"]',
    dedicatedNodes: "team=booster",
};

describe("the program, with rules for Jobs in the cluster", () => {
    const home = new TemporaryDirectory();
    let repository: TemporaryRepository;
    let environment: NodeJS.ProcessEnv;
    let run: ProgramRun;
    const kind = (name: string) => `kubernetes:admissionregistration.k8s.io/v1:${name}`;
    const policy = () => run.one(kind("ValidatingAdmissionPolicy"));
    const binding = () => run.one(kind("ValidatingAdmissionPolicyBinding"));

    before(async function () {
        this.timeout(60_000);
        repository = new TemporaryRepository();
        buildableRepository(repository);
        environment = { SOURCE: repository.path, BUILD_TAG: "", KE1_HOME: home.path };
        run = await runProgram({ config, environment });
    });
    after(() => {
        repository.remove();
        home.remove();
    });

    it("declares a policy that fails closed, for Jobs", () => {
        assert.equal(policy().metadata.name, "ke1-builds");
        assert.equal(policy().spec.failurePolicy, "Fail");
        assert.deepEqual(policy().spec.matchConstraints.resourceRules, [
            {
                ...{ apiGroups: ["batch"], apiVersions: ["v1"], resources: ["jobs"] },
                ...{ operations: ["CREATE", "UPDATE"], scope: "Namespaced" },
            },
        ]);
        assert.deepEqual(
            policy()
                .spec.validations.slice(-2)
                .map((rule: Inputs) => rule["expression"]),
            ownRules.map((rule) => rule.expression),
        );
    });

    it("binds it to the builds' namespace and to no other, to deny", () => {
        assert.deepEqual(binding().spec, {
            policyName: "ke1-builds",
            validationActions: ["Deny"],
            matchResources: { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "builds" } } },
        });
        assert.deepEqual(policy().spec.variables[0], {
            name: "nodes",
            expression: '"cpu=8,memory=32Gi,nvidia.com/gpu=1"',
        });
    });

    it("judges before anything is declared what it will declare, but for what is known only then", () => {
        const get = (key: string) => (config as Record<string, string>)[key];
        const settings = readSettings({ get }, { project: "ke-1-build", stack: "dev" }, environment);
        const [plan] = planBuilds(settings, process.cwd());
        const declared = run.one("kubernetes:batch/v1:Job");
        assert.deepEqual(comparable(sketchOf(settings, plan!)), comparable(declared));
    });

    it("turns a build away before any resource is declared, in one line", async () => {
        const tooLarge = { ...config, cpuRequest: "9" };
        await assert.rejects(
            runProgram({ config: tooLarge, environment }),
            /^(Run)?Error: \w+ would be turned away: no node is large enough \(build cpu=9,/,
        );
        const debug = JSON.stringify([{ expression: "has(object.spec.manualSelector)", message: "select" }]);
        await assert.rejects(
            runProgram({ config: { ...config, admissionRules: debug }, environment }),
            /^(Run)?Error: \w+ would be turned away: select$/,
        );
    });

    it("gives the build its devices, and the builds' own nodes", () => {
        const { containers, affinity, tolerations } = run.one("kubernetes:batch/v1:Job").spec.template.spec;
        const [build, exporter] = containers;
        assert.equal(build.resources.requests["nvidia.com/gpu"], "1");
        assert.equal(build.resources.limits["nvidia.com/gpu"], "1");
        assert.equal(exporter.resources.requests["nvidia.com/gpu"], undefined);
        assert.deepEqual(affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution, {
            nodeSelectorTerms: [{ matchExpressions: [{ key: "team", operator: "In", values: ["booster"] }] }],
        });
        assert.deepEqual(tolerations.at(-1), { key: "team", operator: "Equal", value: "booster" });
    });

    it("leaves to the cluster what only the cluster can judge", async () => {
        const rule = { expression: "request.userInfo.username != 'anna'", message: "not you" };
        const admissionRules = JSON.stringify([rule]);
        const { one } = await runProgram({ config: { ...config, admissionRules }, environment });
        const { validations } = one(kind("ValidatingAdmissionPolicy")).spec;
        assert.deepEqual(validations.at(-1), { expression: rule.expression, messageExpression: '"not you"' });
    });

    it("declares nothing of it where it is told not to, and judges all the same", async () => {
        const without = await runProgram({ config: { ...config, admission: "false" }, environment });
        assert.deepEqual(
            without.declared.filter(({ type, name }) => /admissionreg/.test(type) || name.startsWith("admission")),
            [],
        );
        await assert.rejects(
            runProgram({ config: { ...config, admission: "false", cpuRequest: "9" }, environment }),
            /would be turned away/,
        );
    });
});

/** Without what differs: names and digests that are known when something is there, and how names are looked up. */
function comparable(job: Inputs): unknown {
    const copy = JSON.parse(JSON.stringify(job));
    delete copy.apiVersion;
    delete copy.kind;
    delete copy.metadata.name;
    const pod = copy.spec.template.spec;
    delete pod.dnsConfig;
    delete pod.dnsPolicy;
    for (const container of pod.containers) {
        container.image = container.image.replace(/^.*@sha256:.*$/, "an image by digest");
        container.env = container.env.filter(({ name }: Inputs) => name !== "KE1_IMAGE");
    }
    pod.volumes.find(({ name }: Inputs) => name === "wrapper").configMap.name = "";
    return copy;
}
