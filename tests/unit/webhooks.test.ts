import * as assert from "node:assert/strict";

import type { FastifyInstance } from "fastify";

import { isSigned } from "../../service/http/webhooks";
import { createWebhookServer } from "../../service/http/webhookServer";
import { deliver, type Delivery, payloads } from "../helpers/githubWebhook";
import { GitServer } from "../helpers/gitServer";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";
import { Watching } from "../helpers/watching";

const name = "kerbodyne/ke-1";
const secret = "7c1b".repeat(16);
const none = "0".repeat(40);

describe("a webhook of GitHub's", () => {
    const cleanUp: (() => unknown)[] = [];
    let repository: TemporaryRepository;
    let server: GitServer;
    let made: Watching;
    let app: FastifyInstance;

    beforeEach(async () => {
        repository = new TemporaryRepository();
        cleanUp.push(() => repository.remove());
        const first = repository.commit("1");
        server = await GitServer.start("127.0.0.1");
        cleanUp.push(async () => server.stop());
        const address = await server.push(repository, "ke-1");
        // What GitHub's address stands for here: git's own way to say so.
        const environment = {
            GIT_CONFIG_COUNT: "1",
            GIT_CONFIG_KEY_0: `url.${address}.insteadOf`,
            GIT_CONFIG_VALUE_0: `https://github.com/${name}`,
        };
        const before = { ...process.env };
        Object.assign(process.env, environment);
        cleanUp.push(() => {
            for (const variable of Object.keys(environment)) {
                if (before[variable] === undefined) {
                    Reflect.deleteProperty(process.env, variable);
                } else {
                    process.env[variable] = before[variable];
                }
            }
        });
        const files = new TemporaryDirectory();
        cleanUp.push(() => files.remove());
        // A secret that is being changed: the old one and the new one.
        files.file("secret", `${"0ld!".repeat(8)}\n${secret}\n`, 0o600);
        const file = files.file(
            "watch.yaml",
            `repositories:
  - { repository: https://github.com/${name}, branches: [main], tags: ["v*"], webhookSecretFile: secret }
  - { repository: https://github.com/kerbodyne/unsigned, branches: [main] }
`,
        );
        // Never by itself in the time that a test takes.
        made = new Watching([file], { interval: 3600 });
        cleanUp.push(async () => made.remove());
        made.finish(first);
        await made.start();
        await made.until("ended");
        app = await createWebhookServer({ watcher: made.watcher, state: made.state });
        cleanUp.push(async () => app.close());
    });

    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    const send = async ({ headers, body }: Delivery) => {
        const response = await app.inject({ method: "POST", url: "/v1/webhooks/github", headers, payload: body });
        return { code: response.statusCode, body: response.body, status: status(response.body) };
    };
    const push = (after: string, options: Parameters<typeof deliver>[3] = {}, by = secret, to = name) =>
        deliver("push", payloads.push(to, "refs/heads/main", none, after), by, options);

    it("has the branch looked at, and its commit built, at once", async () => {
        for (const [index, form] of [false, true].entries()) {
            const tag = repository.commit(`after ${index}`);
            made.finish(tag);
            await server.push(repository, "ke-1");
            const answered = await send(push(repository.git("rev-parse", "HEAD"), { form }));
            assert.deepEqual([answered.code, answered.status], [202, "looking"]);
            await made.until("ended", index + 2);
            assert.equal(made.told("ended").at(-1)?.buildTag, tag);
        }
        assert.equal(made.told("webhook").length, 2);
    });

    it("is not too early: what is not there yet is looked for again", async () => {
        const tag = repository.commit("slow");
        made.finish(tag);
        const asked = server.asked.length;
        assert.equal((await send(push(repository.git("rev-parse", "HEAD")))).code, 202);
        while (server.asked.length === asked) {
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
        await server.push(repository, "ke-1");
        await made.until("ended", 2);
        assert.equal(made.told("ended").at(-1)?.buildTag, tag);
    });

    it("has a new tag built under its name", async () => {
        repository.commit("release");
        repository.git("tag", "v1.0.0");
        made.finish("v1.0.0");
        made.finish(repository.git("rev-parse", "--short", "HEAD"));
        await server.push(repository, "ke-1");
        assert.equal((await send(deliver("create", payloads.create(name, "v1.0.0"), secret))).code, 202);
        await made.until("ended", 3);
        assert.ok(made.told("ended").some(({ buildTag }) => buildTag === "v1.0.0"));
    });

    it("is answered when it only says hello, or something that is of no concern", async () => {
        const ping = await send(deliver("ping", payloads.ping(name), secret));
        assert.deepEqual([ping.code, ping.status], [200, "pong"]);
        const star = await send(deliver("star", { action: "created", ...payloads.ping(name) }, secret));
        assert.deepEqual([star.code, star.status], [202, "ignored"]);
        assert.equal(made.told("webhook").length, 0);
    });

    it("is not taken twice: not under its own id, and not under another", async () => {
        const delivery = push("1".repeat(40));
        assert.equal((await send(delivery)).status, "looking");
        assert.deepEqual([(await send(delivery)).code, (await send(delivery)).status], [200, "known"]);
        const disguised = { ...delivery, headers: { ...delivery.headers, "x-github-delivery": "another" } };
        assert.equal((await send(disguised)).status, "known");
        const reused = push("2".repeat(40), { id: delivery.headers["x-github-delivery"] ?? "" });
        assert.equal((await send(reused)).status, "known");
        assert.equal(made.told("webhook").length, 1);
        // A new watcher on the same data remembers.
        await app.close();
        await made.close();
        await made.start();
        app = await createWebhookServer({ watcher: made.watcher, state: made.state });
        assert.equal((await send(delivery)).status, "known");
    });

    it("is refused alike whatever is wrong with it, so that nobody learns what is watched", async () => {
        const good = push("3".repeat(40));
        const { "x-hub-signature-256": signature = "", ...unsigned } = good.headers;
        const json = (headers: Record<string, string>, body = good.body) => ({ headers, body });
        const refusedOnes: readonly Delivery[] = [
            json(unsigned),
            json({ ...unsigned, "x-hub-signature-256": "" }),
            json({ ...unsigned, "x-hub-signature-256": signature.slice(0, -2) }),
            json({ ...unsigned, "x-hub-signature-256": signature.replace("sha256=", "sha1=") }),
            json({ ...unsigned, "x-hub-signature-256": `sha256=${"0".repeat(64)}` }),
            json(good.headers, `${good.body} `),
            push("3".repeat(40), {}, "another secret of some length"),
            push("3".repeat(40), {}, ""),
            push("3".repeat(40), {}, secret, "kerbodyne/unwatched"),
            // Watched, and without a secret: nothing it could be signed with.
            push("3".repeat(40), {}, "", "kerbodyne/unsigned"),
            push("3".repeat(40), {}, secret, "kerbodyne/unsigned"),
            deliver("push", "not JSON", secret),
            deliver("push", "null", secret),
            deliver("push", '{"repository": {"clone_url": 7, "html_url": "nonsense"}}', secret),
            deliver("push", "", secret),
        ];
        const answers = [];
        for (const delivery of refusedOnes) {
            answers.push(await send(delivery));
        }
        assert.deepEqual(
            [...new Set(answers.map(({ code, body }) => `${code} ${body}`))].length,
            1,
            JSON.stringify(answers),
        );
        assert.equal(answers[0]?.code, 401);
        assert.equal(made.told("webhook").length, 0);
        assert.equal((await send(good)).status, "looking", "and what is right is still taken");
    });

    it("is refused where it is too large, before anything is done with it", async () => {
        const { code } = await send(
            deliver("push", { ...payloads.ping(name), more: "x".repeat(4 * 1024 * 1024) }, secret),
        );
        assert.equal(code, 413);
    });

    it("is signed as GitHub's own example is", () => {
        // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
        const signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        const body = Buffer.from("Hello, World!");
        assert.equal(isSigned(body, signature, ["It's a Secret to Everybody"]), true);
        assert.equal(isSigned(body, signature, ["It's a Secret to Nobody"]), false);
        assert.equal(isSigned(body, signature, []), false);
    });
});

function status(body: string): string | undefined {
    try {
        return (JSON.parse(body) as { readonly status?: string }).status;
    } catch {
        return undefined;
    }
}
