import * as fs from "node:fs";
import * as path from "node:path";

import { UserError } from "../contract/errors";
import type { OutcomeFile } from "../contract/outcomeFile";
import { outcomeFileVariable } from "../contract/outcomeFile";
import type { ResolvedSource } from "../source/resolve";
import type { BuildRecord, BuildSecrets, ReleaseRequest } from "./build";
import { launchEnvironment, releaseEnvironment } from "./environment";
import { imageEnvironment } from "./imageRequest";
import { endOrphan, runProcess } from "./process";
import type { ServiceSettings } from "./settings";
import type { PreparedSource, SourceProvider } from "./sourceProvider";
import { writeStackFile } from "./stackFile";

/** How a run of a build ended. */
export interface RunEnd {
    readonly state: "succeeded" | "failed" | "cancelled";
    readonly outcome: NonNullable<BuildRecord["outcome"]>;
    readonly message?: string;
    readonly outputs?: Readonly<Record<string, unknown>>;
    readonly releaseUrl?: string;
}

/** What a run says while it goes on. */
export interface RunObserver {
    readonly source: (found: { readonly buildTag: string; readonly commit?: string }) => void;
    readonly line: (line: string) => void;
}

/** A run is over before the build is: the service ends, and takes the build up again when it is back. */
export class Abandoned extends Error {
    public override readonly name = "Abandoned";
}

type ResolvedTag = Pick<ResolvedSource, "buildTag" | "commit">;

interface Place {
    readonly directory: string;
    readonly stackFile: string;
    readonly logFile: string;
    readonly pidFile: string;
    readonly outcomeFile: string;
}

/** Runs builds: each is a stack of its own, launched by a `ke1 up` of its own. */
export class Runner {
    private readonly environment: NodeJS.ProcessEnv;
    private readonly releaseEnvironment: NodeJS.ProcessEnv;
    private readonly abandoned = new AbortController();

    public constructor(
        private readonly settings: ServiceSettings,
        private readonly sources: SourceProvider,
        environment: NodeJS.ProcessEnv = process.env,
        /** What the launcher of a build is told in addition. */
        private readonly variables: (record: BuildRecord) => NodeJS.ProcessEnv = () => ({}),
    ) {
        this.environment = launchEnvironment(settings.dataDirectory, environment);
        this.releaseEnvironment = releaseEnvironment(environment);
    }

    /** What the launcher of a build prints. */
    public logFile(id: string): string {
        return this.place(id).logFile;
    }

    /**
     * Brings a build's source here, launches it and waits for its end.
     *
     * @param cancelled ends the build, in order
     * @throws Abandoned after `abandon`
     */
    public async run(
        record: BuildRecord,
        secrets: BuildSecrets,
        observer: RunObserver,
        cancelled: AbortSignal,
    ): Promise<RunEnd> {
        const place = this.place(record.id);
        fs.mkdirSync(place.directory, { recursive: true, mode: 0o700 });
        await this.endOrphans(record, place);
        const started = Date.parse(record.startedAt ?? record.createdAt);
        const limit = record.request.timeoutSeconds ?? this.settings.timeoutSeconds;
        const timedOut = AbortSignal.timeout(Math.max(0, started + limit * 1000 - Date.now()));
        const stopped = AbortSignal.any([cancelled, timedOut]);
        const ended = (): RunEnd | undefined =>
            cancelled.aborted
                ? { state: "cancelled", outcome: "Cancelled" }
                : timedOut.aborted
                  ? { state: "failed", outcome: "DeadlineExceeded", message: `not done after ${limit} s` }
                  : undefined;
        try {
            const source = await this.source(record, secrets, place, AbortSignal.any([stopped, this.abandoned.signal]));
            const { buildTag, commit } = await this.resolve(source, place, stopped);
            const suffix = record.request.config["buildTagSuffix"];
            const label = typeof suffix === "string" ? buildTag + suffix : buildTag;
            observer.source({ buildTag: label, commit });
            const early = ended();
            if (early) {
                return early;
            }
            const found = { ...source, ref: source.ref === "" ? "" : buildTag };
            const end = await this.up(record, found, secrets, place, observer, stopped, ended);
            const { release } = record.request;
            return release && end.state === "succeeded"
                ? await this.release({ ...release, buildTag: label }, record, place, end, observer, stopped, ended)
                : end;
        } catch (error) {
            if (this.abandoned.signal.aborted) {
                throw new Abandoned();
            }
            const early = ended();
            if (early) {
                return early;
            }
            if (!(error instanceof UserError)) {
                throw error;
            }
            return { state: "failed", outcome: "NotStarted", message: error.message };
        }
    }

