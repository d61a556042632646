import { messageOf } from "../../contract/errors";
import { buildKey, layout } from "../../contract/layout";
import type { Artifact } from "../../contract/manifest";
import type { BuildStore } from "../../launcher/store";
import type { BuildRecord, BuildRequest } from "../build";
import { isFinal } from "../build";
import { attemptLogPath, launcherLog } from "../log";
import type { BuildQueue } from "../queue";
import { jobLabel } from "./jobRequest";

/** At most this much of a log is read at once, in bytes. */
const readLimit = 4 * 1024 * 1024;

/** So many builds that an earlier process has left are looked at; they are removed as they end. */
const sweepLimit = 1000;

/** An artifact and where it is. */
export interface StoredArtifact extends Artifact {
    readonly url: string;
}

/** The queue and the store, as an agent uses them. */
export class JobBuilds {
    private readonly forgetting = new Set<Promise<unknown>>();

    public constructor(
        private readonly queue: BuildQueue,
        private readonly openStore: (containerUrl: string) => BuildStore,
        private readonly parallel: number,
    ) {}

    /** Whether a build would begin at once. */
    public hasRoom(): boolean {
        const { queued, running } = this.queue.counts();
        return queued + running < this.parallel;
    }

    public submit(request: BuildRequest, agent: string): string {
        return this.queue.submit(request, agent).id;
    }

    public get(id: string): BuildRecord | undefined {
        return this.queue.get(id);
    }

    /** The build that was made for a job, by whoever was killed before it could write that down. */
    public ofJob(job: string): string | undefined {
        return this.queue.list({ labels: { [jobLabel]: job }, limit: 1 })[0]?.id;
    }

    public cancel(id: string, by: string): void {
        this.queue.cancel(id, by);
    }

    /** Removes what is left here of a build that has ended: its record and its source. The store keeps what it made. */
    public forget(id: string): void {
        const done = this.queue
            .remove(id)
            .catch((error: unknown) => process.stderr.write(`build ${id} stays on record: ${messageOf(error)}\n`))
            .finally(() => this.forgetting.delete(done));
        this.forgetting.add(done);
    }

    /** The same for what an earlier process has left, except for the builds of jobs that go on. */
    public forgetOthers(kept: ReadonlySet<string>): void {
        this.queue
            .list({ limit: sweepLimit })
            .filter(({ id, state, kept: hasStack }) => isFinal(state) && !hasStack && !kept.has(id))
            .forEach(({ id }) => this.forget(id));
    }

    /** Until all of that is done. */
    public async settled(): Promise<void> {
        await Promise.all(this.forgetting);
    }

    /** What the build's launcher prints, as a file. */
    public launcherLog({ id }: BuildRecord): string {
        return this.queue.launchLog(id);
    }

    /** What the log of the build's newest attempt is called; a pipeline's is what its launcher prints. */
    public async logName(record: BuildRecord): Promise<string | undefined> {
        if (isPipeline(record)) {
            return this.launcherLog(record);
        }
        const store = this.storeOf(record);
        return store && attemptLogPath(store, record);
    }

    /** A log from a byte on, as far as it is there, and not too much of it at once. */
    public async log(record: BuildRecord, name: string, offset: number): Promise<Buffer> {
        if (isPipeline(record)) {
            return launcherLog(name, offset, readLimit);
        }
        return (await this.storeOf(record)?.bytes(name, offset, readLimit)) ?? Buffer.alloc(0);
    }

    /** The last attempt's exit code, and where its log is. */
    public async attempt(record: BuildRecord): Promise<{ readonly exitCode?: number; readonly logUrl?: string }> {
        const store = this.storeOf(record);
        if (!store || record.buildTag === undefined) {
            return {};
        }
        const attempts = await store.attempts(buildKey(record.buildTag));
        const path = await attemptLogPath(store, record);
        return {
            exitCode: attempts.at(-1)?.finished?.exitCode,
            ...(path === undefined ? {} : { logUrl: store.blobUrl(path) }),
        };
    }

    /** What the build has made; undefined for one that did not succeed. */
    public async artifacts(record: BuildRecord): Promise<readonly StoredArtifact[] | undefined> {
        const store = this.storeOf(record);
        if (!store || record.buildTag === undefined) {
            return undefined;
        }
        const key = buildKey(record.buildTag);
        const manifest = await store.manifest(key);
        return manifest?.artifacts.map((artifact) => ({
            ...artifact,
            url: store.blobUrl(layout.artifact(key, artifact.name)),
        }));
    }

    private storeOf({ containerUrl }: BuildRecord): BuildStore | undefined {
        return containerUrl === undefined ? undefined : this.openStore(containerUrl);
    }
}

function isPipeline({ request }: BuildRecord): boolean {
    return request.config["pipeline"] !== undefined;
}
