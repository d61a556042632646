import { messageOf } from "../contract/errors";
import type { Watchdogs } from "../contract/watchdogs";
import { awaitPolicy } from "../launcher/admission";
import { awaitBuild } from "../launcher/await";
import { BuildFailure } from "../launcher/buildFailure";
import { Cluster } from "../launcher/cluster";
import { containerSas } from "../launcher/store";
import { Notifier } from "../launcher/notify/notifier";
import { notifierSettings } from "../launcher/notify/settings";
import { recordPods } from "./awaitSpans";
import { runPipeline } from "./pipelineAgent";
import { writeOutcome } from "./outcomeFile";
import { writeTimeline } from "./timelineFiles";
import { openStore, pollIntervalFor, required, storageCredential } from "./context";

/** At most this much of a build's log is shown by `up`, in characters: the engine keeps what is shown in its state. */
const liveLogLimit = 48 * 1024;
/** Of a longer log, this many lines are shown once more at the end of a failed build. */
const lastLines = 25;

/** Makes the blob container if there is none. */
export async function createStore(): Promise<void> {
    const container = required("KE1_BLOB_CONTAINER");
    await openStore(`${required("KE1_BLOB_ENDPOINT")}/${container}`).create();
    process.stdout.write(JSON.stringify({ container }));
}

/** Makes a SAS and brings it to the cluster; prints only the name of its Secret. */
export async function grantIdentity(): Promise<void> {
    const endpoint = required("KE1_BLOB_ENDPOINT");
    const secret = required("KE1_SECRET");
    const validFrom = required("KE1_VALID_FROM");
    const sas = containerSas(storageCredential(endpoint), endpoint, required("KE1_BLOB_CONTAINER"), validFrom);
    const labels = { "app.kubernetes.io/name": "ke-1-build", "app.kubernetes.io/managed-by": "ke1" };
    await cluster().putSecret(required("KE1_NAMESPACE"), secret, labels, { sas });
    process.stdout.write(JSON.stringify({ secret, validFrom }));
}

/** Takes the Secret away. */
export async function revokeIdentity(): Promise<void> {
    await cluster().deleteSecret(required("KE1_NAMESPACE"), required("KE1_SECRET"));
}

/** Waits until the cluster judges Jobs by the stack's rules; prints the policy's name. */
export async function awaitAdmission(): Promise<void> {
    const name = required("KE1_POLICY");
    await awaitPolicy(cluster(), {
        name,
        namespace: required("KE1_NAMESPACE"),
        version: required("KE1_POLICY_VERSION"),
        rules: JSON.parse(required("KE1_POLICY_RULES")) as readonly string[],
    });
    process.stdout.write(JSON.stringify({ policy: name }));
}

function cluster(): Cluster {
    return Cluster.connect({
        kubeconfig: process.env["KE1_KUBECONFIG"] ?? "",
        context: process.env["KE1_KUBE_CONTEXT"] ?? "",
    });
}

