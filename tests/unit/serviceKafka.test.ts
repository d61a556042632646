import * as assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { KafkaEvents } from "../../service/notify/kafka";
import type { KafkaMessage } from "../../service/notify/kafkaConnection";
import type { StreamLimits } from "../../service/notify/kafkaStream";
import { KafkaStream, usualStreamLimits } from "../../service/notify/kafkaStream";
import { notifySettings } from "../../service/notify/settings";
import { AddressGuard } from "../../service/sources/addresses";
import { TestQueue } from "../helpers/buildQueue";
import { TemporaryDirectory } from "../helpers/temporary";

describe("a stream of messages for Kafka", () => {
    const message = (value: string, key = "k") => ({
        ...{ topic: "t", key, value },
        instead: (dropped: number) => `${dropped} dropped`,
    });
    /** Brokers that take what they are given, or fail. */
    const streamTo = (
        take: (messages: readonly KafkaMessage[]) => Promise<void>,
        limits: Partial<StreamLimits> = {},
    ) => {
        const counts = { sent: 0, dropped: 0, said: [] as string[] };
        const stream = new KafkaStream(
            "Kafka",
            async () => Promise.resolve({ send: take, close: async () => Promise.resolve() }),
            {
                sent: (messages) => (counts.sent += messages),
                dropped: (messages) => (counts.dropped += messages),
                say: (line) => counts.said.push(line),
            },
            { ...usualStreamLimits, firstDelay: 5, longestDelay: 20, ...limits },
        );
        return { stream, counts };
    };

    it("sends in batches of so many bytes, in order", async () => {
        const batches: string[][] = [];
        const { stream, counts } = streamTo(
            async (messages) => {
                await sleep(5);
                batches.push(messages.map(({ value }) => value));
            },
            { batchBytes: 100, batchMessages: 8 },
        );
        const values = Array.from({ length: 40 }, (_, index) => `${index}`.padStart(index < 20 ? 2 : 60, "0"));
        values.forEach((value) => stream.push(message(value)));
        await stream.close(5000);
        assert.deepEqual(batches.flat(), values);
        assert.ok(batches.every((batch) => batch.length <= 8 && batch.join("").length <= 100));
        assert.deepEqual(counts, { sent: 40, dropped: 0, said: [] });
    });

    it("tries the same again, in order, and says once that and when it goes wrong and right", async () => {
        const taken: string[] = [];
        let failures = 3;
        const { stream, counts } = streamTo(async (messages) => {
            if (failures-- > 0) {
                throw new Error("outer", { cause: new Error("the broker is asleep") });
            }
            taken.push(...messages.map(({ value }) => value));
            return Promise.resolve();
        });
        ["a", "b", "c"].forEach((value) => stream.push(message(value)));
        await stream.close(5000);
        assert.deepEqual(taken, ["a", "b", "c"]);
        assert.deepEqual(counts.said, [
            "Kafka takes no messages: the broker is asleep; builds go on without it",
            "Kafka takes messages again",
        ]);
    });

    it("keeps within its bounds, and says in the place of what it dropped how much it was", async () => {
        const taken: string[] = [];
        let open: () => void = () => undefined;
        const opened = new Promise<void>((resolve) => (open = resolve));
        const { stream, counts } = streamTo(
            async (messages) => {
                await opened;
                taken.push(...messages.map(({ value }) => value));
            },
            { bytes: 50, batchMessages: 2 },
        );
        for (let index = 0; index < 100; index++) {
            stream.push(message(`message ${index}`));
            assert.ok(stream.buffered <= 5);
        }
        open();
        while (stream.buffered > 0) {
            await sleep(5);
        }
        stream.push(message("after"));
        await stream.close(5000);
        assert.deepEqual(taken, [0, 1, 2, 3, 4].map((index) => `message ${index}`).concat("95 dropped", "after"));
        assert.deepEqual([counts.sent, counts.dropped], [7, 95]);
    });

    it("gives up a message that nobody takes, and goes on with the next", async () => {
        const taken: string[] = [];
        const { stream, counts } = streamTo(
            async (messages) => {
                if (messages.some(({ value }) => value === "poison")) {
                    throw new Error("no");
                }
                taken.push(...messages.map(({ value }) => value));
                return Promise.resolve();
            },
            { patience: 60, batchMessages: 1 },
        );
        stream.push(message("poison"));
        stream.push(message("good", "other"));
        await stream.close(5000);
        assert.ok(taken.includes("good"));
        assert.equal(counts.dropped, 1);
    });

    it("ends in time whatever the brokers do, and says what was lost", async () => {
        const { stream, counts } = streamTo(async () => new Promise(() => undefined));
        ["a", "b"].forEach((value) => stream.push(message(value)));
        const begun = Date.now();
        await stream.close(100);
        assert.ok(Date.now() - begun < 5000);
        assert.deepEqual(counts, { sent: 0, dropped: 2, said: ["Kafka was not sent 2 messages: it was too slow"] });
        stream.push(message("late"));
        assert.equal(stream.buffered, 0);
    });
});

