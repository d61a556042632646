import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { ConnectionOptions } from "@platformatic/kafka";
import { Consumer } from "@platformatic/kafka";

import { projectDirectory } from "./ke1";
import { freePort } from "./ports";
import { TemporaryDirectory } from "./temporary";

const jars = path.join(projectDirectory, ".ke1", "kafka");
const format = "kafka.tools.StorageTool";
const server = "kafka.Kafka";

export interface StoredMessage {
    readonly key: string;
    readonly value: string;
}

/** What else a broker is told. */
export interface KafkaOptions {
    /** TLS and SASL/PLAIN for this user, instead of neither. */
    readonly secure?: {
        readonly keystore: string;
        readonly password: string;
        readonly user: string;
        /** How a client connects. */
        readonly client: Pick<ConnectionOptions, "tls" | "sasl">;
    };
    readonly address?: string;
    /** What it says that its host is. */
    readonly advertised?: string;
    readonly port?: number;
    readonly data?: TemporaryDirectory;
}

/** Apache Kafka itself: one node, controller and broker at once (KRaft). Maven fetches it at the first time. */
export class Kafka {
    private constructor(
        public readonly address: string,
        public readonly port: number,
        private readonly child: ChildProcess,
        private readonly directory: TemporaryDirectory,
        private readonly options: KafkaOptions,
    ) {}

    /** Why it cannot be had here, in one line. */
    public static get missing(): string | undefined {
        const programs = fs.existsSync(jars) ? ["java"] : ["java", "mvn"];
        const absent = programs.filter((name) => spawnSync(name, ["-version"], { stdio: "ignore" }).status !== 0);
        return absent.length === 0 ? undefined : `${absent.join(" and ")} is not installed`;
    }

    public get host(): string {
        return `${this.address}:${this.port}`;
    }

    public static async start(options: KafkaOptions = {}): Promise<Kafka> {
        if (!fs.existsSync(jars)) {
            execFileSync("make", ["--silent", "kafka"], { cwd: projectDirectory, stdio: ["ignore", 2, 2] });
        }
        const address = options.address ?? "127.0.0.1";
        const port = options.port ?? (await freePort(address));
        const directory = options.data ?? new TemporaryDirectory();
        const file = directory.file("server.properties", await properties(address, port, directory, options));
        if (!fs.existsSync(path.join(directory.path, "data", "meta.properties"))) {
            execFileSync("java", [...java, format, "format", "-t", "a2UxLXRlc3RzLWNsdXN0ZQ", "-c", file], {
                stdio: "ignore",
            });
        }
        const log = fs.openSync(path.join(directory.path, "log"), "w");
        const child = spawn("java", [...java, server, file], { stdio: ["ignore", log, log] });
        fs.closeSync(log);
        const kafka = new Kafka(address, port, child, directory, options);
        for (let tries = 0; tries < 600 && child.exitCode === null; tries++) {
            if (fs.readFileSync(path.join(directory.path, "log"), "utf8").includes("Kafka Server started")) {
                return kafka;
            }
            await sleep(100);
        }
        const said = fs.readFileSync(path.join(directory.path, "log"), "utf8").slice(-3000);
        await kafka.stop();
        throw new Error(`Kafka did not start: ${said}`);
    }

    /** The first so many messages of a topic, in the order of each key; fewer, when they do not come. */
    public async messages(topic: string, count: number, key?: string): Promise<readonly StoredMessage[]> {
        const consumer = new Consumer({
            clientId: "test",
            groupId: `test-${Math.random().toString(36).slice(2)}`,
            bootstrapBrokers: [this.host],
            ...(this.options.secure ? this.options.secure.client : {}),
            deserializers: { key: text, value: text },
            retries: 20,
            retryDelay: 250,
        });
        const stream = await consumer.consume({ topics: [topic], mode: "earliest", maxWaitTime: 100 });
        const found: StoredMessage[] = [];
        const timer = setTimeout(() => void stream.close(), 60_000);
        for await (const message of stream) {
            if (key === undefined || message.key === key) {
                found.push({ key: message.key, value: message.value });
            }
            if (found.length === count) {
                break;
            }
        }
        clearTimeout(timer);
        await consumer.close(true);
        return found;
    }

    /** Ends it, and leaves its data for another. */
    public async pause(): Promise<KafkaOptions> {
        await this.kill();
        return { ...this.options, address: this.address, port: this.port, data: this.directory };
    }

    /** Ends it at once. */
    public async kill(): Promise<void> {
        if (this.child.exitCode === null && this.child.signalCode === null) {
            const ended = once(this.child, "exit");
            this.child.kill("SIGKILL");
            await ended;
        }
    }

    public async stop(): Promise<void> {
        await this.kill();
        this.directory.remove();
    }
}

function text(data?: Buffer): string {
    return data?.toString("utf8") ?? "";
}

const java = ["-Xmx256m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", `${jars}/*:${jars}`];

async function properties(
    address: string,
    port: number,
    directory: TemporaryDirectory,
    { secure, advertised = address }: KafkaOptions,
): Promise<string> {
    const controller = await freePort(address);
    const protocol = secure ? "SASL_SSL" : "PLAINTEXT";
    const lines = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": `1@${address}:${controller}`,
        listeners: `CLIENTS://${address}:${port},CONTROLLER://${address}:${controller}`,
        "advertised.listeners": `CLIENTS://${advertised}:${port}`,
        "listener.security.protocol.map": `CLIENTS:${protocol},CONTROLLER:PLAINTEXT`,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENTS",
        "log.dirs": path.join(directory.path, "data"),
        "num.partitions": 3,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "group.initial.rebalance.delay.ms": 0,
        // One that was killed is let in again when it is taken for dead.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
    };
    const secured = secure
        ? {
              "ssl.keystore.location": secure.keystore,
              "ssl.keystore.password": secure.password,
              "ssl.keystore.type": "PKCS12",
              "ssl.truststore.location": secure.keystore,
              "ssl.truststore.password": secure.password,
              "ssl.truststore.type": "PKCS12",
              "sasl.enabled.mechanisms": "PLAIN",
              "sasl.mechanism.inter.broker.protocol": "PLAIN",
              "listener.name.clients.plain.sasl.jaas.config":
                  "org.apache.kafka.common.security.plain.PlainLoginModule required " +
                  `username="${secure.user}" password="${secure.password}" user_${secure.user}="${secure.password}";`,
          }
        : {};
    return Object.entries({ ...lines, ...secured })
        .map(([key, value]) => `${key}=${value}\n`)
        .join("");
}
