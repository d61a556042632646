import { isIP } from "node:net";

import { isConfidential } from "../contract/address";
import { UserError } from "../contract/errors";
import type { Reader } from "./reader";

/** What a build hands over besides its output and its artifact directory, and who is told of it beside the store. */
export interface ExportSettings {
    /** Patterns of files in the working directory: `*` within a name, `**` across directories, `?`. */
    readonly logFiles: readonly string[];
    /** Empty for none. */
    readonly lokiUrl: string;
    /** Empty where Loki has one tenant. */
    readonly lokiTenant: string;
    /** Empty for none. */
    readonly elasticsearchUrl: string;
    readonly elasticsearchIndex: string;
    /** A Secret of the namespace with the receivers' credentials; empty for none. */
    readonly sinkSecret: string;
    /** Private addresses behind which the receivers' names are: CIDR blocks. */
    readonly sinkAddresses: readonly string[];
    /** Relative to the working directory; empty for none. */
    readonly metricsFile: string;
    /** Where metrics are pushed to; empty for none. */
    readonly metricsPushgateway: string;
    /** Where metrics are served; 0 for nowhere. */
    readonly metricsPort: number;
    readonly metricsScrapeLimitSeconds: number;
}

const logPattern =
    /^(?!\/)(?!(.*\/)?\.\.?(\/|$))(?!.*\/\/)[^[\]{}\\\u0000-\u001f\u007f]*[^[\]{}\\/\u0000-\u001f\u007f]$/;
const relativeFile = /^(?!\/)(?!(.*\/)?\.\.(\/|$))[^\u0000-\u001f\u007f]*[^/\u0000-\u001f\u007f]$/;
const secretName = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** https://grafana.com/docs/loki/latest/operations/multi-tenancy/#tenant-id-format, without what joins several. */
const tenant = /^(?!\.\.?$)[A-Za-z0-9!\-_.*'()]{1,150}$/;
/** https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create */
const index = /^[a-z0-9][a-z0-9._-]{0,199}$/;
const cidr = /^(\d{1,3}\.){3}\d{1,3}\/([12]?\d|3[0-2])$/;

/**
 * Reads the keys for what else a build hands over.
 *
 * @param pushgateway where the launcher pushes: also for the build's metrics, where nothing else is said
 * @throws UserError, one line, for the first value that cannot be.
 */
export function readExports(read: Reader, pushgateway: string): ExportSettings {
    const metricsFile = read.matching("metricsFile", "", relativeFile, "a file inside the working directory");
    const metricsPort = read.integer("metricsPort", 0, 0, 65_535);
    if (metricsPort !== 0 && metricsPort < 1024) {
        throw new UserError(
            `metricsPort must be 0 or from 1024 to 65535, as pods have no privileges; it is ${metricsPort}`,
        );
    }
    const elasticsearchUrl = receiver(read, "elasticsearchUrl");
    const settings = {
        logFiles: read.listMatching(
            "logFiles",
            logPattern,
            "a pattern of files inside the working directory, with *, ** and ? alone (build/**/*.log)",
        ),
        lokiUrl: receiver(read, "lokiUrl"),
        lokiTenant: read.matching("lokiTenant", "", tenant, "a tenant's id: letters, digits and !-_.*'() alone"),
        elasticsearchUrl,
        elasticsearchIndex: read.matching(
            "elasticsearchIndex",
            "ke1-builds",
            index,
            "the name of an index or a data stream: a-z, 0-9, -, _ and .",
        ),
        sinkSecret: read.matching("sinkSecret", "", secretName, "the name of a Secret in the namespace"),
        sinkAddresses: read.listMatching("sinkAddresses", cidr, "a block of addresses such as 10.1.0.0/16"),
        metricsFile,
        metricsPort,
        metricsPushgateway: readPushgateway(read, metricsFile !== "" && metricsPort === 0 ? pushgateway : ""),
        metricsScrapeLimitSeconds: read.integer("metricsScrapeLimitSeconds", 60, 1, 3600),
    };
    if (settings.lokiTenant !== "" && settings.lokiUrl === "") {
        throw new UserError("lokiTenant is set, but lokiUrl is not");
    }
    if (metricsFile !== "" && metricsPort === 0 && settings.metricsPushgateway === "") {
        throw new UserError("metricsFile is set, but neither metricsPushgateway (or pushgateway) nor metricsPort is");
    }
    return settings;
}

function readPushgateway(read: Reader, fallback: string): string {
    if (read.text("metricsPushgateway") !== "" || fallback === "") {
        return receiver(read, "metricsPushgateway");
    }
    const problem = problemOf(fallback);
    if (problem !== undefined) {
        throw new UserError(`metricsFile goes to pushgateway, which ${problem}; set metricsPushgateway`);
    }
    return fallback.replace(/\/+$/, "");
}

/** The address of a receiver that a build's pod speaks to, or empty; without a slash at its end. */
function receiver(read: Reader, key: string): string {
    const value = read.text(key);
    const problem = value === "" ? undefined : problemOf(value);
    if (problem !== undefined) {
        throw new UserError(`${key} ${problem}`);
    }
    return value.replace(/\/+$/, "");
}

/** What is wrong with an address. It is not shown: there may be a password in it. */
function problemOf(value: string): string | undefined {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") {
        return "must be an http or https address without a password in it: that belongs in sinkSecret";
    }
    if (url.search !== "" || url.hash !== "") {
        return "must be an address without a query";
    }
    const host = url.hostname.replace(/^\[|\]$/g, "");
    if (isIP(host) === 6) {
        return "must have a name or an IPv4 address: the network policy knows no others";
    }
    if (host === "localhost" || host.startsWith("127.")) {
        return `must be an address that a build's pod reaches: there, ${host} is the pod itself`;
    }
    if (!isConfidential(url) && !isClusterService(host)) {
        return `must begin with https://, as ${url.host} is neither a Service of the cluster nor a private address`;
    }
    return undefined;
}

function isClusterService(host: string): boolean {
    return /^[a-z0-9-]+\.[a-z0-9-]+\.svc(\.cluster\.local)?$/.test(host);
}