describe("brokers that a service has from its next start on", () => {
    it("are told nothing of the builds of before", async () => {
        const test = new TestQueue();
        const begin = (hosts: readonly string[]) => {
            const events = new KafkaEvents(test.queue, test.store.database, {
                settings: { kafka: { hosts } },
                openStore: () => assert.fail("no build has a log"),
                reach: new AddressGuard([]),
                observer: { sent: () => undefined, dropped: () => undefined, say: () => undefined },
                pollInterval: 5,
            });
            events.start();
            return events;
        };
        const without = begin([]);
        test.queue.start();
        const { id } = test.submit({});
        await test.running(id);
        await without.stop();

        const told = begin(["127.0.0.1:1"]);
        await sleep(20);
        assert.equal(told.buffered(), 0);
        await told.stop();
        await test.queue.stop();
        test.close();
        test.directory.remove();
    });
});

describe("the settings of notifications", () => {
    const directory = new TemporaryDirectory();
    after(() => directory.remove());

    it("are nobody and nothing by default", () => {
        assert.deepEqual(notifySettings({}), {
            callbackKey: undefined,
            kafka: { hosts: [], tls: undefined, sasl: undefined },
            kafkaTopic: undefined,
        });
    });

    it("come from the environment, and secrets from files too", () => {
        const settings = notifySettings({
            KE1_SERVICE_CALLBACK_SECRET_FILE: directory.file(
                "secret",
                `whsec_${Buffer.alloc(24, 1).toString("base64")}\n`,
            ),
            KAFKA_HOSTS: "a.example.com:9092, [2001:db8::1]:9093",
            KAFKA_TOPIC: "builds",
            KAFKA_TLS: "true",
            KAFKA_SASL_USERNAME: "ke1",
            KE1_SERVICE_KAFKA_PASSWORD: "hush",
        });
        assert.equal(settings.callbackKey?.length, 24);
        assert.deepEqual(settings.kafka.hosts, ["a.example.com:9092", "[2001:db8::1]:9093"]);
        assert.deepEqual(settings.kafka.sasl, { mechanism: "SCRAM-SHA-512", username: "ke1", password: "hush" });
        assert.ok(settings.kafka.tls);
    });

    it("are refused in one line that has no secret", () => {
        for (const [environment, why] of [
            [{ KAFKA_HOSTS: "example.com" }, /KAFKA_HOSTS must be brokers as host:port/],
            [{ KAFKA_HOSTS: "example.com:99999" }, /KAFKA_HOSTS must be/],
            [{ KAFKA_TOPIC: "a b" }, /KAFKA_TOPIC must be/],
            [{ KAFKA_TLS: "yes" }, /KAFKA_TLS must be true or false/],
            [{ KAFKA_CA_FILE: "/no/such/file" }, /KAFKA_CA_FILE: .* cannot be read \(ENOENT\)/],
            [{ KAFKA_CERT_FILE: directory.file("cert") }, /go together/],
            [{ KE1_SERVICE_KAFKA_PASSWORD: "hush" }, /go together/],
            [
                { KE1_SERVICE_KAFKA_PASSWORD: "hush", KAFKA_SASL_USERNAME: "a", KAFKA_SASL_MECHANISM: "GSSAPI" },
                /KAFKA_SASL_MECHANISM must be one of PLAIN/,
            ],
            [{ KE1_SERVICE_CALLBACK_SECRET: "hush" }, /secret must be `whsec_`/],
        ] as const) {
            assert.throws(
                () => notifySettings(environment),
                (error: Error) => why.test(error.message) && !error.message.includes("hush"),
                JSON.stringify(environment),
            );
        }
    });
});
