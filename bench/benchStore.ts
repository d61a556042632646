import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import type { ContainerClient } from "@azure/storage-blob";

import { containerSas } from "../launcher/store";
import { projectDirectory } from "../tests/helpers/ke1";
import { freePort } from "../tests/helpers/ports";

const account = "ke1bench";

/**
 * A blob store of a measurement's own, the platform's emulator with its settings, empty when it starts. Nobody else has it to
 * do, and it takes along what it stored: the platform's gives disk space back ten minutes after a blob was deleted.
 */
export class BenchStore {
    private constructor(
        public readonly container: ContainerClient,
        /** A shared access signature, as builds get it. */
        public readonly sas: string,
        private readonly azurite: ChildProcess,
        private readonly location: string,
    ) {}

    public static async start(location: string): Promise<BenchStore> {
        const port = await freePort("127.0.0.1");
        const key = randomBytes(64).toString("base64");
        const azurite = spawn(
            process.execPath,
            [path.join(projectDirectory, "node_modules/azurite/dist/src/blob/main.js")]
                .concat("--blobHost", "127.0.0.1", "--blobPort", String(port), "--location", location)
                .concat("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--disableProductStyleUrl"),
            { env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${key}` }, stdio: ["ignore", "ignore", "inherit"] },
        );
        const endpoint = `http://127.0.0.1:${port}/${account}`;
        const credential = new StorageSharedKeyCredential(account, key);
        const container = new BlobServiceClient(endpoint, credential).getContainerClient("bench");
        const today = new Date().toISOString().slice(0, "YYYY-MM-DD".length);
        const store = new BenchStore(
            container,
            containerSas(credential, endpoint, container.containerName, today),
            azurite,
            location,
        );
        try {
            await listening(port, azurite);
            await container.create();
        } catch (error) {
            await store.remove();
            throw error;
        }
        return store;
    }

    public get pid(): number {
        return this.azurite.pid ?? NaN;
    }

    public async remove(): Promise<void> {
        if (this.azurite.exitCode === null && this.azurite.signalCode === null) {
            const ended = once(this.azurite, "exit");
            // Not in good order: nothing of it is kept.
            this.azurite.kill("SIGKILL");
            await ended;
        }
        fs.rmSync(this.location, { recursive: true, force: true });
    }
}

async function listening(port: number, azurite: ChildProcess): Promise<void> {
    const deadline = Date.now() + 30_000;
    for (;;) {
        const socket = net.connect(port, "127.0.0.1");
        const connected = await once(socket, "connect").then(
            () => true,
            () => false,
        );
        socket.destroy();
        if (connected) {
            return;
        }
        if (Date.now() > deadline || azurite.exitCode !== null) {
            throw new Error("the blob store does not listen");
        }
        await sleep(50);
    }
}
