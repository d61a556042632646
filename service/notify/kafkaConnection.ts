import type { LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";

import type { Broker, Connection, ProducerOptions } from "@platformatic/kafka";

import type { Reach } from "./reach";
import { OutOfReach, pinned, reached } from "./reach";

/** How the brokers are connected to. */
export interface KafkaConnection {
    /** `host:port`. */
    readonly hosts: readonly string[];
    readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
    readonly sasl?: { readonly mechanism: SaslMechanism; readonly username: string; readonly password: string };
    /** What may be connected to; absent for hosts that the service's own settings name. */
    readonly reach?: Reach;
}

export const saslMechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] as const;
export type SaslMechanism = (typeof saslMechanisms)[number];

export interface KafkaMessage {
    readonly topic: string;
    readonly key: string;
    readonly value: string;
}

/** Sends messages in the order in which it gets them; rejects when they were not all taken. */
export interface KafkaSender {
    readonly send: (messages: readonly KafkaMessage[]) => Promise<void>;
    readonly close: () => Promise<void>;
}

/** Milliseconds. */
const connectTimeout = 5_000;
const requestTimeout = 15_000;

type Connected = (error: Error | null, connection?: Connection) => void;

/** Connects to brokers. The client is loaded when the first build asks for Kafka, and not before. */
export async function connectKafka(connection: KafkaConnection): Promise<KafkaSender> {
    const { Producer, compatibilityPartitioner, NetworkError, ProduceAcks } = await import("@platformatic/kafka");
    const { tls, sasl, reach } = connection;
    const addresses = new Map<string, readonly LookupAddress[]>();
    const lookup: LookupFunction = (host, asked, done) => pinned(addresses.get(host) ?? [])(host, asked, done);
    const options: ProducerOptions<string, string, string, string> = {
        clientId: "ke1",
        bootstrapBrokers: [...connection.hosts],
        // All that is in sync has it; and the partition of a key is the one that Java's clients choose.
        acks: ProduceAcks.ALL,
        partitioner: compatibilityPartitioner,
        autocreateTopics: true,
        connectTimeout,
        requestTimeout,
        timeout: requestTimeout,
        retries: 1,
        retryDelay: 250,
        serializers: { key: bytes, value: bytes },
        ...(tls ? { tls: { ...tls, ...(reach ? { lookup } : {}) }, tlsServerName: true } : {}),
        ...(sasl ? { sasl } : {}),
    };
    const producer = new Producer<string, string, string, string>(options);
    if (reach) {
        // All connections come from here: to the hosts of the request, and to those which its brokers say that there are.
        const pool = producer.connections;
        const get = pool.get.bind(pool) as (broker: Broker, callback: Connected) => void;
        const guarded = (broker: Broker, callback: Connected): void => {
            reached(reach, broker.host, String(broker.port)).then(
                (found) => {
                    addresses.set(broker.host, found);
                    // With TLS the name is needed, to compare it with the certificate's.
                    get(tls ? broker : { ...broker, host: found[0]?.address ?? "" }, callback);
                },
                (error: unknown) => {
                    const isOut = error instanceof OutOfReach;
                    const message = isOut ? error.message : `${broker.host} cannot be found`;
                    callback(new NetworkError(message, { canRetry: !isOut }));
                },
            );
        };
        pool.get = guarded as typeof pool.get;
    }
    return {
        send: async (messages) => {
            await producer.send({ messages: [...messages] });
        },
        close: async () => {
            await producer.close(true);
        },
    };
}

function bytes(text?: string): Buffer {
    return Buffer.from(text ?? "");
}
