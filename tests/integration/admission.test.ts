import * as assert from "node:assert/strict";

import type { V1Job } from "@kubernetes/client-node";
import { AdmissionregistrationV1Api, ApiException, KubeConfig } from "@kubernetes/client-node";

import { BuildableRepository } from "../helpers/buildable";
import { judgedJob, judgedJobs, nodes, ownRules } from "../helpers/judgedJobs";
import { kubectl, platform, TemporaryStack } from "../helpers/ke1";
import { api } from "../helpers/prepared";

/** The rules on a real API server: what they turn away there, and that nothing is left of them. */
describe("the rules for build Jobs, in the cluster", () => {
    let repository: BuildableRepository;
    let stack: TemporaryStack;
    let tag: string;
    let shown: string;
    const configured = { nodeSizes: nodes.split(";"), admissionRules: ownRules };

    before(async () => {
        repository = new BuildableRepository(["mkdir -p bin", "echo admitted > bin/greeting"]);
        tag = repository.commit();
        stack = new TemporaryStack("admit", { source: repository.path, ttlSecondsAfterFinished: 1, ...configured });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        shown = up.stdout + up.stderr;
    });
    after(async () => {
        await stack.remove();
        repository.remove();
    });

    for (const [name, judged] of Object.entries(judgedJobs)) {
        const { problem, refusedBefore } = judged;
        it(`${problem === undefined ? "takes" : "turns away"} one ${name}${problem === undefined ? "" : ", in the same words"}`, async () => {
            const said = await create(judgedJob(stack.namespace, judged));
            if (refusedBefore) {
                assert.match(said, /is invalid/);
            } else {
                assert.equal(said.replace(/^.* denied request: /, ""), problem ?? "");
            }
        });
    }

    it("has rules that fit what a Job is, by the cluster's own type checker", async () => {
        const { status } = await policies().readValidatingAdmissionPolicy({ name: policyName() });
        assert.ok(status?.observedGeneration, "they have been looked at");
        assert.deepEqual(status.typeChecking?.expressionWarnings ?? [], []);
    });

    it("was in force before the first Job was made", () => {
        const at = (what: string) => shown.indexOf(`${what} created`);
        assert.ok(at("admission-enforced") >= 0 && at("admission-enforced") < at(`${tag}-job`), shown);
    });

    it("judges a Job that is changed, but lets one that was made by earlier rules be suspended", async () => {
        const earlier = judgedJob(stack.namespace, { change: (job) => (job.spec.suspend = true) });
        await api().batch.createNamespacedJob({ namespace: stack.namespace, body: earlier });
        stack.configure({ admissionRules: [{ expression: "has(object.metadata.annotations)", message: "annotate" }] });
        const changed = await stack.ke1(["up", "--yes"]);
        assert.notEqual(changed.code, 2, changed.stderr);
        const { name } = earlier.metadata as { name: string };
        const patch = (body: object) =>
            kubectl(
                ...["patch", "job", name, "--namespace", stack.namespace, "--type=merge"],
                `--patch=${JSON.stringify(body)}`,
            );
        await patch({ spec: { parallelism: 0 } });
        await assert.rejects(patch({ metadata: { labels: { "ke1.dev/build-tag": "v9" } } }), /denied request: /);
        await kubectl("delete", "job", name, "--namespace", stack.namespace);
    });

    it("does not judge Jobs of other namespaces", async () => {
        const job = judgedJob("default", judgedJobs["no BUILD_TAG"]!);
        assert.equal(await create(job, "default"), "");
    });

    it("says the same before anything is sent, in one line, with exit code 2", async () => {
        stack.configure({ cpuRequest: "640" });
        for (const operation of [["preview"], ["up", "--yes"]]) {
            const { code, stderr, stdout } = await stack.ke1(operation);
            assert.equal(code, 2, stderr);
            assert.equal(stdout, "");
            assert.equal(
                stderr,
                `error: ${tag} would be turned away: no node is large enough (build cpu=640,memory=128Mi; exporter cpu=10m,memory=32Mi), as the largest have cpu=4,memory=16Gi,nvidia.com/gpu=1 or cpu=8,memory=8Gi: lower cpuRequest, memoryRequest or extendedResources, or bring nodeSizes up to date\n`,
            );
        }
        stack.configure({});
    });

    it("tells by name of a rule of the user's that does not fit what a Job is", async () => {
        const misspelt = { expression: "object.spec.activeDeadlineSecond <= 10", message: "too long" };
        stack.configure({
            admissionRules: [...ownRules, { ...misspelt, expression: `true || ${misspelt.expression}` }],
        });
        const { code, stderr } = await stack.ke1(["up", "--yes"]);
        assert.equal(code, 1, stderr);
        assert.match(
            stderr,
            /admissionRules\[2\] does not fit what a Job is \(policy [^)]*\): .*undefined field 'activeDeadlineSecond'/,
        );
    });

    it("removes a Job and its pod when it is over for `ttlSecondsAfterFinished`", async () => {
        for (let attempt = 0; ; attempt++) {
            const { items: jobs } = await api().batch.listNamespacedJob({ namespace: stack.namespace });
            const { items: pods } = await api().core.listNamespacedPod({ namespace: stack.namespace });
            if (jobs.length + pods.length === 0) {
                break;
            }
            assert.ok(attempt < 60, "they are there after 30 s");
            await new Promise((resolve) => setTimeout(resolve, 500));
        }
        const artifacts = await stack.ke1(["builds"]);
        assert.match(artifacts.stdout, new RegExp(`${tag}.*Succeeded`), "what it left stays");
    });

    it("leaves nothing when the stack is destroyed", async () => {
        const { code, stderr } = await stack.ke1(["destroy", "--yes"]);
        assert.equal(code, 0, stderr);
        await assert.rejects(policies().readValidatingAdmissionPolicy({ name: policyName() }), isMissing);
        await assert.rejects(policies().readValidatingAdmissionPolicyBinding({ name: policyName() }), isMissing);
    });

    function policyName(): string {
        return `ke1-${stack.namespace}`;
    }

    /** @returns what the API server said; empty where it would take the Job */
    async function create(body: V1Job, namespace = stack.namespace): Promise<string> {
        try {
            await api().batch.createNamespacedJob({ namespace, body, dryRun: "All" });
            return "";
        } catch (error) {
            assert.ok(error instanceof ApiException, String(error));
            return (JSON.parse(String(error.body)) as { message: string }).message;
        }
    }
});

function policies(): AdmissionregistrationV1Api {
    const config = new KubeConfig();
    config.loadFromFile(platform().kubeconfig);
    return config.makeApiClient(AdmissionregistrationV1Api);
}

function isMissing(error: unknown): boolean {
    return error instanceof ApiException && error.code === 404;
}
