import { isSuccess, outcomes } from "../../contract/outcome";
import type { NotifiedBuild, NotifiedEnding } from "./build";

/** The Pushgateway's label `job`; not a Job of Kubernetes. */
export const pushJob = "ke1_build";

/**
 * What is pushed, all of it gauges of the last build: a Pushgateway keeps what it was last told and adds nothing up, so
 * there is no counter among them. Named by https://prometheus.io/docs/practices/naming/: base units, unit last.
 * `docs/monitoring.md` describes them, and `docs/grafana/ke1.json` shows them.
 */
export const metrics = {
    ke1_build_start_time_seconds: "When the last build that was started began, in seconds since 1970.",
    ke1_build_end_time_seconds: "When the last build that ended did, in seconds since 1970.",
    ke1_build_last_success_time_seconds: "When a build last succeeded, in seconds since 1970.",
    ke1_build_duration_seconds: "From the launch of the last build to its outcome.",
    ke1_build_command_duration_seconds: "How long the last build's command ran; NaN where nothing was run.",
    ke1_build_export_duration_seconds:
        "How long the last build's artifacts took to be stored; NaN where nothing was run.",
    ke1_build_success: "Whether the artifacts of the last build are there: 1 or 0.",
    ke1_build_outcome: "The outcome of the last build: 1 for the one it had, 0 for all others.",
    ke1_build_exit_code: "The exit code of the last build's command; NaN where it is not known.",
    ke1_build_attempts: "How many attempts the last build took; NaN where it never began.",
    ke1_build_artifacts: "How many artifacts the last build has stored.",
    ke1_build_info: "Which build was the last to end: always 1.",
} as const;

export type MetricName = keyof typeof metrics;

/** The labels that are pushed or that the Pushgateway adds, by which a query can tell series apart. */
export const labelNames = ["job", "namespace", "stack", "step", "outcome", "build_tag", "commit", "tree"] as const;

type Labels = Readonly<Partial<Record<(typeof labelNames)[number], string>>>;
type Sample = readonly [Labels, number];

/**
 * Where the metrics of a build go, below the Pushgateway's address: one group for each stack, or namespace without one, and
 * for each step of its pipeline. A
 * group for each BUILD_TAG would be there for ever, as a Pushgateway forgets nothing by itself.
 */
export function groupPath(build: NotifiedBuild): string {
    const labels = {
        namespace: build.namespace,
        ...(build.stack === undefined ? {} : { stack: build.stack }),
        ...(build.step === undefined ? {} : { step: build.step }),
    };
    const rest = Object.entries(labels).map(([name, value]) => `/${name}${pathValue(value)}`);
    return `/metrics/job/${pushJob}${rest.join("")}`;
}

/** A value with a slash goes as base64url (https://github.com/prometheus/pushgateway#url). */
function pathValue(value: string): string {
    return value.includes("/")
        ? `@base64/${Buffer.from(value).toString("base64url")}`
        : `/${encodeURIComponent(value)}`;
}

/** What a start changes: of the build before it, everything else stays to be seen until this one has ended. */
export function startMetrics(build: NotifiedBuild): string {
    return exposition({ ke1_build_start_time_seconds: seconds(build.startedAt) });
}

/** Everything about a build that has ended. The time of the last success stays when this one was none. */
export function endMetrics(build: NotifiedBuild, ending: NotifiedEnding): string {
    const success = isSuccess(ending.outcome);
    // The durations of what was built already are those of another build.
    const durations = ending.outcome === "AlreadyBuilt" ? undefined : ending.durations;
    return exposition({
        ke1_build_start_time_seconds: seconds(build.startedAt),
        ke1_build_end_time_seconds: seconds(ending.endedAt),
        ...(success ? { ke1_build_last_success_time_seconds: seconds(ending.endedAt) } : {}),
        ke1_build_duration_seconds: Math.max(0, seconds(ending.endedAt) - seconds(build.startedAt)),
        ke1_build_command_duration_seconds: durations?.buildSeconds,
        ke1_build_export_duration_seconds: durations?.exportSeconds,
        ke1_build_success: success ? 1 : 0,
        ke1_build_outcome: outcomes.map((outcome) => [{ outcome }, outcome === ending.outcome ? 1 : 0]),
        ke1_build_exit_code: ending.exitCode,
        ke1_build_attempts: ending.attempt,
        ke1_build_artifacts: ending.artifacts ?? 0,
        ke1_build_info: [
            [{ build_tag: build.buildTag, commit: build.source.commit ?? "", tree: build.source.tree }, 1],
        ],
    });
}

/** In the text format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format */
function exposition(values: Partial<Record<MetricName, number | undefined | readonly Sample[]>>): string {
    return (Object.entries(values) as [MetricName, number | undefined | readonly Sample[]][])
        .map(([name, value]) => {
            // A value that is not known is NaN: left out, the one of the build before would stay.
            const samples: readonly Sample[] = Array.isArray(value)
                ? value
                : [[{}, (value as number | undefined) ?? NaN]];
            const lines = samples.map(([labels, number]) => `${name}${labelText(labels)} ${number}\n`);
            return `# HELP ${name} ${metrics[name]}\n# TYPE ${name} gauge\n${lines.join("")}`;
        })
        .join("");
}

function labelText(labels: Labels): string {
    const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
    return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
    return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function seconds(date: Date): number {
    return date.getTime() / 1000;
}
