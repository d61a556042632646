import * as assert from "node:assert/strict";

import type { Outcome, TestProject } from "../engine/harness";
import { KubernetesTest } from "../engine/kubernetesProject";

describe("engine: kubernetes objects that become ready", function () {
    this.timeout(120_000);
    const cluster = new KubernetesTest("await");
    before(() => cluster.create());
    afterEach(() => cluster.removeProjects());
    after(() => cluster.remove());

    /** A container without a probe is ready for the moment between its start and its end, if that is when it is looked at. */
    const neverReady = `{ readinessProbe: { exec: { command: ["false"] } } }`;
    const statusOf = (project: TestProject, name: string): Record<string, unknown> =>
        (project.resource(name).outputs?.status ?? {}) as Record<string, unknown>;
    const errorOf = ({ outcome, errors }: Outcome): string => {
        assert.equal(outcome, "failed");
        assert.equal(errors.length, 1, errors.join("\n"));
        return errors[0] ?? "";
    };
    const succeeded = ({ outcome, errors, steps }: Outcome): readonly string[] => {
        assert.equal(outcome, "succeeded", errors.join("\n"));
        return steps;
    };

    it("a Deployment is there when all its replicas are available, a Pod when it is ready, a Job when it is complete", async () => {
        const probe = `readinessProbe: { exec: { command: ["test", "-e", "/tmp/ready"] }, periodSeconds: 1 }`;
        const project = cluster.project(`
            const script = "sleep 1; touch /tmp/ready; exec sleep 1000";
            new k8s.apps.v1.Deployment("web", deploymentOf("web", script, { ${probe} }));
            new k8s.core.v1.Pod("pod", { metadata: named("pod"), spec: podOf(script, { ${probe} }) });
            new k8s.core.v1.Pod("done", { metadata: named("done"), spec: podOf("exit 0") });
            new k8s.batch.v1.Job("job", { metadata: named("job"), spec: { template: { spec: podOf("exit 0") } } });
        `);
        succeeded(await project.run("up"));
        const { availableReplicas, conditions } = statusOf(project, "web");
        assert.equal(availableReplicas, 1);
        assert.match(JSON.stringify(conditions), /"type":"Available"/);
        assert.match(JSON.stringify(statusOf(project, "pod")), /"ready":true/);
        assert.match(String(statusOf(project, "done").phase), /Running|Succeeded/);
        assert.equal(statusOf(project, "job").succeeded, 1);
        assert.deepEqual(succeeded(await project.run("up")), []);
        succeeded(await project.run("destroy"));
        assert.equal(await cluster.kubectl("get", "deployments,replicasets,pods,jobs", "-o", "name"), "");
    });

    it("a Deployment that never does fails with the reason of its pods, is kept, and mended by the next `up`", async () => {
        const project = cluster.project(`
            const script = step === 1 ? "exit 3" : "exec sleep 1000";
            const probe = step === 1 ? ${neverReady} : {};
            new k8s.apps.v1.Deployment("web", deploymentOf("web", script, probe), { customTimeouts: { create: "12s" } });
        `);
        const error = errorOf(await project.run("up"));
        assert.match(error, /^Deployment "[^"]*\/web" was applied, but did not become ready: not ready after 12 s: /);
        assert.match(error, /0 of 1 replicas are available; MinimumReplicasUnavailable: /);
        assert.match(error, /; pod web-\S+: container main: .*ended with exit code 3 \(Error\)/);
        const { uid } = (await cluster.object("deployment", "web"))?.metadata ?? {};
        assert.match(JSON.stringify(project.resource("web").initErrors), /exit code 3/);
        project.configure({ step: 2 });
        assert.deepEqual(succeeded(await project.run("up")), ["update web"]);
        assert.equal(project.resource("web").initErrors, undefined);
        assert.equal((await cluster.object("deployment", "web"))?.metadata.uid, uid);
        succeeded(await project.run("destroy"));
    });

    it("what did not become ready is removed by `destroy`", async () => {
        const project = cluster.project(`
            new k8s.core.v1.Pod("pod", { metadata: named("pod"), spec: podOf("exit 7", ${neverReady}) });
            new k8s.core.v1.Pod("unpullable", {
                metadata: annotated("unpullable", { "pulumi.com/timeoutSeconds": "10" }),
                spec: podOf("", { image: "localhost:1/nothing:here" }),
            });
        `);
        const { outcome, errors } = await project.run("up");
        assert.equal(outcome, "failed");
        const text = [...errors].sort().join("\n");
        assert.match(
            text,
            /^Pod "[^"]*\/pod" was .*: the pod is Failed; container main: ended with exit code 7 \(Error\)$/m,
        );
        assert.match(
            text,
            /^Pod "[^"]*\/unpullable" was .*: not ready after 10 s: .*container main: (ErrImagePull|ImagePullBackOff)/m,
        );
        assert.deepEqual([...project.names()].sort(), ["pod", "unpullable"]);
        succeeded(await project.run("destroy"));
        assert.deepEqual(project.names(), []);
        assert.equal(await cluster.kubectl("get", "pods", "-o", "name"), "");
    });

    it("a Job that fails says why: its condition, and how its pods ended; the next `up` replaces it", async () => {
        const project = cluster.project(`
            const script = step === 1 ? "echo out of cheese >&2; exit 5" : "exit 0";
            const spec = { backoffLimit: 0, template: { spec: podOf(script) } };
            new k8s.batch.v1.Job("job", { metadata: named("job"), spec });
        `);
        const error = errorOf(await project.run("up"));
        assert.match(error, /^Job "[^"]*\/job" was applied, but did not become ready: BackoffLimitExceeded: /);
        assert.match(error, /; pod job-\S+: container main: ended with exit code 5 \(Error\)$/);
        assert.deepEqual(project.names(), ["job"]);
        project.configure({ step: 2 });
        assert.deepEqual(succeeded(await project.run("up")), ["delete-replaced job", "create-replacement job"]);
        succeeded(await project.run("destroy"));
    });

    it("nothing is awaited that has the annotation `pulumi.com/skipAwait`", async () => {
        const project = cluster.project(`
            const skip = { "pulumi.com/skipAwait": "true" };
            new k8s.core.v1.Pod("pod", { metadata: annotated("pod", skip), spec: podOf("exit 7") });
            const spec = { backoffLimit: 0, template: { spec: podOf("exit 5") } };
            new k8s.batch.v1.Job("job", { metadata: annotated("job", skip), spec });
            new k8s.apps.v1.Deployment("web", deploymentOf("web", "exit 3", { metadata: { annotations: skip } }));
        `);
        succeeded(await project.run("up"));
        await cluster.kubectl("wait", "job/job", "--for=condition=Failed", "--timeout=60s");
        succeeded(await project.run("refresh"));
        assert.deepEqual(succeeded(await project.run("up")), []);
        succeeded(await project.run("destroy"));
        assert.deepEqual(project.names(), []);
    });

    /** Lets go of what a test has held back from its deletion, which would hold the namespace back as well. */
    const release = async (): Promise<void> => {
        const [kind, name, patch] = ["deployment", "web", '{"metadata":{"finalizers":null}}'];
        if ((await cluster.object(kind, name)) !== undefined) {
            await cluster.kubectl("patch", kind, name, "--type=merge", "-p", patch).catch(async (error: unknown) => {
                // It may go by itself meanwhile.
                if ((await cluster.object(kind, name)) !== undefined) {
                    throw error;
                }
            });
        }
    };
    afterEach(release);

    it("`customTimeouts` and `pulumi.com/timeoutSeconds` say how long to wait, for an update and a deletion as well", async () => {
        const project = cluster.project(`
            const script = step === 1 ? "exec sleep 1000" : "exit 3";
            const metadata = { annotations: { "pulumi.com/timeoutSeconds": "60" }, finalizers: step < 3 ? ["test.example/held"] : [] };
            const customTimeouts = { update: "6s", delete: "1s" };
            const probe = step === 1 ? {} : ${neverReady};
            new k8s.apps.v1.Deployment("web", deploymentOf("web", script, { metadata, ...probe }), { customTimeouts });
        `);
        succeeded(await project.run("up"));
        project.configure({ step: 2 });
        assert.match(
            errorOf(await project.run("up")),
            /did not become ready: not ready after 6 s: 1 of 1 replicas are available; 1 of 2 replicas are up to date; pod web-/,
        );
        const error = errorOf(await project.run("destroy"));
        assert.match(
            error,
            /^Deployment "[^"]*\/web" is still there 1 s after it was deleted; its finalizers: .*test\.example\/held/,
        );
        assert.deepEqual(project.names(), ["web"]);
        await release();
        succeeded(await project.run("destroy"));
        assert.deepEqual(project.names(), []);
    });
});
