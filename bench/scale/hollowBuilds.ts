import { setTimeout as sleep } from "node:timers/promises";

import type { ContainerClient } from "@azure/storage-blob";
import type { V1Pod } from "@kubernetes/client-node";
import { CoreV1Api, KubeConfig, PatchStrategy, setHeaderOptions, Watch } from "@kubernetes/client-node";

import { buildTagLabel } from "../../contract/labels";
import type { Manifest } from "../../contract/manifest";
import { platform } from "../../tests/helpers/ke1";

/** A blob of the build that is copied. */
interface Original {
    /** Below `<BUILD_TAG>/`. */
    readonly name: string;
    readonly content: Buffer;
    readonly isAppended: boolean;
    readonly contentType: string;
}

/** Written one after the other, as the exporter writes them: the attempt's start, what it made, its end, the manifest. */
function order(name: string): number {
    return ["started.json", "finished.json", "provenance.json", "manifest.json"].findIndex((end) => name.endsWith(end));
}

/**
 * The builds of pods on hollow nodes, which run no container: leaves in the store, for each pod that is said to run, what a
 * real build has left there, under the pod's names, and then says that its containers have ended. Who awaits the build is not
 * to tell the difference.
 */
export class HollowBuilds {
    /** When the first and the newest pod was seen to run, and the last build was stored; milliseconds since 1970. */
    public firstRuns = 0;
    public lastRuns = 0;
    public lastStored = 0;
    public running = 0;
    public stored = 0;
    private readonly core: CoreV1Api;
    private readonly config = new KubeConfig();
    private readonly seen = new Set<string>();
    private readonly failures: string[] = [];
    private readonly builds: Promise<void>[] = [];
    private controller: AbortController | undefined;
    private stopped = false;
    private originals: readonly Original[] = [];
    private real: Manifest | undefined;
    private realPod: { readonly name: string; readonly uid: string; readonly node: string } | undefined;

    public constructor(
        private readonly namespace: string,
        private readonly container: ContainerClient,
        /** How long each build takes, in milliseconds. */
        private readonly takes: number,
        /** How many there will be: none ends before all run, or have had `patience` milliseconds to. */
        private readonly all: number,
        private readonly patience: number,
        /** Nobody need wait any more. */
        private readonly onFailure: () => void,
    ) {
        this.config.loadFromFile(platform().kubeconfig);
        this.core = this.config.makeApiClient(CoreV1Api);
    }

    /** Takes a real build of the same stack as the pattern. */
    public async copy(tag: string): Promise<void> {
        const originals: Original[] = [];
        for await (const { name, properties } of this.container.listBlobsFlat({ prefix: `${tag}/` })) {
            originals.push({
                name: name.slice(tag.length + 1),
                content: await this.container.getBlobClient(name).downloadToBuffer(),
                isAppended: properties.blobType === "AppendBlob",
                contentType: properties.contentType ?? "application/octet-stream",
            });
        }
        this.originals = originals.sort((a, b) => order(a.name) - order(b.name));
        this.real = this.document("manifest.json") as Manifest;
        this.realPod = (this.document("started.json") as { readonly pod: NonNullable<HollowBuilds["realPod"]> }).pod;
    }

    public start(): void {
        void this.watch();
    }

    public async stop(): Promise<void> {
        this.stopped = true;
        this.controller?.abort();
        await Promise.all(this.builds);
        if (this.failures.length > 0) {
            throw new Error(`${this.failures.length} builds could not be played: ${this.failures[0] ?? ""}`);
        }
    }

    private async watch(): Promise<void> {
        while (!this.stopped) {
            await new Promise<void>((resolve) => {
                new Watch(this.config)
                    .watch(
                        `/api/v1/namespaces/${this.namespace}/pods`,
                        { labelSelector: buildTagLabel },
                        (_type, pod: V1Pod) => this.observe(pod),
                        () => resolve(),
                    )
                    .then(
                        (made) => (this.controller = made),
                        () => resolve(),
                    );
            });
            await sleep(200);
        }
    }

