import * as pulumi from "@pulumi/pulumi";

import { UserError } from "../contract/errors";

/** Who one is to a registry. */
export interface RegistryCredential {
    readonly username: string;
    /** Secret. */
    readonly password: pulumi.Output<string>;
}

/** What of the configuration is secret. */
export interface Credentials {
    /** For the push; absent: the Docker configuration's (`docker login`, a credential helper). */
    readonly push?: RegistryCredential;
    /** For the cluster's pull; absent: no pull secret is made. */
    readonly pull?: RegistryCredential;
    /** Signs what the webhook is sent; absent: the environment's KE1_WEBHOOK_SECRET does. */
    readonly webhookSecret?: pulumi.Output<string>;
}

/**
 * The stack's credentials, from secret configuration; for the push the environment's REGISTRY_USERNAME and
 * REGISTRY_PASSWORD come first. Each is a secret from here on: no state holds it in the clear.
 *
 * @throws UserError where one half of a credential is missing, or a password is configured in the clear.
 */
export function readCredentials(config: pulumi.Config, environment: NodeJS.ProcessEnv = process.env): Credentials {
    const [username, password] = [environment["REGISTRY_USERNAME"], environment["REGISTRY_PASSWORD"]];
    if (Boolean(username) !== Boolean(password)) {
        throw new UserError("set both REGISTRY_USERNAME and REGISTRY_PASSWORD in the environment, or neither");
    }
    const webhookSecret = secretOf(config, "webhookSecret", environment);
    if (config.get("webhook") && !webhookSecret && !environment["KE1_WEBHOOK_SECRET"]) {
        throw new UserError("webhook needs webhookSecret; run `pulumi config set --secret webhookSecret whsec_…`");
    }
    return {
        push:
            username && password
                ? { username, password: pulumi.secret(password) }
                : configured(config, "registryUsername", "registryPassword", environment),
        pull: configured(config, "pullUsername", "pullPassword", environment),
        webhookSecret,
    };
}

function configured(
    config: pulumi.Config,
    userKey: string,
    passwordKey: string,
    environment: NodeJS.ProcessEnv,
): RegistryCredential | undefined {
    const username = config.get(userKey);
    const password = secretOf(config, passwordKey, environment);
    if (!username && !password) {
        return undefined;
    }
    if (!username || !password) {
        throw new UserError(`set both ${userKey} and ${passwordKey}, or neither`);
    }
    return { username, password };
}

function secretOf(
    config: pulumi.Config,
    key: string,
    environment: NodeJS.ProcessEnv,
): pulumi.Output<string> | undefined {
    const value = config.getSecret(key);
    // How the engine tells a program which of its configuration was encrypted; the SDK keeps its reader to itself.
    const encrypted = JSON.parse(environment["PULUMI_CONFIG_SECRET_KEYS"] || "[]") as readonly string[];
    if (value && !encrypted.includes(`${config.name}:${key}`)) {
        throw new UserError(`${key} is configured in the clear; run \`pulumi config set --secret ${key}\``);
    }
    return value;
}
