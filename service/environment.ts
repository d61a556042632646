import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import { ke1Home } from "../platform/home";

/** Set by the service for each build, or meant for the service alone. */
const notPassedOn =
    /^(SOURCE|BUILD_TAG|ALLOW_DIRTY|PIPELINE|PIPELINE_VARIABLES|PULUMI_STACK|KE1_OUTCOME_FILE|GITHUB_TOKEN|GITHUB_TOKEN_FILE|BUILDKITE_.*|KE1_SERVICE_.*)$/;

/**
 * The environment of every `ke1` that the service runs: the stacks' state is in the service's own directory, and encrypted
 * with the passphrase that the base stack's secrets are encrypted with.
 */
export function launchEnvironment(dataDirectory: string, environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    const kept = Object.fromEntries(Object.entries(environment).filter(([name]) => !notPassedOn.test(name)));
    const state = path.join(dataDirectory, "state");
    fs.mkdirSync(state, { recursive: true, mode: 0o700 });
    return {
        ...kept,
        PULUMI_BACKEND_URL: `file://${state}`,
        ...(environment["PULUMI_CONFIG_PASSPHRASE"] === undefined &&
        environment["PULUMI_CONFIG_PASSPHRASE_FILE"] === undefined
            ? { PULUMI_CONFIG_PASSPHRASE_FILE: passphraseFile() }
            : {}),
    };
}

/** What `ke1 release` is given in addition: nobody else is told the token. */
export function releaseEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    const names = ["GITHUB_TOKEN", "GITHUB_TOKEN_FILE"];
    return Object.fromEntries(names.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])));
}

/** Where `ke1` keeps it for the default backend (engine/stack.ts); made where it is missing. */
function passphraseFile(): string {
    const directory = path.join(ke1Home(), "credentials");
    const file = path.join(directory, "passphrase");
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    try {
        fs.writeFileSync(file, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
            throw error;
        }
    }
    return file;
}
