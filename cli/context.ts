import * as fs from "node:fs";

import { BlobServiceClient, StorageRetryPolicyType, StorageSharedKeyCredential } from "@azure/storage-blob";

import { UserError } from "../contract/errors";
import { BuildStore } from "../launcher/store";
import { readDescriptor } from "../platform/descriptor";

/** An environment variable that the stack's program sets for the commands it runs. */
export function required(name: string): string {
    const value = process.env[name];
    if (value === undefined || value === "") {
        throw new UserError(`${name} is not set; this command is run by the stack's program, not by hand`);
    }
    return value;
}

/**
 * The credential of a storage account: the embedded platform's own from its file, any other's from the environment, as
 * the Azure CLI reads it. It stays on this machine.
 */
export function storageCredential(endpoint: string): StorageSharedKeyCredential {
    const platform = readDescriptor();
    if (platform && platform.blobEndpoint.replace(/\/+$/, "") === endpoint.replace(/\/+$/, "")) {
        const { account, key } = JSON.parse(fs.readFileSync(platform.blobCredentialFile, "utf8")) as {
            account: string;
            key: string;
        };
        return new StorageSharedKeyCredential(account, key);
    }
    const fromConnectionString = new Map(
        (process.env["AZURE_STORAGE_CONNECTION_STRING"] ?? "").split(";").map((part) => {
            const separator = part.indexOf("=");
            return [part.slice(0, separator), part.slice(separator + 1)];
        }),
    );
    const account = fromConnectionString.get("AccountName") ?? process.env["AZURE_STORAGE_ACCOUNT"];
    const key = fromConnectionString.get("AccountKey") ?? process.env["AZURE_STORAGE_KEY"];
    if (!account || !key) {
        throw new UserError(
            `there is no credential for ${endpoint}: set AZURE_STORAGE_CONNECTION_STRING, ` +
                "or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY",
        );
    }
    return new StorageSharedKeyCredential(account, key);
}

/** The store of a container, `<endpoint>/<container>`. */
export function openStore(containerUrl: string): BuildStore {
    const separator = containerUrl.lastIndexOf("/");
    const endpoint = containerUrl.slice(0, separator);
    const service = new BlobServiceClient(endpoint, storageCredential(endpoint), {
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