/** Waits for a build; prints progress on stderr, and the result as JSON on stdout. */
export async function awaitJob(): Promise<void> {
    const containerUrl = required("KE1_CONTAINER_URL");
    const buildTag = required("KE1_BUILD_TAG");
    const namespace = required("KE1_NAMESPACE");
    const jobs = JSON.parse(required("KE1_JOBS")) as readonly string[];
    const store = openStore(containerUrl);
    const kubernetes = cluster();
    const interrupted = new AbortController();
    // The embedded engine ends its commands with SIGTERM when `ke1 up` is interrupted.
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
        process.once(signal, () => interrupted.abort());
    }
    const log = new LimitedLog(buildTag);
    const command = JSON.parse(required("KE1_COMMAND")) as readonly string[];
    const tree = required("KE1_SOURCE_TREE");
    const notifier = notifierOf(kubernetes);
    const build = {
        ...{ buildTag, namespace, command, stack: process.env["KE1_STACK"] || undefined },
        ...{ job: jobs[0] ?? "", source: { commit: process.env["KE1_SOURCE_COMMIT"] || undefined, tree } },
        startedAt: new Date(),
    };
    notifier.started(build);
    try {
        const result = await awaitBuild(
            kubernetes,
            store,
            {
                namespace,
                jobs,
                memory: JSON.parse(required("KE1_MEMORY")) as readonly string[],
                buildTag,
                tree,
                command,
                pollInterval: pollIntervalFor(containerUrl),
                needs: JSON.parse(process.env["KE1_NEEDS"] || "[]") as readonly string[],
                retries: Number(required("KE1_RETRIES")),
                watchdogs: JSON.parse(required("KE1_WATCHDOGS")) as Watchdogs,
            },
            {
                phase: (text) => process.stderr.write(`${text}\n`),
                logLine: (line) => log.line(line),
                timeline: (timeline) => writeTimeline(timeline),
            },
            interrupted.signal,
        );
        process.stderr.write(`${result.outcome}: ${countOf(result.artifactCount)}\n`);
        process.stdout.write(JSON.stringify(result));
        const { outcome, attempt, artifactCount: artifacts, manifestUrl, logsUrl: logUrl } = result;
        const { buildSeconds, exportSeconds } = result.durations;
        const durations = { buildSeconds, exportSeconds };
        const ending = { outcome, attempt, exitCode: 0, durations, artifacts, manifestUrl, logUrl };
        writeOutcome({ buildTag, outcome, attempt, logUrl, job: build.job });
        notifier.ended(build, { ...ending, endedAt: new Date() });
    } catch (error) {
        if (!(error instanceof BuildFailure)) {
            throw error;
        }
        const { job, exitCode, attempt, log: path } = error.details;
        const { outcome, message } = error;
        const logUrl = path && store.blobUrl(path);
        writeOutcome({ buildTag, outcome, message, exitCode, attempt, logUrl, job });
        notifier.ended(build, { outcome, message, endedAt: new Date(), job, exitCode, attempt, logUrl });
        if (interrupted.signal.aborted) {
            // An interrupted build holds nothing of the cluster; `up` starts it again.
            await kubernetes.suspendJob(namespace, error.details.job ?? jobs[0] ?? "", true);
            process.stderr.write("Cancelled: `ke1 up` starts the build again\n");
            process.exitCode = 130;
            return;
        }
        process.stderr.write(failureReport(buildTag, error, log, (path) => store.blobUrl(path)));
        process.exitCode = 1;
    } finally {
        // Whoever cannot be told does not hold up the build's end for long.
        await Promise.all([notifier.close(), recordPods(store, [{ buildTag, namespace, jobs }])]);
    }
}

/** Runs a pipeline to its end. */
export async function awaitPipeline(): Promise<void> {
    const kubernetes = cluster();
    await runPipeline(kubernetes, () => notifierOf(kubernetes));
}

/** A notifier that cannot be is a warning: it never fails a build. */
function notifierOf(kubernetes: Cluster): Notifier {
    const event = kubernetes.eventWriter();
    try {
        return new Notifier({ ...notifierSettings(), event });
    } catch (error) {
        process.stderr.write(`warning: nobody but the cluster is told of this build: ${messageOf(error)}\n`);
        return new Notifier({ event });
    }
}

function countOf(artifacts: number): string {
    return artifacts === 1 ? "1 artifact" : `${artifacts} artifacts`;
}

function failureReport(tag: string, failure: BuildFailure, log: LimitedLog, url: (path: string) => string): string {
    const rest = log.unshown();
    return [
        ...(rest.length > 0 ? ["the last lines of the log:", ...rest.map((line) => `    ${line}`)] : []),
        ...(failure.details.events?.length ? ["what Kubernetes says:"] : []),
        ...(failure.details.events ?? []).map((event) => `    ${event}`),
        `${failure.outcome}: ${failure.message}`,
        ...(failure.details.log ? [`log: ${url(failure.details.log)}`, `more: ke1 logs ${tag}`] : []),
        "",
    ].join("\n");
}

/** Shows a log as it comes, up to a limit, and keeps its end. */
class LimitedLog {
    private shown = 0;
    private cut = false;
    private last: string[] = [];

    public constructor(private readonly buildTag: string) {}

    public line(line: string): void {
        if (!this.cut && this.shown + line.length < liveLogLimit) {
            this.shown += line.length + 1;
            process.stderr.write(`${line}\n`);
            return;
        }
        if (!this.cut) {
            this.cut = true;
            process.stderr.write(`(the log goes on: ke1 logs ${this.buildTag} --follow)\n`);
        }
        this.last.push(line);
        if (this.last.length > 2 * lastLines) {
            this.last = this.last.slice(-lastLines);
        }
    }

    /** The log's last lines, when they were not shown as they came. */
    public unshown(): readonly string[] {
        return this.last.slice(-lastLines);
    }
}
