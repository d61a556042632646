import * as assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { stringify } from "yaml";

import { buildTagLabel } from "../../contract/labels";
import { GitHubServer } from "../helpers/github";
import { pushVariant } from "../helpers/images";
import { ke1, kubectl } from "../helpers/ke1";
import { freePort } from "../helpers/ports";
import { account, PrivateRegistry } from "../helpers/registry";
import { RunningService } from "../helpers/service";
import { TemporaryDirectory } from "../helpers/temporary";

const github = { repository: "kerbodyne/booster", token: "ghp_0123456789abcdefghijklmnopqrstuvwxyz" };
const script = 'mkdir -p bin; echo "made with $VARIANT" | tee bin/variant; sleep ${PAUSE:-0}';

/** Pushes to a real registry that tells of them, and what a real service makes of that. */
describe("registry triggers", () => {
    const directory = new TemporaryDirectory();
    let registry: PrivateRegistry;
    let service: RunningService;
    let releases: GitHubServer;
    let image: string;
    let environment: NodeJS.ProcessEnv;

    before(async () => {
        const port = await freePort("127.0.0.1");
        const file = path.join(directory.path, "triggers.yaml");
        service = new RunningService("triggers", ["--port", String(port), "--triggers", file]);
        registry = await PrivateRegistry.start({
            isOpen: true,
            notify: {
                url: `http://127.0.0.1:${port}/v1/webhooks/registry`,
                authorization: `Bearer ${service.tokenOf("registry", "builds:write")}`,
            },
        });
        releases = await GitHubServer.start(github.repository, github.token);
        image = `${registry.address}/team/toolchain`;
        directory.file("secret", "whsec\n", 0o600);
        directory.file(
            "triggers.yaml",
            stringify({
                webhookSecretFile: "secret",
                triggers: [
                    {
                        name: "main",
                        image: `${image}:main`,
                        // Far apart: what starts a build in this test's time is a notification.
                        interval: "1h",
                        command: ["sh", "-ec", script],
                        labels: { app: "tool" },
                        release: { repository: github.repository, tag: "{tag}-{digest}" },
                    },
                    { name: "polled", image: `${registry.address}/team/other`, interval: "5s", command: ["true"] },
                ],
            }),
        );
        environment = { GITHUB_API_URL: releases.apiUrl, GITHUB_TOKEN: github.token };
    });

    after(async () => {
        await service.remove();
        await releases.stop();
        await registry.stop();
        directory.remove();
    });

    const builds = async (trigger: string): Promise<readonly any[]> => {
        const { body } = await service.ask("GET", `/v1/builds?label=trigger%3D${trigger}`);
        return [...body.builds].reverse();
    };

    const until = async <T>(what: string, found: () => Promise<T | undefined>, seconds = 90): Promise<T> => {
        const end = Date.now() + seconds * 1000;
        while (Date.now() < end) {
            const value = await found();
            if (value !== undefined) {
                return value;
            }
            await sleep(200);
        }
        throw new Error(`${what} has not come: ${service.output}`);
    };

    const ended = async (digest: string) =>
        until(`the end of the build of ${digest}`, async () =>
            (await builds("main")).find(
                ({ labels, state }) => labels.digest === digest && ["succeeded", "failed", "cancelled"].includes(state),
            ),
        );

    it("builds each new digest once, one at a time, and of those that come meanwhile the newest", async () => {
        await pushVariant(`${image}:main`, { VARIANT: "known" });
        await service.start(environment);
        await until("the first look", async () =>
            (await service.ask("GET", "/v1/triggers")).body.find((each: any) => each.name === "main" && each.lookedAt),
        );
        assert.deepEqual(await builds("main"), [], "what was there is known");

        const first = await pushVariant(`${image}:main`, { VARIANT: "first", PAUSE: "6" });
        const running = await until("a build", async () => (await builds("main")).at(0));
        assert.deepEqual([running.labels.digest, running.labels.tag, running.labels.app], [first, "main", "tool"]);
        const passed = await pushVariant(`${image}:main`, { VARIANT: "passed over" });
        const second = await pushVariant(`${image}:main`, { VARIANT: "second", PAUSE: "4" });
        const waiting = await until("what waits", async () =>
            (await service.ask("GET", "/v1/triggers")).body.find((each: any) => each.pending?.digest === second),
        );
        assert.equal(waiting.build, running.id);
        assert.equal((await builds("main")).length, 1, "no second one while one runs");

        const one = await ended(first);
        assert.deepEqual(
            [one.state, one.outcome],
            ["succeeded", "Succeeded"],
            `${one.message as string} ${service.output}`,
        );
        // Killed while the second runs: it is taken up, and neither forgotten nor begun anew.
        await until("the second build", async () =>
            (await builds("main")).find(({ labels }) => labels.digest === second),
        );
        await until("its start", async () =>
            (await builds("main")).find((build) => build.buildTag && build.id !== one.id),
        );
        await service.end("SIGKILL");
        await service.start(environment);
        const two = await ended(second);
        assert.equal(two.state, "succeeded", `${two.message as string} ${service.output}`);
        const all = await builds("main");
        assert.deepEqual(
            all.map(({ labels }) => labels.digest),
            [first, second],
        );
        assert.ok(!all.some(({ labels }) => labels.digest === passed));
        assert.ok(Date.parse(two.startedAt) >= Date.parse(one.endedAt), "one after the other");
    });

    it("keeps a finished one's pod for its logs until the next", async () => {
        const last = (await builds("main")).at(-1);
        const { body } = await service.ask("GET", `/v1/builds/${last.id}`);
        assert.equal(body.kept, true);
        const pods = JSON.parse(
            await kubectl("get", "pods", "-A", "-l", `${buildTagLabel}=${last.buildTag}`, "-o", "json"),
        );
        assert.equal(pods.items.length, 1, "its own, and not that of the one before it");
        const { namespace, name } = pods.items[0].metadata;
        assert.match(await kubectl("logs", "-n", namespace, name, "-c", "build"), /made with second/);
        assert.ok(pods.items[0].spec.containers.some((each: any) => each.image === `${image}@${last.labels.digest}`));
    });

    it("releases what it has built, and tells no build of the token", async () => {
        const all = await builds("main");
        const tags = releases.releases.map(({ tag_name, draft }) => `${tag_name} ${draft ? "draft" : "published"}`);
        const expected = all.map(({ labels }) => `main-${labels.digest.slice(7, 19)} published`);
        assert.deepEqual([...tags].sort(), expected.sort());
        assert.ok(releases.releases.every(({ assets }) => assets.some(({ name }) => name === "variant")));
        assert.ok(all.every(({ releaseUrl }) => releaseUrl.includes("/kerbodyne/booster/releases/tag/main-")));
        assert.ok(!JSON.stringify(all).includes(github.token) && !service.output.includes(github.token));
    });

    it("looks by itself too, also at a repository that comes to be later", async () => {
        const digest = await pushVariant(`${registry.address}/team/other:latest`, { VARIANT: "polled" });
        const build = await until("the polled build", async () => (await builds("polled")).at(0), 30);
        assert.equal(build.labels.digest, digest);
        await service.ask("POST", `/v1/builds/${build.id as string}/cancel`);
    });

    it("takes GitHub's notifications by their signature, and others by a token alone", async () => {
        const item = { package_type: "CONTAINER", namespace: "Team", name: "toolchain" };
        const body = JSON.stringify({ action: "published", package: item });
        const send = async (headers: RequestInit["headers"], text = body) =>
            fetch(`${service.url}/v1/webhooks/registry`, { method: "POST", headers, body: text });
        const sign = (secret: string) => `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
        const event = { "x-github-event": "package", "content-type": "application/json" };
        const good = await send({ ...event, "x-hub-signature-256": sign("whsec") });
        assert.deepEqual([good.status, await good.json()], [202, { triggers: ["main"] }]);
        for (const headers of [
            { ...event, "x-hub-signature-256": sign("other") },
            { ...event, "x-hub-signature-256": "" },
            event,
            { authorization: "Bearer wrong" },
        ]) {
            assert.equal((await send(headers)).status, 401);
        }
        const reader = { authorization: `Bearer ${service.token}` };
        assert.equal((await send(reader, "{")).status, 400);
        assert.equal((await send(reader, "x".repeat(1024 * 1024 + 1))).status, 413);
    });

    it("asks a registry that wants a password with that of a Docker configuration", async () => {
        const closed = await PrivateRegistry.start();
        try {
            const { username, password } = account;
            const credential = (serveraddress: string) => Promise.resolve({ serveraddress, username, password });
            const digest = await pushVariant(`${closed.address}/app:1.2.0`, {}, credential);
            const auth = Buffer.from(`${username}:${password}`).toString("base64");
            directory.file("docker.json", JSON.stringify({ auths: { [closed.address]: { auth } } }), 0o600);
            const triggers = [{ name: "closed", image: `${closed.address}/app`, policy: "minor" }];
            const withPassword = directory.file("closed.yaml", stringify({ credentials: "docker.json", triggers }));
            const found = await ke1(["triggers", "check", "--look", withPassword]);
            assert.equal(found.code, 0, found.stderr);
            assert.ok(found.stdout.includes(`1.2.0  ${digest}`), found.stdout);
            directory.file("nobody.json", "{}");
            const without = directory.file("open.yaml", stringify({ credentials: "nobody.json", triggers }));
            const refused = await ke1(["triggers", "check", "--look", without]);
            assert.deepEqual([refused.code, refused.stderr.split("\n").length], [1, 2]);
            assert.match(refused.stderr, /the registry wants to know who asks/);
        } finally {
            await closed.stop();
        }
    });
});
