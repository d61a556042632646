import * as fs from "node:fs";

import { BlobServiceClient, StorageRetryPolicyType, StorageSharedKeyCredential } from "@azure/storage-blob";

import { UserError } from "../contract/errors";
import { BuildStore } from "../launcher/store";
import { readDescriptor } from "../platform/descriptor";
import { azureLogin } from "./azureLogin";

/** An environment variable that the stack's program sets for the commands it runs. */
export function required(name: string, environment: NodeJS.ProcessEnv = process.env): string {
    const value = environment[name];
    if (value === undefined || value === "") {
        throw new UserError(`${name} is not set; this command is run by the stack's program, not by hand`);
    }
    return value;
}

/**
 * The key of a storage account, which makes SAS: the embedded platform's own from its file, any other's from the
 * environment, as the Azure CLI reads it. It stays on this machine.
 */
export function storageCredential(endpoint: string): StorageSharedKeyCredential {
    const credential = accountKey(endpoint);
    if (!credential) {
        throw noCredential(endpoint);
    }
    return credential;
}

/** An account's name and its key in Base64. */
export interface StorageKey {
    readonly account: string;
    readonly key: string;
}

/** As `storageCredential`, to hand on to a service in the cluster. */
export function storageKey(endpoint: string): StorageKey {
    const found = findKey(endpoint);
    if (!found) {
        throw noCredential(endpoint);
    }
    return found;
}

function accountKey(endpoint: string): StorageSharedKeyCredential | undefined {
    const found = findKey(endpoint);
    return found && new StorageSharedKeyCredential(found.account, found.key);
}

function findKey(endpoint: string): StorageKey | undefined {
    const own = endpoint.replace(/\/+$/, "");
    // First: a key in the environment is that of some account, and the platform's endpoint can only have its own.
    const platform = readDescriptor();
    if (platform && platform.blobEndpoint.replace(/\/+$/, "") === own) {
        return JSON.parse(fs.readFileSync(platform.blobCredentialFile, "utf8")) as StorageKey;
    }
    // A service's, in its pod. No other store is ever sent what is signed with it.
    const file = process.env["KE1_STORAGE_CREDENTIAL_FILE"];
    const given = file ? (JSON.parse(fs.readFileSync(file, "utf8")) as StorageKey & { endpoint: string }) : undefined;
    if (given?.endpoint === own) {
        return given;
    }
    const fromConnectionString = new Map(
        (process.env["AZURE_STORAGE_CONNECTION_STRING"] ?? "").split(";").map((part) => {
            const separator = part.indexOf("=");
            return [part.slice(0, separator), part.slice(separator + 1)];
        }),
    );
    const account = fromConnectionString.get("AccountName") ?? process.env["AZURE_STORAGE_ACCOUNT"];
    const key = fromConnectionString.get("AccountKey") ?? process.env["AZURE_STORAGE_KEY"];
    return account && key ? { account, key } : undefined;
}

function noCredential(endpoint: string): UserError {
    return new UserError(
        `there is no credential for ${endpoint}: set AZURE_STORAGE_CONNECTION_STRING, ` +
            "or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY",
    );
}

/**
 * The store of a container, `<endpoint>/<container>`: with the account's key where there is one, otherwise with the Azure
 * login of who runs this. A login's token is sent over TLS only.
 */
export function openStore(containerUrl: string): BuildStore {
    const separator = containerUrl.lastIndexOf("/");
    const endpoint = containerUrl.slice(0, separator);
    const credential = endpoint.startsWith("https:")
        ? (accountKey(endpoint) ?? azureLogin(endpoint))
        : storageCredential(endpoint);
    const service = new BlobServiceClient(endpoint, credential, {
        retryOptions: {
            retryPolicyType: StorageRetryPolicyType.EXPONENTIAL,
            maxTries: 6,
            retryDelayInMs: 200,
            maxRetryDelayInMs: 5000,
        },
    });
    return new BuildStore(service.getContainerClient(containerUrl.slice(separator + 1)));
}

/**
 * Milliseconds between two looks at the store: an emulator on this machine costs nothing to ask; Azure counts requests.
 */
export function pollIntervalFor(containerUrl: string): number {
    return containerUrl.startsWith("http:") ? 150 : 1000;
}
