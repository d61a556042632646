import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { Ajv2020 } from "ajv/dist/2020";

import { signingKey } from "../../launcher/notify/webhook";
import type { CallbackOptions } from "../../service/notify/callbacks";
import { Callbacks, checkCallback } from "../../service/notify/callbacks";
import { Outbox } from "../../service/notify/outbox";
import { AddressGuard } from "../../service/sources/addresses";
import { TestQueue } from "../helpers/buildQueue";
import { projectDirectory } from "../helpers/ke1";
import { WebhookReceiver } from "../helpers/webhook";

const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const timing = { request: 900, firstDelay: 20, longestDelay: 100, longestRetryAfter: 2000 };
const shuttleLabels = {
    app: "web",
    space: "prod",
    app_uuid: "f6bce159-87a7-437f-bed3-2da4e44d9cff",
    build_uuid: "56bce159-87a7-437f-bed3-2da4e44d9cf5",
    build_number: "42",
};

describe("the service's callbacks", () => {
    const cleanUp: (() => unknown)[] = [];
    let receiver: WebhookReceiver;
    let url: string;

    beforeEach(async () => {
        receiver = new WebhookReceiver(secret);
        url = await receiver.start();
        cleanUp.push(async () => receiver.stop());
    });
    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    /** A queue and what tells of its builds, as a service has them. */
    const service = (options: Partial<CallbackOptions> = {}, test = new TestQueue()) => {
        const callbacks = new Callbacks(test.queue, new Outbox(test.store.database), {
            reach: new AddressGuard(["127.0.0.0/8"]),
            key: signingKey(secret),
            timing,
            ...options,
        });
        callbacks.start();
        test.queue.start();
        return { test, callbacks };
    };
    const close = async ({ test, callbacks }: ReturnType<typeof service>) => {
        await callbacks.stop();
        await test.queue.stop();
        test.close();
    };
    const opened = (options: Partial<CallbackOptions> = {}) => {
        const made = service(options);
        cleanUp.push(() => made.test.directory.remove());
        cleanUp.push(async () => close(made));
        return made;
    };
    const until = async (condition: () => boolean, what: string) => {
        for (let waited = 0; !condition(); waited += 10) {
            assert.ok(waited < 8000, `${what}: ${JSON.stringify(receiver.received.map(({ body }) => body))}`);
            await sleep(10);
        }
    };

    it("tells of each change in order, signed, with Authorization, and records it", async () => {
        const headers: (string | undefined)[] = [];
        receiver.answer = (response, _, request) => {
            headers.push(request.headers.authorization);
            response.writeHead(200).end();
        };
        const { test, callbacks } = opened();
        const { id } = test.submit({ callback: url, labels: { app: "web" } }, { callback_auth: "Bearer hush" });
        await test.end(id, { state: "failed", outcome: "BuildFailed", message: "no good\nat all" });
        await until(() => callbacks.pending() === 0 && receiver.received.length === 3, "three are told");
        assert.deepEqual(
            receiver.received.map(({ body }) => body["type"] as string),
            ["queued", "running", "failed"].map((state) => `dev.ke1.service.build.${state}.v1`),
        );
        const schema = JSON.parse(
            fs.readFileSync(path.join(projectDirectory, "contract/schemas/serviceEvent.schema.json"), "utf8"),
        ) as object;
        const validate = new Ajv2020({ strict: true, validateFormats: false }).compile(schema);
        for (const { signed, id: webhookId, body, contentType } of receiver.received) {
            assert.ok(signed);
            assert.equal(webhookId, body["id"]);
            assert.equal(contentType, "application/cloudevents+json; charset=utf-8");
            assert.ok(validate(body), JSON.stringify(validate.errors));
        }
        const { data } = receiver.received[2]!.body;
        assert.equal(data.outcome, "BuildFailed");
        assert.equal(data.message, "no good at all");
        assert.equal(data.buildTag, `tag-${id}`);
        assert.equal(receiver.received[0]!.body["data"].startedAt, undefined);
        assert.deepEqual(headers, ["Bearer hush", "Bearer hush", "Bearer hush"]);
        assert.deepEqual(
            callbacks.of(id).map(({ state, status, tries }) => [state, status, tries.map((made) => made.status)]),
            [
                ["queued", "delivered", [200]],
                ["running", "delivered", [200]],
                ["failed", "delivered", [200]],
            ],
        );
        assert.ok(!JSON.stringify(callbacks.of(id)).includes("hush"));
    });

    it("tells the build shuttle's callers in its own words", async () => {
        const { test, callbacks } = opened();
        const { id } = test.submit({ callback: url, labels: shuttleLabels });
        await test.end(id);
        const cancelled = test.submit({ callback: url, labels: { ...shuttleLabels, build_number: "r-7" } });
        await test.end(cancelled.id, { state: "cancelled", outcome: "Cancelled" });
        await until(() => callbacks.pending() === 0 && receiver.received.length === 4, "four are told");
        const shuttle = (number: number | string, status: string) => ({
            ...{ id: number, status, building: false, type: "buildshuttle" },
        });
        assert.deepEqual(
            receiver.received.map(({ body }) => body).sort((a, b) => String(a["id"]).localeCompare(String(b["id"]))),
            [shuttle(42, "pending"), shuttle(42, "succeeded"), shuttle("r-7", "pending"), shuttle("r-7", "failed")],
        );
        assert.equal(receiver.received[0]!.contentType, "application/json");
    });

    it("tries again after 500, 429 and no answer, never after another 4xx, and heeds Retry-After", async () => {
        const results: string[] = [];
        const { test, callbacks } = opened({ observe: (result) => results.push(result) });
        const answers = [500, 429, 0, 200, 403, 204];
        receiver.answer = (response, nth) => {
            const status = answers[nth - 1];
            if (status === 0) {
                response.destroy();
            } else if (status !== undefined) {
                response.writeHead(status, status === 429 ? { "retry-after": "1" } : {}).end();
            }
        };
        const { id } = test.submit({ callback: url });
        await test.end(id);
        await until(() => callbacks.pending() === 0, "all is said");
        const told = callbacks.of(id);
        assert.deepEqual(
            told.map(({ status, tries }) => [status, tries.map((made) => made.status)]),
            [
                ["delivered", [500, 429, undefined, 200]],
                ["failed", [403]],
                ["delivered", [204]],
            ],
        );
        assert.equal(told[0]!.tries[2]!.problem, "ECONNRESET");
        assert.equal(told[1]!.tries[0]!.problem, "answered 403");
        assert.deepEqual(results, ["retried", "retried", "retried", "delivered", "failed", "delivered"]);
        const [, second, third] = receiver.received;
        assert.ok(third!.after - second!.after >= 990, "Retry-After is heeded");
        assert.equal(new Set(receiver.received.slice(0, 4).map((received) => received.id)).size, 1);
    });

    it("gives a receiver that hangs so much time and no more, and reads no endless answer", async () => {
        receiver.answer = (response, nth) => {
            if (nth === 2) {
                response.writeHead(200);
                const timer = setInterval(() => response.write("x".repeat(10_000)), 1);
                response.on("close", () => clearInterval(timer));
            }
        };
        const { test, callbacks } = opened();
        const { id } = test.submit({ callback: url });
        await until(() => callbacks.of(id)[0]?.status === "delivered", "the second try is taken");
        assert.equal(callbacks.of(id)[0]!.tries[0]!.problem, "no answer in 0.9 s");
    });

    it("follows no redirect", async () => {
        receiver.answer = (response) => response.writeHead(307, { location: `${url}&again` }).end();
        const { test, callbacks } = opened();
        const { id } = test.submit({ callback: url });
        await until(() => callbacks.of(id)[0]?.status === "failed", "it is given up");
        assert.match(callbacks.of(id)[0]!.tries[0]!.problem!, /redirects are not followed/);
    });

    it("gives up in the end, and says so", async () => {
        receiver.answer = (response) => response.writeHead(503).end();
        const said: string[] = [];
        const { test, callbacks } = opened({
            timing: { ...timing, patience: 150 },
            say: (line) => said.push(line),
        });
        const { id } = test.submit({ callback: url }, { callback_auth: "Bearer hush" });
        await until(() => callbacks.of(id)[0]?.status === "failed", "it is given up");
        assert.ok(callbacks.of(id)[0]!.tries.length > 1);
        assert.ok(said.includes(`build ${id}: its callback is not told that it is queued: answered 503`), said.join());
        assert.ok(!said.join().includes("hush") && !said.join().includes("token="));
    });

    it("connects to no internal address, by number or by name", async () => {
        const { test, callbacks } = opened({ reach: new AddressGuard([]) });
        const byName = url.replace("127.0.0.1", "localhost");
        const ids = [url, byName, url.replace("127.0.0.1", "[::ffff:127.0.0.1]"), "http://169.254.169.254/latest"].map(
            (callback) => test.submit({ callback }).id,
        );
        await until(() => ids.every((id) => callbacks.of(id)[0]?.status === "failed"), "all are refused");
        for (const id of ids) {
            assert.match(callbacks.of(id)[0]!.tries[0]!.problem!, /is not a public address/);
        }
        assert.equal(receiver.received.length, 0);
    });

    it("sends what it owes after it was killed, and removes what is told of a build that is removed", async () => {
        receiver.answer = (response) => response.writeHead(500).end();
        const first = service();
        const { directory } = first.test;
        cleanUp.push(() => directory.remove());
        const { id } = first.test.submit({ callback: url }, { callback_auth: "Bearer hush" });
        await until(() => receiver.received.length > 0, "it is tried");
        // As a kill leaves it: an event of which the outbox has not heard.
        await first.callbacks.stop();
        const { id: unheard } = first.test.submit({ callback: url });
        cleanUp.push(() => first.test.close());

        receiver.answer = (response) => response.writeHead(200).end();
        receiver.received.splice(0);
        const second = service({}, new TestQueue(directory));
        cleanUp.push(async () => close(second));
        const statesOf = (build: string) =>
            receiver.received.filter(({ body }) => body["subject"] === build).map(({ body }) => body["data"].state);
        await until(() => statesOf(id).length > 0 && statesOf(unheard).length > 0, "what was owed is told");
        await second.test.end(id);
        await until(() => statesOf(id).includes("succeeded"), "the end is told");
        assert.deepEqual(statesOf(id), ["queued", "running", "succeeded"]);
        assert.equal(second.callbacks.of(id).length, 3);
        await second.test.queue.remove(id);
        await until(() => second.callbacks.of(id).length === 0, "it is forgotten");
    });

    it("sends what it owes also when nothing happens any more", async () => {
        receiver.answer = (response) => response.writeHead(500).end();
        const first = service();
        const { directory } = first.test;
        cleanUp.push(() => directory.remove());
        const { id } = first.test.submit({ callback: url });
        await first.test.end(id);
        await until(() => first.test.queue.get(id)?.kept === false, "its stack is gone");
        await first.callbacks.stop();
        first.test.close();

        receiver.answer = (response) => response.writeHead(200).end();
        const second = service({}, new TestQueue(directory));
        cleanUp.push(async () => close(second));
        await until(() => second.callbacks.pending() === 0, "what was owed is told");
        assert.deepEqual(
            second.callbacks.of(id).map(({ state, status }) => [state, status]),
            ["queued", "running", "succeeded"].map((state) => [state, "delivered"]),
        );
    });

    it("still tells the end of a build that is removed at once", async () => {
        let open = false;
        receiver.answer = (response) => response.writeHead(open ? 200 : 503).end();
        const { test, callbacks } = opened();
        const { id } = test.submit({ callback: url });
        await test.end(id);
        await test.queue.remove(id);
        await sleep(50);
        open = true;
        await until(() => receiver.received.at(-1)?.body["data"].state === "succeeded", "the end is told");
        await until(() => callbacks.of(id).length === 0, "it is forgotten");
    });

    it("sends no Authorization over plain HTTP to a public address", async () => {
        // A guard that takes this machine for the Internet, and a public address that nobody connects to.
        const { test, callbacks } = opened({ reach: { allows: () => true } });
        const { id } = test.submit({ callback: "http://192.0.2.1/hook" }, { callback_auth: "Bearer hush" });
        const { id: near } = test.submit(
            { callback: url.replace("127.0.0.1", "localhost") },
            { callback_auth: "Bearer hush" },
        );
        await until(() => callbacks.of(id)[0]?.status === "failed", "it is refused");
        await until(() => callbacks.of(near)[0]?.status === "delivered", "this machine is no public place");
        assert.match(callbacks.of(id)[0]!.tries[0]!.problem!, /use https/);
    });

    it("looks at the address when a build is asked for", () => {
        checkCallback("https://hooks.example.com/a?b=c");
        for (const [bad, why] of [
            ["ftp://example.com/", /must be a URL that begins with https/],
            ["nothing", /must be a URL/],
            ["https://user:hush@example.com/", /without a user and password/],
            ["https://example.com/#hush", /without a fragment/],
        ] as const) {
            assert.throws(
                () => checkCallback(bad),
                (error: Error) => why.test(error.message) && !error.message.includes("hush"),
            );
        }
    });
});
