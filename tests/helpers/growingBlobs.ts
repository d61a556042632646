import { randomBytes } from "node:crypto";

import type { ContainerClient } from "@azure/storage-blob";

import { layout } from "../../contract/layout";
import { BuildStore } from "../../launcher/store";
import { blobService } from "./ke1";

/** Logs in the platform's blob store, as an exporter writes them. */
export class GrowingBlobs {
    public readonly store: BuildStore;

    private constructor(private readonly container: ContainerClient) {
        this.store = new BuildStore(container);
    }

    public get url(): string {
        return this.store.url;
    }

    public static async create(): Promise<GrowingBlobs> {
        const container = blobService().getContainerClient(`growing-${randomBytes(4).toString("hex")}`);
        await container.create();
        return new GrowingBlobs(container);
    }

    /** The log of the first attempt at a tag. */
    public async log(tag: string): Promise<{ readonly write: (text: string) => Promise<void> }> {
        const name = "logs/20261121T085101.123Z.log";
        const blob = this.container.getAppendBlobClient(`${tag}/${name}`);
        await blob.create();
        await this.store.putDocument(layout.started(tag, 1), {
            schemaVersion: 1,
            buildTag: tag,
            attempt: 1,
            log: name,
        });
        return {
            write: async (text) => {
                await blob.appendBlock(text, Buffer.byteLength(text));
            },
        };
    }

    public async remove(): Promise<void> {
        await this.container.delete();
    }
}
