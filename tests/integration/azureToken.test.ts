import * as assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";

import type { V1Pod } from "@kubernetes/client-node";

import type { BuildResult } from "../../contract/result";
import type { Watchdogs } from "../../contract/watchdogs";
import { identityBuild } from "../helpers/identityBuild";
import { ke1, kubectl, platform, projectDirectory, TemporaryStack } from "../helpers/ke1";
import { TemporaryDirectory } from "../helpers/temporary";
import { TokenCloud } from "../helpers/tokenCloud";

const run = promisify(execFile);

/** In seconds: what gets nowhere in this time fails the test. */
const watchdogs: Watchdogs = {
    podLimitSeconds: 30,
    scheduleLimitSeconds: 30,
    pullLimitSeconds: 30,
    createLimitSeconds: 30,
    terminateLimitSeconds: 30,
};
const tree = "0123456789abcdef0123456789abcdef01234567";

/**
 * The way of a token, as on Azure: the cluster signs who a pod is, the directory takes that for an identity's token, and
 * the store takes the token; all over TLS of a private authority. Cluster, exporter, launcher and store are the real ones;
 * the directory and the roles are stand-ins that check what Azure checks.
 */
describe("a build with a workload identity", function () {
    this.timeout(120_000);
    const namespace = `ke1-token-${process.pid}`;
    const cleanUp: (() => unknown)[] = [];
    let directory: TemporaryDirectory;
    let cloud: TokenCloud;
    let exporterImage: string;
    let stack: TemporaryStack;

    before(async () => {
        directory = new TemporaryDirectory();
        cleanUp.push(() => directory.remove());
        cloud = new TokenCloud(directory, namespace);
        cleanUp.push(() => cloud.stop());
        await cloud.start();
        cleanUp.push(() => kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false"));
        await Promise.all([prepareNamespace(), pushExporter()]);
        stack = new TemporaryStack("token", { blobEndpoint: cloud.roles.endpoint, blobContainer: cloud.container });
        cleanUp.push(() => stack.remove());
        cloud.roles.assigned.set(cloud.identities.launcher, "writer");
        const made = await ke1(["store", "create"], {
            ...(await cloud.loginOf("launcher")),
            KE1_BLOB_ENDPOINT: cloud.roles.endpoint,
            KE1_BLOB_CONTAINER: cloud.container,
        });
        assert.equal(made.code, 0, made.stderr);
        // From now on as on Azure: who launches may read.
        cloud.roles.assigned.set(cloud.identities.launcher, "reader");
        cloud.roles.assigned.set(cloud.identities.build, "writer");
    });

    after(async () => {
        const failures: unknown[] = [];
        for (const step of cleanUp.splice(0).reverse()) {
            // One that fails keeps none of the others from being taken.
            await Promise.resolve()
                .then(step)
                .catch((error: unknown) => failures.push(error));
        }
        assert.deepEqual(failures, []);
    });

    async function prepareNamespace(): Promise<void> {
        const metadata = (name: string) => ({ namespace, name });
        const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
        const wrapper = fs.readFileSync(path.join(projectDirectory, "exporter/wrapper/wrap.sh"), "utf8");
        const authority = fs.readFileSync(cloud.certificate.authority, "utf8");
        await create({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } });
        await create(
            ...["ke1-build", "launcher", "other"].map((name) => ({
                ...{ apiVersion: "v1", kind: "ServiceAccount", metadata: metadata(name) },
            })),
            { apiVersion: "v1", kind: "ConfigMap", metadata: metadata("wrapper"), data: { wrap: wrapper } },
            { apiVersion: "v1", kind: "ConfigMap", metadata: metadata("authority"), data: { "ca.crt": authority } },
        );
    }

    async function create(...items: readonly object[]): Promise<void> {
        const list = { apiVersion: "v1", kind: "List", items };
        await kubectl("create", "-f", directory.file(`${randomUUID()}.json`, JSON.stringify(list)));
    }

    async function pushExporter(): Promise<void> {
        const env = { ...process.env, DOCKER_HOST: platform().dockerHost };
        const repository = `${platform().registry}/ke-1-exporter`;
        const name = `${repository}:token-test`;
        await run("docker", ["build", "--quiet", "--tag", name, path.join(projectDirectory, "exporter/image")], {
            env,
        });
        const { stdout } = await run("docker", ["push", name], { env });
        const [digest] = /sha256:[0-9a-f]{64}/.exec(stdout) ?? [];
        exporterImage = `${repository}@${digest}`;
        await run("docker", ["rmi", name], { env });
    }

    /** Starts a build as a service account, and awaits it as the launcher does. */
    async function build(buildTag: string, serviceAccount: string, script: string) {
        const job = `build-${buildTag}`;
        await create(
            identityBuild({
                ...{ namespace, job, buildTag, serviceAccount, tree, script, exporterImage },
                containerUrl: cloud.containerUrl,
                baseImage: platform().baseImage,
                clientId: cloud.identities.build,
                tenantId: cloud.entra.tenantId,
                authority: cloud.entra.authority,
            }),
        );
        const awaited = await ke1(["await"], {
            ...(await cloud.loginOf("launcher")),
            KE1_KUBECONFIG: platform().kubeconfig,
            KE1_KUBE_CONTEXT: platform().kubeContext,
            KE1_NAMESPACE: namespace,
            KE1_JOBS: JSON.stringify([job]),
            KE1_MEMORY: JSON.stringify(["2Gi"]),
            KE1_RETRIES: "0",
            KE1_WATCHDOGS: JSON.stringify(watchdogs),
            KE1_BUILD_TAG: buildTag,
            KE1_SOURCE_TREE: tree,
            KE1_COMMAND: JSON.stringify(["make", "build"]),
            KE1_CONTAINER_URL: cloud.containerUrl,
        });
        const get = async (...what: string[]) => kubectl("-n", namespace, ...what);
        const pods = JSON.parse(await get("get", "pods", "-l", `job-name=${job}`, "-o", "json")) as {
            readonly items: readonly V1Pod[];
        };
        const exporterLog = await get("logs", `job/${job}`, "-c", "exporter");
        const cluster = [JSON.stringify(pods), exporterLog, await get("get", "events", "-o", "json")].join("\n");
        return { awaited, pods: pods.items, exporterLog, cluster };
    }

    it("stores log, artifacts and manifest, which the launcher reads with a token of its own", async () => {
        const script = "mkdir -p bin; echo hello > bin/greeting; echo built; env; cat /proc/mounts";
        const { awaited, exporterLog, cluster } = await build("good", "ke1-build", script);
        assert.equal(awaited.code, 0, awaited.stderr);
        const result = JSON.parse(awaited.stdout) as BuildResult;
        assert.deepEqual([result.outcome, result.artifactCount], ["Succeeded", 1]);
        assert.equal(result.binUrl, `${cloud.containerUrl}/good/bin/`);
        assert.doesNotMatch(exporterLog, /trying again/);

        const login = await cloud.loginOf("launcher");
        const [log, builds, listed, fetched] = await Promise.all([
            stack.ke1(["logs", "good"], login),
            stack.ke1(["builds", "--json"], login),
            stack.ke1(["artifacts", "good", "--json"], login),
            stack.ke1(["artifacts", "good", "--to", path.join(directory.path, "fetched")], login),
        ]);
        assert.match(log.stdout, /^built$/m, log.stderr);
        assert.match(builds.stdout, /"outcome": "Succeeded"/, builds.stderr);
        assert.match(listed.stdout, /"name": "greeting"/, listed.stderr);
        assert.equal(fetched.code, 0, fetched.stderr);
        assert.equal(fs.readFileSync(path.join(directory.path, "fetched/greeting"), "utf8"), "hello\n");

        assert.doesNotMatch(log.stdout, /azure|serviceaccount/i, "the build sees nothing of the identity");
        const blobs = await cloud.blobs();
        assert.equal(blobs.get("good/bin/greeting"), "hello\n");
        assert.match(blobs.get("good/manifest.json") ?? "", /"greeting"/);
        assertNoSecret(cluster, ...blobs.values());
        assertNoSecret(...[log, builds, listed, awaited].flatMap(({ stdout, stderr }) => [stdout, stderr]));
        const { build: builder, launcher } = cloud.identities;
        assert.deepEqual(new Set(cloud.entra.exchanges), new Set([`${builder} issued`, `${launcher} issued`]));
        assert.deepEqual(cloud.entra.strays, []);
    });

    it("waits for a role that was assigned a moment ago; the launcher tells a failure, though it may not write", async () => {
        const { build: builder } = cloud.identities;
        cloud.roles.assigned.delete(builder);
        cloud.roles.onRefusal = (client) => {
            if (client === builder) {
                setTimeout(() => cloud.roles.assigned.set(builder, "writer"), 500);
            }
        };
        const { awaited, exporterLog } = await build("failing", "ke1-build", "echo it is broken; exit 7");
        assert.match(exporterLog, /trying again for 3s, .*AuthorizationPermissionMismatch.*role must be assigned/);
        assert.equal(awaited.code, 1, awaited.stderr);
        assert.match(awaited.stderr, /^it is broken$/m);
        assert.match(awaited.stderr, /^BuildFailed: `make build` ended with exit code 7$/m);
        assert.match(awaited.stderr, /^podinfo\.json was not written: .*AuthorizationPermissionMismatch/m);
        assert.ok(!(await cloud.blobs()).has("failing/attempts/1/podinfo.json"));
    });

    it("is refused as any other service account, with a line that says what to do", async () => {
        const { awaited, pods, exporterLog, cluster } = await build("stranger", "other", "mkdir bin; touch bin/never");
        assert.equal(awaited.code, 1);
        const line = awaited.stderr.split("\n").find((each) => each.startsWith("ExportFailed:")) ?? "";
        assert.match(line, new RegExp(`AADSTS700213: .*'system:serviceaccount:${namespace}:other'`), awaited.stderr);
        assert.match(line, /the identity's federated credential must name/);
        assertNoSecret(awaited.stderr, cluster);
        const codes = Object.fromEntries(
            (pods[0]?.status?.containerStatuses ?? []).map((each) => [each.name, each.state?.terminated?.exitCode]),
        );
        assert.deepEqual(codes, { build: 75, exporter: 2 });
        assert.equal(pods.length, 1, "it is not tried again");
        assert.match(exporterLog, /trying again for 3s/);
        assert.ok(![...(await cloud.blobs()).keys()].some((name) => name.startsWith("stranger/")));
    });

    it("is refused for a token of another audience, a forged one, and an identity that is not there", async () => {
        const token = await cloud.serviceAccountToken("ke1-build");
        const [header = "", payload = "", signature = ""] = token.split(".");
        const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as object;
        const later = Buffer.from(JSON.stringify({ ...claims, exp: 4e9 })).toString("base64url");
        const { build: builder } = cloud.identities;
        const { tenantId } = cloud.entra;
        for (const [tenant, client, assertion, code] of [
            [tenantId, builder, await cloud.serviceAccountToken("ke1-build", "api://other"), 700212],
            [tenantId, builder, `${header}.${later}.${signature}`, 50027],
            [tenantId, randomUUID(), token, 700016],
            [randomUUID(), builder, token, 90002],
        ] as const) {
            const env = {
                KE1_DIR: fs.mkdtempSync(path.join(directory.path, "shared-")),
                KE1_BUILD_TAG: "refused",
                KE1_CONTAINER_URL: cloud.containerUrl,
                KE1_CREDENTIAL_PATIENCE: "0s",
                KE1_SOURCE_TREE: tree,
                KE1_COMMAND: '["true"]',
                KE1_IMAGE: exporterImage,
                ...{ KE1_JOB_NAMESPACE: "n", KE1_JOB_NAME: "j", KE1_POD_NAME: "p", KE1_POD_UID: "u" },
                KE1_NODE_NAME: "n",
                AZURE_CLIENT_ID: client,
                AZURE_TENANT_ID: tenant,
                AZURE_AUTHORITY_HOST: cloud.entra.authority,
                AZURE_FEDERATED_TOKEN_FILE: directory.file(`${code}.jwt`, assertion),
                SSL_CERT_FILE: cloud.certificate.authority,
            };
            const failure = await run(path.join(projectDirectory, "exporter/image/ke1-exporter"), [], { env }).then(
                () => assert.fail("it was let in"),
                (error: unknown) =>
                    error as { readonly code: number; readonly stdout: string; readonly stderr: string },
            );
            assert.equal(failure.code, 2, failure.stderr);
            assert.match(failure.stdout, new RegExp(`AADSTS${code}:`));
            assertNoSecret(failure.stdout, failure.stderr);
        }
    });

    it("tells who launches that there is no login, that it is refused, or that it has no role, in one line", async () => {
        const login = await cloud.loginOf("launcher");
        const nobody = await stack.ke1(["builds"], {
            ...login,
            ...{ AZURE_CLIENT_ID: "", AZURE_TENANT_ID: "", AZURE_FEDERATED_TOKEN_FILE: "" },
            // Without a look for a virtual machine's identity, which takes its time where there is none.
            AZURE_TOKEN_CREDENTIALS: "AzureCliCredential",
        });
        const refused = await stack.ke1(["builds"], await cloud.loginOf("other"));
        cloud.roles.assigned.delete(cloud.identities.launcher);
        const roleless = await stack.ke1(["builds"], login);
        for (const [finished, line] of [
            [nobody, /^error: there is no login to Azure, which https:[^ ]+ needs: run `az login`\n$/],
            [refused, /^error: Entra gives no token for https:[^ ]+: AADSTS700213: [^\n]*\n$/],
            [roleless, /^error: your login may not read https:[^\n]* the role "Storage Blob Data Reader"[^\n]*\n$/],
        ] as const) {
            assert.equal(finished.code, 2, finished.stderr);
            assert.match(finished.stderr, line);
            assertNoSecret(finished.stderr);
        }
    });

    function assertNoSecret(...contents: readonly string[]): void {
        assert.ok(cloud.entra.secrets.size > 0);
        const content = contents.join("\n");
        for (const secret of cloud.entra.secrets) {
            // Of its signature, a part is enough: a line may have been cut.
            assert.ok(!content.includes(secret.slice(-43)), "a token is where none may be");
        }
        assert.doesNotMatch(content, /eyJ[\w-]{10,}\.eyJ/);
    }
});
