import { isUserError, messageOf } from "../contract/errors";
import { awaitBuild } from "../launcher/await";
import { BuildFailure } from "../launcher/buildFailure";
import type { Cluster } from "../launcher/cluster";
import { isAbandoned } from "../launcher/abandoned";
import { Notifier } from "../launcher/notify/notifier";
import { notifierSettings } from "../launcher/notify/settings";
import type { Pace } from "../launcher/pace";
import type { BuildStore } from "../launcher/store";
import type { Watchdogs } from "../contract/watchdogs";
import { recordPods } from "./awaitSpans";
import { pollIntervalFor, required } from "./context";
import { LimitedLog } from "./limitedLog";
import { writeOutcome } from "./outcomeFile";
import { writeTimeline } from "./timelineFiles";

/** A build's wait: what it is told, and where it tells. Several can be in one process. */
export interface Awaiting {
    /** As components/awaitCommand.ts declares it. */
    readonly environment: NodeJS.ProcessEnv;
    readonly out: (text: string) => void;
    readonly err: (text: string) => void;
    /** Aborted when the build is to be ended; or, with `abandoned` as its reason, to be left alone. */
    readonly signal: AbortSignal;
    readonly cluster: (kubeconfig: string, context: string) => Cluster;
    readonly store: (containerUrl: string) => BuildStore;
    /** Where others are awaited too. */
    readonly pace?: Pace;
}

/** Exit codes of `ke1 await`. */
const [exitFailed, exitUsage, exitInterrupted] = [1, 2, 130];

/**
 * Waits for a build; prints progress on stderr, and the result as JSON on stdout.
 *
 * @returns the exit code; never rejects
 */
export async function awaitJob(awaiting: Awaiting): Promise<number> {
    try {
        return await waitFor(awaiting);
    } catch (error) {
        const detail = awaiting.environment["KE1_DEBUG"] && error instanceof Error ? error.stack : undefined;
        const isUsage = isUserError(error);
        awaiting.err(`error: ${isUsage ? messageOf(error) : (detail ?? messageOf(error))}\n`);
        return isUsage ? exitUsage : exitFailed;
    }
}

async function waitFor({ environment, out, err, signal, ...clients }: Awaiting): Promise<number> {
    const containerUrl = required("KE1_CONTAINER_URL", environment);
    const buildTag = required("KE1_BUILD_TAG", environment);
    const namespace = required("KE1_NAMESPACE", environment);
    const jobs = JSON.parse(required("KE1_JOBS", environment)) as readonly string[];
    const store = clients.store(containerUrl);
    const kubernetes = clients.cluster(environment["KE1_KUBECONFIG"] ?? "", environment["KE1_KUBE_CONTEXT"] ?? "");
    const log = new LimitedLog(buildTag, err);
    const command = JSON.parse(required("KE1_COMMAND", environment)) as readonly string[];
    const tree = required("KE1_SOURCE_TREE", environment);
    const notifier = notifierOf(kubernetes, environment, err);
    const build = {
        ...{ buildTag, namespace, command, stack: environment["KE1_STACK"] || undefined },
        ...{ job: jobs[0] ?? "", source: { commit: environment["KE1_SOURCE_COMMIT"] || undefined, tree } },
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
                memory: JSON.parse(required("KE1_MEMORY", environment)) as readonly string[],
                buildTag,
                tree,
                command,
                pollInterval: pollIntervalFor(containerUrl),
                pace: clients.pace,
                needs: JSON.parse(environment["KE1_NEEDS"] || "[]") as readonly string[],
                retries: Number(required("KE1_RETRIES", environment)),
                watchdogs: JSON.parse(required("KE1_WATCHDOGS", environment)) as Watchdogs,
            },
            {
                phase: (text) => err(`${text}\n`),
                logLine: (line) => log.line(line),
                timeline: (timeline) => writeTimeline(timeline, environment, err),
            },
            signal,
        );
        err(`${result.outcome}: ${countOf(result.artifactCount)}\n`);
        out(JSON.stringify(result));
        const { outcome, attempt, artifactCount: artifacts, manifestUrl, logsUrl: logUrl } = result;
        const { buildSeconds, exportSeconds } = result.durations;
        const durations = { buildSeconds, exportSeconds };
        const ending = { outcome, attempt, exitCode: 0, durations, artifacts, manifestUrl, logUrl };
        writeOutcome({ buildTag, outcome, attempt, logUrl, job: build.job }, environment, err);
        notifier.ended(build, { ...ending, endedAt: new Date() });
        return 0;
    } catch (error) {
        if (!(error instanceof BuildFailure)) {
            throw error;
        }
        if (isAbandoned(signal)) {
            // Nobody is there to be told, and the build goes on.
            return exitInterrupted;
        }
        const { job, exitCode, attempt, log: path } = error.details;
        const { outcome, message } = error;
        const logUrl = path && store.blobUrl(path);
        writeOutcome({ buildTag, outcome, message, exitCode, attempt, logUrl, job }, environment, err);
        notifier.ended(build, { outcome, message, endedAt: new Date(), job, exitCode, attempt, logUrl });
        if (signal.aborted) {
            // An interrupted build holds nothing of the cluster; `up` starts it again.
            await kubernetes.suspendJob(namespace, error.details.job ?? jobs[0] ?? "", true);
            err("Cancelled: `ke1 up` starts the build again\n");
            return exitInterrupted;
        }
        err(failureReport(buildTag, error, log, (path) => store.blobUrl(path)));
        return exitFailed;
    } finally {
        // Whoever cannot be told does not hold up the build's end for long.
        await Promise.all([
            notifier.close(isAbandoned(signal) ? 0 : undefined),
            recordPods(store, [{ buildTag, namespace, jobs }], environment),
        ]);
    }
}

/** A notifier that cannot be is a warning: it never fails a build. */
export function notifierOf(kubernetes: Cluster, environment: NodeJS.ProcessEnv, err: (text: string) => void): Notifier {
    const event = kubernetes.eventWriter();
    const say = (line: string) => err(`warning: ${line}\n`);
    try {
        return new Notifier({ ...notifierSettings(environment, err), event, say });
    } catch (error) {
        say(`nobody but the cluster is told of this build: ${messageOf(error)}`);
        return new Notifier({ event, say });
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
