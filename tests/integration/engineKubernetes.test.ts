import * as assert from "node:assert/strict";

import type { Outcome, TestProject } from "../engine/harness";
import { KubernetesTest } from "../engine/kubernetesProject";
import { platform, kubectl } from "../helpers/ke1";

describe("engine: kubernetes objects", function () {
    this.timeout(120_000);
    const cluster = new KubernetesTest("objects");
    before(() => cluster.create());
    afterEach(() => cluster.removeProjects());
    after(() => cluster.remove());

    const succeeded = ({ outcome, errors, steps }: Outcome): readonly string[] => {
        assert.equal(outcome, "succeeded", errors.join("\n"));
        return steps;
    };
    const errorOf = ({ outcome, errors }: Outcome): string => {
        assert.equal(outcome, "failed");
        assert.equal(errors.length, 1, errors.join("\n"));
        return errors[0] ?? "";
    };
    const nameOf = (project: TestProject, name: string): string =>
        (project.resource(name).id ?? "").split("/").at(-1) ?? "";

    it("a custom resource and its definition are of one stack: previewed, created, found unchanged, deleted", async () => {
        const group = `${cluster.namespace}.example`;
        const project = cluster.project(
            `
            const group = process.env.TEST_GROUP;
            const schema = { type: "object", properties: { spec: { type: "object", x_kubernetes_preserve_unknown_fields: true } } };
            const definition = new k8s.apiextensions.v1.CustomResourceDefinition("definition", {
                metadata: { name: "widgets." + group },
                spec: {
                    group,
                    scope: "Namespaced",
                    names: { plural: "widgets", kind: "Widget" },
                    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
                },
            });
            new k8s.apiextensions.CustomResource(
                "widget",
                { apiVersion: group + "/v1", kind: "Widget", metadata: named("widget"), spec: { size: step } },
                { dependsOn: [definition] },
            );
            `,
            { TEST_GROUP: group },
        );
        try {
            assert.deepEqual(succeeded(await project.run("preview")), ["create definition", "create widget"]);
            assert.deepEqual(succeeded(await project.run("up")), ["create definition", "create widget"]);
            assert.deepEqual(succeeded(await project.run("up")), []);
            project.configure({ step: 2 });
            assert.deepEqual(succeeded(await project.run("up")), ["update widget"]);
            assert.equal(
                await cluster.kubectl("get", `widgets.${group}`, "widget", "-o", "jsonpath={.spec.size}"),
                "2",
            );
            assert.deepEqual(succeeded(await project.run("destroy")), ["delete widget", "delete definition"]);
            assert.deepEqual(project.names(), []);
        } finally {
            await kubectl(
                "delete",
                "customresourcedefinition",
                `widgets.${group}`,
                "--ignore-not-found",
                "--wait=false",
            );
        }
    });

    it("`.get` gives an object of others as it is, and leaves it alone; of one that is not there it says so", async () => {
        await cluster.kubectl("create", "configmap", "theirs", "--from-literal=key=value");
        const project = cluster.project(`
            const theirs = k8s.core.v1.ConfigMap.get("theirs", namespace + "/theirs");
            exports.key = theirs.data.apply((data) => data.key);
            if (step === 2) {
                k8s.core.v1.ConfigMap.get("missing", namespace + "/missing");
            }
        `);
        const { outcome, errors, outputs } = await project.run("up");
        assert.deepEqual([outcome, errors, outputs], ["succeeded", [], { key: "value" }]);
        project.configure({ step: 2 });
        assert.equal(errorOf(await project.run("up")), `The resource '${cluster.namespace}/missing' does not exist.`);
        succeeded(await project.run("destroy"));
        assert.equal((await cluster.object("configmap", "theirs"))?.data?.key, "value");
    });

    it("a field that another manager has set is a conflict, in the API's words, unless `pulumi.com/patchForce` takes it", async () => {
        const project = cluster.project(`
            const annotations = step === 3 ? { "pulumi.com/patchForce": "true" } : {};
            new k8s.core.v1.ServiceAccount("account", { metadata: named("contested", { annotations, labels: { owner: "us" + step } }) });
        `);
        succeeded(await project.run("up"));
        await cluster.kubectl(
            "label",
            "serviceaccount",
            "contested",
            "--overwrite",
            "owner=them",
            "--field-manager=them",
        );
        const conflict = /Apply failed with 1 conflict: conflict with "them"[^:]*: \.metadata\.labels\.owner/;
        project.configure({ step: 2 });
        assert.match(errorOf(await project.run("preview")), conflict);
        assert.match(errorOf(await project.run("up")), conflict);
        assert.equal((await cluster.object("serviceaccount", "contested"))?.metadata.labels?.owner, "them");
        project.configure({ step: 3 });
        assert.deepEqual(succeeded(await project.run("up")), ["update account"]);
        assert.equal((await cluster.object("serviceaccount", "contested"))?.metadata.labels?.owner, "us3");
        succeeded(await project.run("destroy"));
    });

    it("what a provider's account may not do is refused in the API's words; its token is nowhere in the state", async () => {
        await cluster.kubectl("create", "serviceaccount", "little");
        const token = (await cluster.kubectl("create", "token", "little")).trim();
        const { kubeconfig } = platform();
        const admin = JSON.parse(
            await kubectl("config", "view", "--raw", "-o", "json", "--kubeconfig", kubeconfig),
        ) as {
            clusters: object[];
            contexts: { context: object }[];
        };
        const little = {
            ...admin,
            users: [{ name: "little", user: { token } }],
            contexts: admin.contexts.map((entry) => ({ ...entry, context: { ...entry.context, user: "little" } })),
        };
        const project = cluster.project(
            `
            const provider = new k8s.Provider("little", { kubeconfig: pulumi.secret(process.env.TEST_KUBECONFIG) });
            new k8s.core.v1.ConfigMap("refused", { metadata: named("refused"), data: { a: "b" } }, { provider });
            `,
            { TEST_KUBECONFIG: JSON.stringify(little) },
        );
        const { outcome, errors, logs } = await project.run("up");
        assert.equal(outcome, "failed");
        const user = `User "system:serviceaccount:${cluster.namespace}:little"`;
        assert.equal(errors.length, 1);
        assert.match(errors[0] ?? "", /^configmaps "refused" is forbidden: /);
        assert.ok(errors[0]?.includes(`${user} cannot`) && errors[0].includes('resource "configmaps" in API group ""'));
        assert.ok(![project.checkpointText(), ...errors, ...logs].join("\n").includes(token), "the token can be read");
        const stale = JSON.stringify({ ...little, users: [{ name: "little", user: { token: "stale" } }] });
        Object.assign(project.environment, { TEST_KUBECONFIG: stale });
        assert.match(
            errorOf(await project.run("up")),
            /Unauthorized: the cluster does not accept the kubeconfig's credential/,
        );
        succeeded(await project.run("destroy"));
    });

    it("`pulumi.com/deletionPropagationPolicy` says what becomes of what an object owns", async () => {
        const project = cluster.project(`
            const policy = (value) => ({ metadata: { annotations: { "pulumi.com/deletionPropagationPolicy": value } }, replicas: 0 });
            new k8s.apps.v1.Deployment("left", deploymentOf("left", "true", policy("orphan")));
            new k8s.apps.v1.Deployment("taken", deploymentOf("taken", "true", policy("foreground")));
        `);
        succeeded(await project.run("up"));
        succeeded(await project.run("destroy"));
        const left = (await cluster.kubectl("get", "replicasets", "-o", "name")).trim();
        assert.match(left, /^replicaset\.apps\/left-[^\n]*$/);
        await cluster.kubectl("delete", left);
    });

    it("an object deleted by hand is forgotten by `refresh`, and created again by `up`; one that was changed is set back", async () => {
        const project = cluster.project(`
            for (const name of ["gone", "changed", "kept"]) {
                new k8s.core.v1.ServiceAccount(name, { metadata: named(name, { labels: { made: "here" } }) });
            }
        `);
        succeeded(await project.run("up"));
        await cluster.kubectl("delete", "serviceaccount", "gone");
        await cluster.kubectl("label", "serviceaccount", "changed", "--overwrite", "made=there");
        await cluster.kubectl("label", "serviceaccount", "kept", "not=ours");
        succeeded(await project.run("refresh"));
        assert.deepEqual(project.lastUpdate().resourceChanges, { same: 2, update: 1, delete: 1 });
        assert.deepEqual([...project.names()].sort(), ["changed", "kept"]);
        await cluster.kubectl(
            "label",
            "serviceaccount",
            "changed",
            "made=here",
            "--overwrite",
            "--field-manager=pulumi-kubernetes",
        );
        assert.deepEqual([...succeeded(await project.run("up"))].sort(), ["create gone", "update changed"]);
        assert.equal((await cluster.object("serviceaccount", "changed"))?.metadata.labels?.made, "here");
        succeeded(await project.run("destroy"));
    });

    it("a change that an object cannot have replaces it: one with a name that was made first creates, one with a name of its own first deletes", async () => {
        const project = cluster.project(`
            const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "role-" + step };
            new k8s.rbac.v1.RoleBinding("made", { metadata: { namespace }, roleRef });
            new k8s.rbac.v1.RoleBinding("given", { metadata: named("given"), roleRef });
        `);
        succeeded(await project.run("up"));
        const [made, given] = [nameOf(project, "made"), await cluster.object("rolebinding", "given")];
        project.configure({ step: 2 });
        const steps = succeeded(await project.run("up"));
        const of = (name: string): readonly string[] => steps.filter((step) => step.endsWith(` ${name}`));
        assert.deepEqual(of("made"), ["create-replacement made", "delete-replaced made"]);
        assert.deepEqual(of("given"), ["delete-replaced given", "create-replacement given"]);
        assert.match(made, /^made-[0-9a-f]{8}$/);
        assert.notEqual(nameOf(project, "made"), made);
        assert.equal(await cluster.object("rolebinding", made), undefined);
        assert.notEqual((await cluster.object("rolebinding", "given"))?.metadata.uid, given?.metadata.uid);
        succeeded(await project.run("destroy"));
    });

    it("a preview asks the server: what it would refuse is refused in its words, and nothing is made", async () => {
        const project = cluster.project(`
            const { metadata, spec } = deploymentOf("invalid", "true", { replicas: 0 });
            new k8s.apps.v1.Deployment("invalid", { metadata, spec: { ...spec, selector: { matchLabels: { app: "another" } } } });
            new k8s.core.v1.ConfigMap("map", { metadata: named("map") });
        `);
        const { outcome, errors } = await project.run("preview");
        assert.equal(outcome, "failed");
        assert.match(
            errors.join("\n"),
            /^Deployment\.apps "invalid" is invalid: .*`selector` does not match template `labels`/,
        );
        assert.equal(await cluster.object("configmap", "map"), undefined);
        assert.equal(await cluster.object("deployment", "invalid"), undefined);
    });

    it("ConfigMaps are replaced, and updated where the provider has `enableConfigMapMutable`; labels are updated", async () => {
        const project = cluster.project(`
            const provider = new k8s.Provider("mutable", { enableConfigMapMutable: true });
            const data = { step: String(step) };
            new k8s.core.v1.ConfigMap("mutable", { metadata: named("mutable"), data }, { provider });
            new k8s.core.v1.ConfigMap("replaced", { metadata: named("replaced"), data });
            new k8s.core.v1.ServiceAccount("account", { metadata: named("account", { labels: data }) });
        `);
        const uids = async (): Promise<readonly unknown[]> => [
            (await cluster.object("configmap", "mutable"))?.metadata.uid,
            (await cluster.object("serviceaccount", "account"))?.metadata.uid,
        ];
        succeeded(await project.run("up"));
        const before = await uids();
        project.configure({ step: 2 });
        assert.deepEqual([...succeeded(await project.run("up"))].sort(), [
            "create-replacement replaced",
            "delete-replaced replaced",
            "update account",
            "update mutable",
        ]);
        assert.deepEqual(await uids(), before);
        assert.deepEqual((await cluster.object("configmap", "mutable"))?.data, { step: "2" });
        assert.deepEqual((await cluster.object("serviceaccount", "account"))?.metadata.labels, { step: "2" });
        succeeded(await project.run("destroy"));
    });

    it("the data of Secrets, and what is secret in other objects, are nowhere in the state in plain", async () => {
        const project = cluster.project(`
            const secret = new k8s.core.v1.Secret("secret", { metadata: named("secret"), stringData: { key: "open-sesame" } });
            const data = { key: pulumi.secret("open-barley"), same: secret.data.apply((data) => data.key) };
            new k8s.core.v1.ConfigMap("map", { metadata: named("map"), data });
            exports.data = secret.data;
            const raw = { apiVersion: "v1", kind: "Secret", metadata: named("raw"), stringData: { key: "open-sesame" } };
            new k8s.apiextensions.CustomResource("raw", raw);
        `);
        succeeded(await project.run("up"));
        const encoded = Buffer.from("open-sesame").toString("base64");
        assert.equal((await cluster.object("secret", "secret"))?.data?.key, encoded);
        assert.deepEqual((await cluster.object("configmap", "map"))?.data, { key: "open-barley", same: encoded });
        for (const kind of ["preview", "refresh", "up"] as const) {
            const { steps, logs } = await project.run(kind);
            assert.deepEqual(steps, []);
            const text = project.checkpointText() + logs.join("\n");
            for (const plain of ["open-sesame", "open-barley", encoded]) {
                assert.ok(!text.includes(plain), `${plain} can be read after ${kind}`);
            }
        }
        succeeded(await project.run("destroy"));
    });
});
