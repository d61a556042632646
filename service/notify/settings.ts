import { readFileSync } from "node:fs";

import { UserError } from "../../contract/errors";
import { signingKey } from "../../launcher/notify/webhook";
import type { KafkaConnection, SaslMechanism } from "./kafkaConnection";
import { saslMechanisms } from "./kafkaConnection";

/** Who is told of builds besides those that a request names, and how. */
export interface NotifySettings {
    /** Signs callbacks; without it they are not signed. */
    readonly callbackKey?: Buffer;
    /** The service's own brokers; no hosts is none. */
    readonly kafka: Omit<KafkaConnection, "reach">;
    /** For all messages; each kind has one of its own where it is left out. */
    readonly kafkaTopic?: string;
}

/** https://kafka.apache.org/documentation/#topicconfigs: as long as a file's name may be. */
const topicPattern = /^[A-Za-z0-9._-]{1,249}$/;
/** `host:port`, with a scheme for TLS; an IPv6 address in brackets. */
const hostPattern = /^(\[[0-9a-f:.]+\]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?):(\d{1,5})$/i;

/**
 * Reads it from the environment (docs/service-events.md). Secrets are in files or in variables that are not passed on to
 * what the service runs.
 *
 * @throws UserError when one of them cannot be
 */
export function notifySettings(environment: NodeJS.ProcessEnv = process.env): NotifySettings {
    const value = (name: string): string => environment[name]?.trim() ?? "";
    const hosts = value("KAFKA_HOSTS");
    const topic = value("KAFKA_TOPIC");
    if (topic !== "" && !topicPattern.test(topic)) {
        throw new UserError(`KAFKA_TOPIC must be letters, digits, dots, dashes and underscores, not ${topic}`);
    }
    const callbackSecret = secretOf(environment, "KE1_SERVICE_CALLBACK_SECRET");
    return {
        callbackKey: callbackSecret === undefined ? undefined : signingKey(callbackSecret),
        kafka: {
            hosts: hosts === "" ? [] : kafkaHosts(hosts.split(","), "KAFKA_HOSTS"),
            tls: tlsOf(value),
            sasl: saslOf(value, secretOf(environment, "KE1_SERVICE_KAFKA_PASSWORD")),
        },
        kafkaTopic: topic === "" ? undefined : topic,
    };
}

/** @throws UserError when one of them is no `host:port` */
export function kafkaHosts(given: readonly string[], what: string): readonly string[] {
    return given.map((text) => {
        const host = text.trim();
        const port = Number(hostPattern.exec(host)?.[3] ?? 0);
        if (port < 1 || port > 65_535) {
            throw new UserError(`${what} must be brokers as host:port, with commas between, not ${host || "nothing"}`);
        }
        return host;
    });
}

function tlsOf(value: (name: string) => string): KafkaConnection["tls"] {
    const [ca, cert, key] = ["KAFKA_CA_FILE", "KAFKA_CERT_FILE", "KAFKA_KEY_FILE"].map((name) => {
        const file = value(name);
        return file === "" ? undefined : contentOf(name, file);
    });
    if ((cert === undefined) !== (key === undefined)) {
        throw new UserError("KAFKA_CERT_FILE and KAFKA_KEY_FILE go together");
    }
    const wanted = value("KAFKA_TLS");
    if (!["", "true", "false"].includes(wanted)) {
        throw new UserError(`KAFKA_TLS must be true or false, not ${wanted}`);
    }
    return wanted === "true" || ca !== undefined || cert !== undefined ? { ca, cert, key } : undefined;
}

function saslOf(value: (name: string) => string, password: string | undefined): KafkaConnection["sasl"] {
    const username = value("KAFKA_SASL_USERNAME");
    if (username === "" && password === undefined) {
        return undefined;
    }
    if (username === "" || password === undefined) {
        throw new UserError("KAFKA_SASL_USERNAME and KE1_SERVICE_KAFKA_PASSWORD (or …_FILE) go together");
    }
    const mechanism = value("KAFKA_SASL_MECHANISM") || "SCRAM-SHA-512";
    if (!isMechanism(mechanism)) {
        throw new UserError(`KAFKA_SASL_MECHANISM must be one of ${saslMechanisms.join(", ")}, not ${mechanism}`);
    }
    return { mechanism, username, password };
}

function isMechanism(text: string): text is SaslMechanism {
    return (saslMechanisms as readonly string[]).includes(text);
}

/** A secret in a variable, or in the file that the variable with `_FILE` names. */
function secretOf(environment: NodeJS.ProcessEnv, name: string): string | undefined {
    const file = environment[`${name}_FILE`] ?? "";
    return environment[name] || (file === "" ? undefined : contentOf(`${name}_FILE`, file).trim());
}

function contentOf(name: string, file: string): string {
    try {
        return readFileSync(file, "utf8");
    } catch (error) {
        throw new UserError(`${name}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? "error"})`);
    }
}
