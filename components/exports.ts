import type * as k8s from "@pulumi/kubernetes";

/** What a build hands over besides its output and its artifact directory, and who is told of it beside the store. */
export interface ExportArgs {
    readonly logFiles: readonly string[];
    readonly lokiUrl: string;
    readonly lokiTenant: string;
    readonly elasticsearchUrl: string;
    readonly elasticsearchIndex: string;
    readonly sinkSecret: string;
    readonly sinkAddresses: readonly string[];
    readonly metricsFile: string;
    readonly metricsPushgateway: string;
    readonly metricsPort: number;
    readonly metricsScrapeLimitSeconds: number;
}

const sinkDirectory = "/ke1/sinks";

type EnvVar = k8s.types.input.core.v1.EnvVar;

/** Where a build, or a container beside it, leaves what is to be carried out; the exporter has made the directories. */
export function handOverEnvironment(args: ExportArgs, sharedDirectory: string): EnvVar[] {
    return [
        { name: "KE1_LOG_DIR", value: `${sharedDirectory}/logs` },
        { name: "KE1_ARTIFACTS", value: `${sharedDirectory}/exports` },
        { name: "KE1_METRICS_FILE", value: `${sharedDirectory}/metrics.prom` },
        ...given("KE1_LOG_FILES", args.logFiles.map(expressionOf).join("\n")),
        ...given("KE1_METRICS_PATH", args.metricsFile),
    ];
}

/** What the exporter is told of receivers. */
export function receiverEnvironment(args: ExportArgs): EnvVar[] {
    return [
        ...given("KE1_LOKI_URL", args.lokiUrl),
        ...given("KE1_LOKI_TENANT", args.lokiTenant),
        ...given("KE1_ELASTICSEARCH_URL", args.elasticsearchUrl),
        ...given("KE1_ELASTICSEARCH_INDEX", args.elasticsearchUrl && args.elasticsearchIndex),
        ...given("KE1_METRICS_PUSHGATEWAY", args.metricsPushgateway),
        ...given("KE1_METRICS_PORT", args.metricsPort && String(args.metricsPort)),
        ...given("KE1_METRICS_SCRAPE_LIMIT", args.metricsPort && `${args.metricsScrapeLimitSeconds}s`),
    ];
}

/** The Secret with the receivers' credentials, as buildPod.ts mounts Secrets for the exporter alone. */
export function receiverSecret(args: ExportArgs) {
    return {
        name: "sinks",
        secretName: args.sinkSecret || undefined,
        directory: sinkDirectory,
        variable: "KE1_SINK_DIR",
        value: sinkDirectory,
    };
}

/** By these, Prometheus finds pods to scrape where it is set up to; a convention, not a standard. */
export function scrapeAnnotations(args: ExportArgs): Record<string, string> {
    return args.metricsPort === 0
        ? {}
        : {
              "prometheus.io/scrape": "true",
              "prometheus.io/port": String(args.metricsPort),
              "prometheus.io/path": "/metrics",
          };
}

/** The receivers' addresses. */
export function receiversOf(args: ExportArgs): readonly string[] {
    return [args.lokiUrl, args.elasticsearchUrl, args.metricsPushgateway].filter((url) => url !== "");
}

/**
 * A pattern as an extended regular expression for the paths that `find .` prints: the wrapper has no other means that every
 * image has.
 */
export function expressionOf(pattern: string): string {
    const body = pattern.replace(/\*\*\/|\*\*|[*?]|[^A-Za-z0-9_/-]/g, (token) => {
        switch (token) {
            case "**/":
                return "(.*/)?";
            case "**":
                return ".*";
            case "*":
                return "[^/]*";
            case "?":
                return "[^/]";
            default:
                // Beyond ASCII there is nothing that has a meaning, and no bracket that takes a character of several bytes.
                return /[\u0080-\u{10ffff}]/u.test(token) ? token : `[${token}]`.replace("[^]", "\\^");
        }
    });
    return `^\\./${body}$`;
}

function given(name: string, value: string | 0): EnvVar[] {
    return value === "" || value === 0 ? [] : [{ name, value }];
}
