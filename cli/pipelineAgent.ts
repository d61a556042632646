import { styleText } from "node:util";

import type { PipelinePlan, PipelineResult } from "../contract/pipeline";
import type { Watchdogs } from "../contract/watchdogs";
import type { Cluster } from "../launcher/cluster";
import type { Notifier } from "../launcher/notify/notifier";
import { Multiplexer } from "../launcher/pipeline/multiplexer";
import { PipelineRun } from "../launcher/pipeline/run";
import { logCommand } from "../launcher/pipeline/stepRun";
import { resultTable } from "../launcher/pipeline/table";
import { recordPods } from "./awaitSpans";
import { openStore, pollIntervalFor, required } from "./context";
import { interruption } from "./interruption";
import { liveLogLimit } from "./limitedLog";
import { writeOutcome } from "./outcomeFile";
import { StepNotifications } from "./stepNotifications";
import { writeTimeline } from "./timelineFiles";

/** Runs a pipeline whose Jobs are there; prints its log and its table on stderr, and the result as JSON on stdout. */
export async function runPipeline(kubernetes: Cluster, notifierOf: () => Notifier): Promise<void> {
    const containerUrl = required("KE1_CONTAINER_URL");
    const buildTag = required("KE1_BUILD_TAG");
    const plan = JSON.parse(required("KE1_PIPELINE")) as PipelinePlan;
    const interrupted = interruption();
    const color = wantsColor(process.env);
    const log = new Multiplexer({
        write: (text) => process.stderr.write(text),
        color,
        sources: plan.stages.flatMap(({ name, steps }) => steps.map((step) => `${name}/${step.name}`)),
        // Of all the logs together.
        limit: liveLogLimit,
        more: (source) => logCommand(buildTag, source.split("/")[1] ?? ""),
    });
    const tree = required("KE1_SOURCE_TREE");
    const namespace = required("KE1_NAMESPACE");
    const notifications = new StepNotifications(
        {
            buildTag,
            namespace,
            stack: process.env["KE1_STACK"] || undefined,
            source: { commit: process.env["KE1_SOURCE_COMMIT"] || undefined, tree },
        },
        notifierOf,
    );
    const store = openStore(containerUrl);
    const run = new PipelineRun(
        kubernetes,
        store,
        {
            namespace,
            buildTag,
            tree,
            retries: Number(required("KE1_RETRIES")),
            pollInterval: pollIntervalFor(containerUrl),
            watchdogs: JSON.parse(required("KE1_WATCHDOGS")) as Watchdogs,
        },
        plan,
        {
            say: (text) => process.stderr.write(`${text}\n`),
            step: (stage, step) => ({
                phase: (text) => log.note(`${stage}/${step}`, text),
                logLine: (line) => log.line(`${stage}/${step}`, line),
                timeline: (timeline) => writeTimeline(timeline),
            }),
            started: (step) => notifications.started(step),
            ended: (stage, result) => {
                const { name, outcome, success, message, seconds } = result;
                notifications.ended(result);
                const source = `${stage}/${name}`;
                log.end(source, !success);
                const why = message === undefined ? "" : `: ${message}`;
                log.note(source, `${outcome} after ${seconds.toFixed(1)} s${why}`);
            },
        },
    );
    const result = await run.run(interrupted);
    // The engine does not wait for ever when it is interrupted.
    const steps = plan.stages.flatMap((stage) => stage.steps);
    await Promise.all([
        notifications.close(interrupted.aborted ? 1000 : undefined),
        recordPods(
            store,
            steps.map(({ name, jobs }) => ({ buildTag, step: name, namespace, jobs })),
        ),
    ]);
    process.stderr.write(`\n${resultTable(result).join("\n")}\n`);
    writeOutcome({
        buildTag,
        outcome: result.success ? "Succeeded" : interrupted.aborted ? "Cancelled" : "BuildFailed",
        message: result.errors[0],
    });
    if (interrupted.aborted) {
        process.stderr.write("Cancelled: `ke1 pipeline up` goes on with what is not done\n");
        process.exitCode = 130;
    } else if (!result.success) {
        process.stderr.write(failures(result, color));
        process.exitCode = 1;
    } else {
        process.stdout.write(JSON.stringify(result));
    }
}

function failures({ buildTag, stages, errors }: PipelineResult, color: boolean): string {
    const failed = stages.flatMap(({ steps }) => steps).filter(({ success }) => !success);
    const red = (text: string) => (color ? styleText("red", text, { validateStream: false }) : text);
    return [
        "",
        red(errors.length === 1 ? "1 step failed:" : `${errors.length} steps failed:`),
        ...errors.map((error) => `  ${error}`),
        ...failed.flatMap(({ name, logUrl }) =>
            logUrl === undefined ? [] : [`  more: ${logCommand(buildTag, name)}`],
        ),
        "",
    ].join("\n");
}

/** `ke1` says by KE1_COLOR whether its own output is a terminal that takes colours (https://no-color.org). */
function wantsColor(environment: NodeJS.ProcessEnv): boolean {
    return environment["KE1_COLOR"] === "1" && !environment["NO_COLOR"];
}