    /** Deletes all that a build's stack has made. Artifacts and logs stay. */
    public async destroy(record: BuildRecord): Promise<void> {
        const place = this.place(record.id);
        if (!fs.existsSync(place.stackFile) || !this.hasState(record.stack)) {
            // Nothing was made: the launch failed before that.
            return;
        }
        const stack = ["--stack", record.stack, "--cwd", this.settings.projectDirectory];
        await this.endOrphans(record, place);
        const { exitCode } = await this.ke1(
            place,
            ["destroy", ...stack, "--config-file", place.stackFile],
            this.variables(record),
        );
        if (this.abandoned.signal.aborted) {
            throw new Abandoned();
        }
        if (exitCode !== 0) {
            throw new Error(`the stack ${record.stack} is not destroyed: ${lastError(place.logFile)}`);
        }
        await this.ke1(place, ["stack", "rm", ...stack], {});
    }

    /** Gives back what a source takes of the disk. The build shuttle's clients may ask for theirs later. */
    public removeSource({ id, request }: BuildRecord): void {
        if (request.labels["build_uuid"] === undefined) {
            const { directory } = this.place(id);
            for (const name of ["source", "source.archive"]) {
                fs.rmSync(path.join(directory, name), { recursive: true, force: true });
            }
        }
    }

    /** Forgets what is on the disk. */
    public remove(record: BuildRecord): void {
        fs.rmSync(this.place(record.id).directory, { recursive: true, force: true });
    }

    /** Ends what runs here, and leaves the builds running in the cluster. */
    public abandon(): void {
        this.abandoned.abort();
    }

    private async source(
        record: BuildRecord,
        secrets: BuildSecrets,
        { directory }: Place,
        signal: AbortSignal,
    ): Promise<PreparedSource> {
        const done = path.join(directory, "source.json");
        if (fs.existsSync(done)) {
            return JSON.parse(fs.readFileSync(done, "utf8")) as PreparedSource;
        }
        const target = path.join(directory, "source");
        fs.rmSync(target, { recursive: true, force: true });
        fs.mkdirSync(target, { mode: 0o700 });
        const prepared = await this.sources(record.request, secrets, target, signal);
        fs.writeFileSync(`${done}.part`, JSON.stringify(prepared), { mode: 0o600 });
        fs.renameSync(`${done}.part`, done);
        return prepared;
    }

    /**
     * Finds the tag and the commit, in a process of its own: a source is somebody's, may be large, and is read by git, which
     * this process has neither the time nor, with its credentials, the trust for.
     */
    private async resolve(source: PreparedSource, place: Place, stopped: AbortSignal): Promise<ResolvedTag> {
        const { exitCode, stdout } = await this.ke1(
            place,
            ["resolve-source", "--cwd", this.settings.projectDirectory],
            { SOURCE: source.directory, BUILD_TAG: source.ref },
            stopped,
        );
        if (this.abandoned.signal.aborted) {
            throw new Abandoned();
        }
        if (exitCode !== 0) {
            throw new UserError(lastError(place.logFile));
        }
        return JSON.parse(stdout) as ResolvedTag;
    }

    private async up(
        record: BuildRecord,
        source: PreparedSource,
        secrets: BuildSecrets,
        place: Place,
        observer: RunObserver,
        stopped: AbortSignal,
        ended: () => RunEnd | undefined,
    ): Promise<RunEnd> {
        const namespace = record.namespace;
        const exists = namespace !== undefined && this.settings.namespaces.includes(namespace);
        writeStackFile(
            place.stackFile,
            this.settings,
            { ...record.request, config: { ...record.request.config, ...source.config } },
            namespace ? { name: namespace, exists } : undefined,
        );
        fs.rmSync(place.outcomeFile, { force: true });
        const { exitCode, stdout } = await this.ke1(
            place,
            [
                "up",
                "--json",
                "--stack",
                record.stack,
                "--cwd",
                this.settings.projectDirectory,
                "--config-file",
                place.stackFile,
            ],
            {
                ...this.variables(record),
                ...{
                    SOURCE: source.directory,
                    BUILD_TAG: source.ref,
                    [outcomeFileVariable]: place.outcomeFile,
                    KE1_RUN_ID: record.id,
                },
                ...imageEnvironment(record.request, secrets, place.directory),
            },
            stopped,
            observer.line,
        );
        if (this.abandoned.signal.aborted) {
            throw new Abandoned();
        }
        if (exitCode === 0) {
            const { outputs } = JSON.parse(stdout) as { readonly outputs: Readonly<Record<string, unknown>> };
            return { state: "succeeded", outcome: readOutcome(place.outcomeFile)?.outcome ?? "Succeeded", outputs };
        }
        const told = readOutcome(place.outcomeFile);
        return (
            ended() ?? {
                state: told?.outcome === "Cancelled" ? "cancelled" : "failed",
                // An image that is all there is to be built has no launcher that could tell.
                outcome: told?.outcome ?? (record.request.kind === "image" ? "BuildFailed" : "NotStarted"),
                message: told?.message ?? lastError(place.logFile),
            }
        );
    }

