import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import type { BuildRecord, BuildRequest, BuildSecrets } from "../../service/build";
import { BuildQueue } from "../../service/queue";
import type { RunEnd, Runner, RunObserver } from "../../service/runner";
import type { ServiceSettings } from "../../service/settings";
import { QueueStore } from "../../service/store";
import { TemporaryDirectory } from "./temporary";

/** The service's queue and store themselves; what a build does is up to the test. */
export class TestQueue {
    public readonly store: QueueStore;
    public readonly queue: BuildQueue;
    private readonly ends = new Map<string, (end: RunEnd) => void>();

    public constructor(
        public readonly directory: TemporaryDirectory = new TemporaryDirectory(),
        settings: Partial<ServiceSettings> = {},
        containerUrl = "http://127.0.0.1/container",
    ) {
        this.store = QueueStore.open(directory.path);
        const runner = {
            logFile: (id: string) => `${directory.path}/${id}.log`,
            run: async (record: BuildRecord, _: BuildSecrets, observer: RunObserver): Promise<RunEnd> => {
                observer.source({ buildTag: `tag-${record.id}` });
                return new Promise((resolve) => this.ends.set(record.id, resolve));
            },
            destroy: async () => Promise.resolve(),
            removeSource: () => undefined,
            remove: () => undefined,
            abandon: () => this.ends.forEach((end) => end({ state: "failed", outcome: "Disrupted" })),
        };
        this.queue = new BuildQueue(
            this.store,
            runner as unknown as Runner,
            { parallel: 4, timeoutSeconds: 60, namespaces: [], ...settings } as ServiceSettings,
            () => containerUrl,
        );
    }

    public submit(request: Partial<BuildRequest>, secrets: BuildSecrets = {}): BuildRecord {
        return this.queue.submit(
            { kind: "build", source: "/src", config: {}, labels: {}, ...request },
            "test",
            secrets,
        );
    }

    /** Until a build runs. */
    public async running(id: string): Promise<void> {
        while (!this.ends.has(id)) {
            await sleep(5);
        }
    }

    /** Ends a build that runs. */
    public async end(id: string, end: RunEnd = { state: "succeeded", outcome: "Succeeded" }): Promise<void> {
        await this.running(id);
        this.ends.get(id)?.(end);
        while (["queued", "running"].includes(this.queue.get(id)?.state ?? "")) {
            await Promise.race([once(this.queue, "event"), sleep(50)]);
        }
    }

    public close(): void {
        this.store.close();
    }
}