    private observe(pod: V1Pod): void {
        const uid = pod.metadata?.uid ?? "";
        if (pod.status?.phase !== "Running" || this.seen.has(uid)) {
            return;
        }
        this.seen.add(uid);
        this.running++;
        this.lastRuns = Date.now();
        this.firstRuns ||= this.lastRuns;
        this.builds.push(
            this.build(pod).catch((error: unknown) => {
                this.failures.push(String(error));
                this.onFailure();
            }),
        );
    }

    private async build(pod: V1Pod): Promise<void> {
        const rename = this.renaming(pod);
        const tag = pod.metadata?.labels?.[buildTagLabel] ?? "";
        const isStart = ({ name }: Original) => order(name) === 0 || name.startsWith("logs/");
        for (const original of this.originals.filter(isStart)) {
            await trying(() => this.put(tag, original, rename));
        }
        const began = Date.now();
        await sleep(this.takes);
        while (!this.stopped && this.running < this.all && Date.now() - began < this.patience) {
            await sleep(500);
        }
        for (const original of this.originals.filter((each) => !isStart(each))) {
            await trying(() => this.put(tag, original, rename));
        }
        this.stored++;
        this.lastStored = Date.now();
        await trying(() => this.end(pod));
    }

    /** Its containers have ended well. */
    private async end({ metadata, spec }: V1Pod): Promise<void> {
        const at = new Date().toISOString();
        const terminated = { exitCode: 0, reason: "Completed", startedAt: at, finishedAt: at };
        const containerStatuses = spec?.containers.map(({ name, image }) => ({
            ...{ name, image, imageID: "", ready: false, restartCount: 0, started: false },
            state: { terminated },
        }));
        await this.core.patchNamespacedPodStatus(
            {
                name: metadata?.name ?? "",
                namespace: this.namespace,
                body: { status: { phase: "Succeeded", containerStatuses } },
            },
            setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
        );
    }

    private renaming({ metadata, spec }: V1Pod): (text: string) => string {
        const { real, realPod } = this;
        if (!real || !realPod) {
            throw new Error("no build was copied");
        }
        const names: readonly (readonly [string, string])[] = [
            [realPod.uid, metadata?.uid ?? ""],
            [realPod.name, metadata?.name ?? ""],
            [real.job.name, metadata?.labels?.["batch.kubernetes.io/job-name"] ?? ""],
            [JSON.stringify(real.buildTag), JSON.stringify(metadata?.labels?.[buildTagLabel])],
            [JSON.stringify(realPod.node), JSON.stringify(spec?.nodeName)],
        ];
        return (text) => {
            const now = JSON.stringify(new Date().toISOString());
            const renamed = names.reduce((changed, [from, to]) => changed.replaceAll(from, to), text);
            return renamed.replace(/("(?:started|finished)At": *)"[^"]*"/g, `$1${now}`);
        };
    }

    private async put(tag: string, original: Original, rename: (text: string) => string): Promise<void> {
        const isDocument = original.name.endsWith(".json") && !original.name.startsWith("bin/");
        const content = isDocument ? Buffer.from(rename(original.content.toString())) : original.content;
        const name = `${tag}/${original.name}`;
        const blobHTTPHeaders = { blobContentType: original.contentType };
        if (original.isAppended) {
            const blob = this.container.getAppendBlobClient(name);
            await blob.create({ blobHTTPHeaders });
            // A log may be empty, a block may not.
            await (content.length > 0 ? blob.appendBlock(content, content.length) : undefined);
        } else {
            const blob = this.container.getBlockBlobClient(name);
            await blob.upload(content, content.length, { blobHTTPHeaders });
        }
    }

    private document(end: string): unknown {
        const found = this.originals.find(({ name }) => name.endsWith(end));
        if (!found) {
            throw new Error(`the build that is copied has no ${end}`);
        }
        return JSON.parse(found.content.toString());
    }
}

/** With a thousand at once, a server may be too busy for one of them. */
async function trying(request: () => Promise<void>): Promise<void> {
    for (let tries = 1; ; tries++) {
        try {
            await request();
            return;
        } catch (error) {
            if (tries === 5) {
                throw error;
            }
            await sleep(1000 * tries);
        }
    }
}