    /** What was built is released by a `ke1` of its own, which alone is given the token. */
    private async release(
        release: ReleaseRequest & { readonly buildTag: string },
        { stack }: BuildRecord,
        place: Place,
        end: RunEnd,
        observer: RunObserver,
        stopped: AbortSignal,
        ended: () => RunEnd | undefined,
    ): Promise<RunEnd> {
        const { exitCode, stdout } = await this.ke1(
            place,
            [
                ...["release", release.step === undefined ? release.buildTag : `${release.buildTag}/${release.step}`],
                ...["--json", "--stack", stack, "--cwd", this.settings.projectDirectory],
                ...["--config-file", place.stackFile, "--repository", release.repository],
                ...(release.tag === undefined ? [] : ["--release-tag", release.tag]),
                ...release.images.flatMap((image) => ["--image", image]),
            ],
            this.releaseEnvironment,
            stopped,
            observer.line,
        );
        if (this.abandoned.signal.aborted) {
            throw new Abandoned();
        }
        if (exitCode !== 0) {
            const message = `built, but not released: ${lastError(place.logFile)}`;
            return ended() ?? { ...end, state: "failed", outcome: "NotReleased", message };
        }
        const { url } = JSON.parse(stdout) as { readonly url?: string };
        return { ...end, releaseUrl: url };
    }

    private async ke1(
        place: Place,
        args: readonly string[],
        environment: NodeJS.ProcessEnv,
        interrupt: AbortSignal = new AbortController().signal,
        onLine?: (line: string) => void,
    ) {
        return runProcess({
            command: [...this.settings.ke1, ...args],
            environment: { ...this.environment, ...environment },
            directory: this.settings.projectDirectory,
            logFile: place.logFile,
            pidFile: place.pidFile,
            interrupt,
            abandon: this.abandoned.signal,
            ...(this.settings.showLogs && onLine ? { onLine } : {}),
        });
    }

    /** Ends what a killed service has left running on a build's stack, and takes its lock away. */
    private async endOrphans({ stack }: BuildRecord, place: Place): Promise<void> {
        // In a pod, what was killed with the one before cannot be seen to be gone: it was on a host of another name. Nobody
        // but this service works on its builds' stacks.
        if (endOrphan(place.pidFile, place.stackFile) || this.isLocked(stack)) {
            await this.ke1(place, ["stack", "cancel", "--stack", stack, "--cwd", this.settings.projectDirectory], {});
        }
    }

    /** As engine/backend.ts keeps locks. */
    private isLocked(stack: string): boolean {
        const directory = this.stateDirectory("locks", "organization", "ke-1-build", stack);
        return fs.existsSync(directory) && fs.readdirSync(directory).length > 0;
    }

    /** And checkpoints, with a journal beside them. */
    private hasState(stack: string): boolean {
        const directory = this.stateDirectory("stacks", "ke-1-build");
        return fs.existsSync(directory) && fs.readdirSync(directory).some((file) => file.startsWith(`${stack}.`));
    }

    private stateDirectory(...names: readonly string[]): string {
        return path.join(this.settings.dataDirectory, "state", ".pulumi", ...names);
    }

    private place(id: string): Place {
        const directory = path.join(this.settings.dataDirectory, "builds", id);
        return {
            directory,
            stackFile: path.join(directory, "Pulumi.build.yaml"),
            logFile: path.join(directory, "launch.log"),
            pidFile: path.join(directory, "launch.pid"),
            outcomeFile: path.join(directory, "outcome.json"),
        };
    }
}

function readOutcome(file: string): OutcomeFile | undefined {
    return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as OutcomeFile) : undefined;
}

/** How much of a launcher's output is looked at for its last error, in bytes. */
const tailBytes = 16 * 1024;

/** The last line that says what went wrong. */
function lastError(logFile: string): string {
    const size = fs.statSync(logFile).size;
    const length = Math.min(size, tailBytes);
    const bytes = Buffer.alloc(length);
    const file = fs.openSync(logFile, "r");
    fs.readSync(file, bytes, 0, length, size - length);
    fs.closeSync(file);
    const lines = bytes
        .toString("utf8")
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "");
    const error = lines.findLast((line) => /^error:/i.test(line)) ?? lines.at(-1) ?? "the launcher said nothing";
    return error.replace(/^error:\s*/i, "").slice(0, 1000);
}
