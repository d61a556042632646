import * as assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";

import { TemporaryStack } from "../helpers/ke1";
import { api, prepare, type Prepared } from "../helpers/prepared";
import { TemporaryDirectory } from "../helpers/temporary";

const password = "correct horse battery staple";
/** A build that comes to print it, though nobody gave it to it: not even the command has it. */
const accident = [
    'secret=$(echo "pbeerpg ubefr onggrel fgncyr" | tr a-z n-za-m)',
    'echo "plain $secret"',
    'printf %s "$secret" | base64',
    `echo "token ghp_${"aB3dE5gH7j".repeat(4).slice(0, 36)}"`,
    'printf %s "${secret%battery*}"; sleep 1; echo "battery ${secret#*battery }"',
    "mkdir -p bin; echo hello > bin/greeting",
].join("; ");

/** Secrets of the namespace that the exporter alone has: through the whole program, on the cluster. */
describe("a build whose exporter has secrets", () => {
    const stack = new TemporaryStack("secrets");
    const directory = new TemporaryDirectory();
    let prepared: Prepared;
    let publicKey: string;

    before(async () => {
        prepared = await prepare();
        const { core } = api();
        const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
        await core.createNamespace({ body: { metadata: { name: stack.namespace, labels } } });
        const pair = generateKeyPairSync("ed25519");
        publicKey = directory.file("public.pem", pair.publicKey.export({ type: "spki", format: "pem" }) as string);
        for (const [name, stringData] of Object.entries<Record<string, string>>({
            mask: { password },
            signing: { key: pair.privateKey.export({ type: "pkcs8", format: "pem" }) as string },
        })) {
            await core.createNamespacedSecret({
                namespace: stack.namespace,
                body: { metadata: { name }, stringData },
            });
        }
    });

    after(async () => {
        await stack.remove();
        directory.remove();
    });

    it("shows none of them: not in the store, on the screen, in the state, or in the pod's own log", async () => {
        stack.configure({
            source: prepared.repository.path,
            buildTag: prepared.buildTag,
            image: prepared.image,
            exporterImage: prepared.exporterImage,
            createNamespace: false,
            command: ["sh", "-c", accident],
            maskSecret: "mask",
            signingKeySecret: "signing",
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const log = (await stack.ke1(["logs", prepared.buildTag])).stdout;
        assert.match(log, /^plain \*\*\*\n\*\*\*\ntoken \*\*\*\n\*\*\*\n/m, log);
        const { items } = await api().core.listNamespacedPod({ namespace: stack.namespace });
        const pod = items[0]?.metadata?.name ?? "";
        const own = await api().core.readNamespacedPodLog({
            name: pod,
            namespace: stack.namespace,
            container: "build",
        });
        assert.match(own, /^ke1: what the build prints is masked and only in the store: ke1 logs \S+\n$/);
        const state = (await stack.ke1(["stack", "export"])).stdout;
        for (const [where, text] of Object.entries({ log, own, state, screen: up.stderr + up.stdout })) {
            assert.ok(!text.includes("correct horse"), where);
            assert.ok(!text.includes(Buffer.from(password).toString("base64").slice(4, 20)), where);
            assert.ok(!text.includes("BEGIN PRIVATE KEY"), where);
        }
    });

    it("is signed with the one, and the build's container has neither", async () => {
        const verified = await stack.ke1(["verify", prepared.buildTag, "--key", publicKey]);
        assert.equal(verified.code, 0, verified.stdout + verified.stderr);
        const { items } = await api().core.listNamespacedPod({ namespace: stack.namespace });
        const mounts = items[0]?.spec?.containers.find(({ name }) => name === "build")?.volumeMounts ?? [];
        assert.deepEqual(mounts.map(({ name }) => name).sort(), ["shared", "wrapper"]);
    });
});
