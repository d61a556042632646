import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { servicesDirectory } from "../../platform/home";
import { BuildkiteServer } from "../helpers/buildkite";
import { GitServer } from "../helpers/gitServer";
import { kubectl, platform, TemporaryStack } from "../helpers/ke1";
import { BuildableRepository } from "../helpers/buildable";
import { TemporaryDirectory } from "../helpers/temporary";
import { makeCertificate } from "../helpers/tlsAzurite";

const agentToken = "registration-token-of-the-organization";

/** The two services that nobody calls: each a stack of its own, with its pod, and a build that it launches by itself. */
describe("a watcher and a spawner in the cluster", function () {
    this.timeout(600_000);
    const directory = new TemporaryDirectory();
    const repository = new BuildableRepository(["mkdir -p bin", "cp content bin/"]);
    const host = new URL(platform().blobEndpoint).hostname;
    const stacks: TemporaryStack[] = [];
    let sources: GitServer;
    let buildkite: BuildkiteServer;
    let commit: string;

    before(async () => {
        sources = await GitServer.start(host);
        const { authority, certificate, key } = makeCertificate(directory, host);
        buildkite = await new BuildkiteServer({
            registrationToken: agentToken,
            tls: { host, certificate, key },
        }).start();
        repository.file("content", "1\n");
        commit = repository.commit();
        const address = await sources.push(repository, "source");
        const builds = {
            image: platform().baseImage,
            sourceMode: "mirror",
            command: ["sh", "-c", "mkdir -p bin && cp content bin/ && echo built"],
        };
        const service = { parallel: 1, builds, sources: [address] };
        const watcher = new TemporaryStack("watcher", {
            // A commit's own Dockerfile, and no Docker anywhere.
            imageBuilder: "cluster",
            service: { parallel: 1, command: "watch", arguments: [`${address}^*`, "--interval", "1"] },
        });
        const spawner = new TemporaryStack("spawner", {
            createNamespace: false,
            service: {
                ...service,
                command: "spawn",
                arguments: [
                    ...["--endpoint", buildkite.url, "--token-file", "/run/ke1/secret/token"],
                    ...["--allow-source", host],
                ],
                reaches: [`${host}/32:${new URL(address).port}`],
                certificates: fs.readFileSync(authority, "utf8"),
                secret: "agent",
            },
        });
        stacks.push(watcher, spawner);
        await kubectl("create", "namespace", spawner.namespace);
        const secret = ["--namespace", spawner.namespace, `--from-literal=token=${agentToken}`];
        await kubectl("create", "secret", "generic", "agent", ...secret);
        for (const up of await Promise.all(stacks.map(async (stack) => stack.ke1(["up", "--yes"])))) {
            assert.equal(up.code, 0, up.stderr);
        }
    });
    after(async () => {
        for (const stack of stacks) {
            const destroyed = await stack.ke1(["destroy", "--yes"]);
            await stack.remove();
            // Where `destroy` could not.
            const namespaces = ["", "-builds-0", "-images"].map((suffix) => `${stack.namespace}${suffix}`);
            await kubectl("delete", "namespace", ...namespaces, "--ignore-not-found", "--wait=false");
            const volumes = ["data", "gateway"].map((what) => `ke1-${what}-${stack.namespace}`);
            await kubectl("delete", "persistentvolume", ...volumes, "--ignore-not-found", "--wait=false");
            const rules = "validatingadmissionpolicies,validatingadmissionpolicybindings";
            await kubectl("delete", rules, `ke1-${namespaces[1]}`, "--ignore-not-found");
            fs.rmSync(path.join(servicesDirectory(), stack.namespace), { recursive: true, force: true });
            assert.equal(destroyed.code, 0, destroyed.stderr);
        }
        await buildkite.stop();
        await sources.stop();
        repository.remove();
        directory.remove();
    });

    const until = async (stack: TemporaryStack, what: string, is: () => boolean | Promise<boolean>) => {
        const end = Date.now() + 300_000;
        while (!(await is())) {
            assert.ok(Date.now() < end, `not within 5 minutes: ${what}\n${await saidBy(stack)}`);
            await sleep(500);
        }
    };
    const isBuilt = async (stack: TemporaryStack, tag: string) =>
        (await stack.blobs(`${tag}/manifest.json`)).length === 1;
    const saidBy = async (stack: TemporaryStack) =>
        kubectl(
            "logs",
            "--namespace",
            stack.namespace,
            "--selector",
            "app.kubernetes.io/component=service",
            "--tail=50",
        );

    it("builds a new commit, and its image", async () => {
        const [watcher] = stacks as [TemporaryStack];
        await until(watcher, "a manifest", async () => isBuilt(watcher, commit));
        assert.equal((await watcher.blob(`${commit}/bin/content`)).toString(), "1\n");
        repository.file("content", "2\n");
        const next = repository.commit();
        await sources.push(repository, "source");
        await until(watcher, "a manifest of the next", async () => isBuilt(watcher, next));
        assert.equal((await watcher.blob(`${next}/bin/content`)).toString(), "2\n");
    });

    it("runs a build server's job, and gives its log and its artifacts back", async () => {
        const [, spawner] = stacks as [TemporaryStack, TemporaryStack];
        const job = buildkite.schedule(
            {
                BUILDKITE_REPO: sources.address("source"),
                BUILDKITE_COMMIT: commit,
                BUILDKITE_BRANCH: "main",
                BUILDKITE_COMMAND: "mkdir -p bin && cp content bin/ && echo spawned",
                BUILDKITE_PIPELINE_SLUG: "shop",
                BUILDKITE_BUILD_NUMBER: "1",
                BUILDKITE_ARTIFACT_PATHS: "bin/*",
            },
            { queue: "ke1" },
        );
        await until(spawner, "the job's end", () => job.state === "finished");
        assert.equal(job.exit?.["exit_status"], "0", buildkite.log(job).toString());
        assert.match(buildkite.log(job).toString(), /spawned/);
        assert.deepEqual(
            job.artifacts.map((artifact) => artifact["path"] as string),
            ["bin/content"],
        );
        assert.deepEqual(buildkite.violations, []);
    });

    it("keeps the agent's token out of its state and of its pod's specification", async () => {
        const [, spawner] = stacks as [TemporaryStack, TemporaryStack];
        const state = await spawner.ke1(["stack", "export", "--show-secrets"]);
        const pods = await kubectl("get", "pods", "--namespace", spawner.namespace, "--output", "yaml");
        assert.match(pods, /--token-file/);
        assert.equal(`${state.stdout}${pods}`.includes(agentToken), false);
    });
});
