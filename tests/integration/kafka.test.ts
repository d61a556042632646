import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { BuildRequest } from "../../service/build";
import type { KafkaOptions } from "../../service/notify/kafka";
import { KafkaEvents } from "../../service/notify/kafka";
import { usualStreamLimits } from "../../service/notify/kafkaStream";
import { notifySettings } from "../../service/notify/settings";
import { AddressGuard } from "../../service/sources/addresses";
import { TestQueue } from "../helpers/buildQueue";
import { GrowingBlobs } from "../helpers/growingBlobs";
import { Kafka } from "../helpers/kafka";
import { TemporaryDirectory } from "../helpers/temporary";

const loopback = new AddressGuard(["127.0.0.0/8"]);
const shuttleLabels = { app: "web", space: "prod", app_uuid: "a", build_uuid: "b", build_number: "42" };

describe("streaming to Kafka", function () {
    const cleanUp: (() => unknown)[] = [];
    let blobs: GrowingBlobs;
    let kafka: Kafka;

    before(async function () {
        if (Kafka.missing !== undefined) {
            process.stderr.write(`      Kafka is not tested: ${Kafka.missing}\n`);
            this.skip();
        }
        blobs = await GrowingBlobs.create();
        kafka = await Kafka.start();
    });
    after(async () => {
        await (kafka as Kafka | undefined)?.stop();
        await (blobs as GrowingBlobs | undefined)?.remove();
    });
    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    const opened = (options: Partial<KafkaOptions> = {}, test = new TestQueue(undefined, {}, blobs.url)) => {
        const said: string[] = [];
        const counts = { sent: 0, dropped: 0 };
        const events = new KafkaEvents(test.queue, test.store.database, {
            settings: { kafka: { hosts: [] } },
            openStore: () => blobs.store,
            reach: loopback,
            observer: {
                sent: (messages) => (counts.sent += messages),
                dropped: (messages) => (counts.dropped += messages),
                say: (line) => said.push(line),
            },
            pollInterval: 50,
            ...options,
        });
        events.start();
        test.queue.start();
        const stop = async () => {
            await events.stop();
            await test.queue.stop();
            test.close();
        };
        return { test, events, said, counts, stop };
    };
    const started = (options: Partial<KafkaOptions> = {}) => {
        const made = opened(options);
        cleanUp.push(() => made.test.directory.remove());
        cleanUp.push(made.stop);
        return made;
    };
    /** A build whose log can be written. */
    const running = async ({ test }: ReturnType<typeof opened>, request: Partial<BuildRequest>) => {
        const { id } = test.submit(request);
        await test.running(id);
        const log = await blobs.log(test.queue.get(id)?.buildTag ?? "");
        return { id, log };
    };
    const until = async (condition: () => boolean, what: string, limit = 60_000) => {
        const end = Date.now() + limit;
        while (!condition()) {
            assert.ok(Date.now() < end, what);
            await sleep(20);
        }
    };
    const valuesOf = async (topic: string, count: number, key?: string) =>
        (await kafka.messages(topic, count, key)).map(({ value }) => JSON.parse(value) as Record<string, any>);

    it("streams the changes and the growing log of each build in their order, keyed by build", async () => {
        const service = started({ settings: { kafka: { hosts: [kafka.host] }, kafkaTopic: "builds-in-order" } });
        const builds = await Promise.all([0, 1].map(async () => running(service, {})));
        for (let line = 0; line < 50; line++) {
            await Promise.all(builds.map(async ({ id, log }) => log.write(`${id} says ${line}\n`)));
        }
        await builds[0]!.log.write("no end");
        await Promise.all(builds.map(async ({ id }) => service.test.end(id)));
        await until(() => service.counts.sent === 2 * 53 + 1, "all are sent");
        const all = await kafka.messages("builds-in-order", 2 * 53 + 1);
        for (const [index, { id }] of builds.entries()) {
            const values = all.filter(({ key }) => key === id).map(({ value }) => JSON.parse(value));
            assert.deepEqual(
                values.map(({ type, state, line }) => (type === "log" ? line : state) as string),
                [
                    ...["queued", "running", ...Array.from({ length: 50 }, (_, line) => `${id} says ${line}`)],
                    ...(index === 0 ? ["no end"] : []),
                    "succeeded",
                ],
            );
            assert.equal(values.at(-1).outcome, "Succeeded");
            assert.ok(values.every(({ build, at }) => build === id && !Number.isNaN(Date.parse(at as string))));
        }
    });

    it("speaks as the build shuttle does for its callers, to the hosts of the request", async () => {
        const service = started();
        const { id, log } = await running(service, { labels: shuttleLabels, kafkaHosts: [kafka.host] });
        await log.write("Step 1/2\nStep 2/2\n");
        await service.test.end(id);
        const message = (text: string) => ({ metadata: "web-prod", build: 42, job: "42", message: text });
        assert.deepEqual(await valuesOf("alamobuildlogs", 3), ["Step 1/2", "Step 2/2", "Build finished"].map(message));
    });

    it("connects to no internal host that a request names, nor to one that a broker sends it to", async () => {
        const service = started({ reach: new AddressGuard([]) });
        const { id } = await running(service, { kafkaHosts: [kafka.host] });
        await until(() => service.said.length > 0, "it says so");
        assert.match(service.said[0]!, /127\.0\.0\.1 is not a public address.*builds go on without it/);
        await service.test.end(id);

        const misleading = await Kafka.start({ advertised: "localhost" });
        cleanUp.push(async () => misleading.stop());
        const other = started({ reach: { allows: (host) => host !== "localhost" } });
        const misled = await running(other, { kafkaHosts: [misleading.host] });
        await until(() => other.said.length > 0, "it says so");
        assert.match(other.said[0]!, /localhost is not a public address/);
        assert.equal(other.counts.sent, 0);
        await other.test.end(misled.id);
    });

    it("holds up no build when the broker is gone, holds so much and no more, and says what it dropped", async () => {
        const limits = { ...usualStreamLimits, messages: 40, firstDelay: 50, longestDelay: 200 };
        const settings = { kafka: { hosts: [kafka.host] }, kafkaTopic: "builds-with-a-gap" };
        const service = started({ limits, settings });
        const { id, log } = await running(service, {});
        await log.write("before\n");
        await until(() => service.counts.sent === 3, "the first are sent");

        const stopped = await kafka.pause();
        await log.write(Array.from({ length: 300 }, (_, line) => `lost ${line}\n`).join(""));
        await until(() => service.counts.dropped > 0, "some are dropped");
        assert.ok(service.events.buffered() <= 40);
        await until(() => service.said.length > 0, "it says so");
        assert.match(service.said.join("\n"), /Kafka at .* takes no messages: .*; builds go on without it/);

        kafka = await Kafka.start(stopped);
        await until(() => service.events.buffered() === 0, "what was kept is sent");
        await log.write("after\n");
        const begun = Date.now();
        await service.test.end(id);
        assert.ok(Date.now() - begun < 5000, "the build's end waits for nobody");
        await until(() => service.counts.sent >= 46, "the rest is sent");
        const values = await valuesOf("builds-with-a-gap", 46);
        const lines = values.filter(({ type }) => type === "log").map(({ line }) => line as string);
        assert.deepEqual(lines.slice(0, 41), ["before", ...Array.from({ length: 40 }, (_, line) => `lost ${line}`)]);
        assert.equal(lines.at(-1), "after");
        const gaps = values.filter(({ type }) => type === "dropped");
        assert.deepEqual(
            gaps.map(({ messages }) => messages as number),
            [260],
        );
        assert.equal(service.counts.dropped, 260);
        assert.equal(values.at(-1)!["state"], "succeeded");
        assert.match(service.said.at(-1)!, /takes messages again/);
    });

    it("goes on after the last line that was taken when the service is taken up again", async () => {
        const settings = { kafka: { hosts: [kafka.host] }, kafkaTopic: "builds-taken-up" };
        const first = opened({ settings });
        cleanUp.push(() => first.test.directory.remove());
        const { id, log } = await running(first, {});
        await log.write("one\ntwo\nthr");
        await until(() => first.counts.sent === 4, "two lines are sent");
        await first.events.stop();
        await log.write("ee\nfour\n");
        first.test.close();

        const second = opened({ settings }, new TestQueue(first.test.directory, {}, blobs.url));
        cleanUp.push(second.stop);
        await second.test.end(id);
        const values = await valuesOf("builds-taken-up", 7);
        assert.deepEqual(
            values.map(({ type, state, line }) => (type === "log" ? line : state) as string),
            ["queued", "running", "one", "two", "three", "four", "succeeded"],
        );
    });

    it("speaks TLS and SASL with the service's own brokers, and gives its password to no other", async () => {
        const directory = new TemporaryDirectory();
        cleanUp.push(() => directory.remove());
        const keystore = path.join(directory.path, "keystore.p12");
        const password = "correct-horse";
        const keytool = (...args: string[]) =>
            execFileSync("keytool", [...args, "-keystore", keystore, "-storepass", password], { stdio: "pipe" });
        const names = ["-dname", "CN=broker", "-ext", "san=dns:localhost,ip:127.0.0.1"];
        keytool("-genkeypair", "-alias", "broker", "-keyalg", "EC", "-storetype", "PKCS12", ...names);
        const ca = keytool("-exportcert", "-alias", "broker", "-rfc").toString("utf8");
        const client = { tls: { ca }, sasl: { mechanism: "PLAIN", username: "ke1", password } } as const;
        const secure = await Kafka.start({
            advertised: "localhost",
            secure: { keystore, password, user: "ke1", client },
        });
        cleanUp.push(async () => secure.stop());
        const host = `localhost:${secure.port}`;
        const settings = (given: string) =>
            notifySettings({
                KAFKA_HOSTS: host,
                KAFKA_TOPIC: "secure",
                KAFKA_CA_FILE: directory.file("ca.pem", ca),
                KAFKA_SASL_MECHANISM: "PLAIN",
                KAFKA_SASL_USERNAME: "ke1",
                KE1_SERVICE_KAFKA_PASSWORD_FILE: directory.file("password", `${given}\n`),
            });
        const service = started({ settings: settings(password) });
        const { id, log } = await running(service, {});
        await log.write("hush\n");
        await service.test.end(id);
        await until(() => service.counts.sent === 4, service.said.join());
        assert.equal((await secure.messages("secure", 4)).length, 4);

        const wrong = started({ settings: settings("wrong") });
        await running(wrong, {});
        await until(() => wrong.said.length > 0, "it says so");
        assert.match(wrong.said[0]!, /takes no messages/);
        assert.ok(!wrong.said.join().includes("wrong"));
    });
});
