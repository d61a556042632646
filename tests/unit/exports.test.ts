import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";

import { expressionOf } from "../../components/exports";
import { readSettings } from "../../config";
import { UserError } from "../../contract/errors";
import type { ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const own = { kubeContext: "kind-kind", registry: "localhost:5001", blobEndpoint: "http://10.77.0.1:10000/ke1dev" };
const everything = {
    logFiles: '["build/**/*.log", "test?.txt"]',
    lokiUrl: "http://10.77.0.1:3100/",
    lokiTenant: "kerbodyne",
    elasticsearchUrl: "http://logs.search.svc:9200",
    elasticsearchIndex: "logs-ke1",
    sinkSecret: "log-receivers",
    sinkAddresses: '["10.9.0.0/16"]',
    metricsFile: "out/metrics.prom",
    metricsPushgateway: "https://push.example.com/base",
    metricsPort: "9102",
    metricsScrapeLimitSeconds: "90",
};

function read(config: Record<string, string>) {
    const all: Record<string, string> = { ...own, ...config };
    return readSettings({ get: (key) => all[key] }, { project: "ke-1-build", stack: "dev" }, {}).exports;
}

describe("the configuration of what a build hands over", () => {
    it("takes all of it", () => {
        assert.deepEqual(read(everything), {
            ...everything,
            logFiles: ["build/**/*.log", "test?.txt"],
            lokiUrl: "http://10.77.0.1:3100",
            sinkAddresses: ["10.9.0.0/16"],
            metricsPort: 9102,
            metricsScrapeLimitSeconds: 90,
        });
    });

    it("pushes metrics where the launcher pushes, if nothing else is said", () => {
        const pushgateway = "https://push.example.com";
        assert.equal(read({ metricsFile: "m", pushgateway }).metricsPushgateway, pushgateway);
        assert.equal(read({ metricsFile: "m", pushgateway, metricsPort: "9102" }).metricsPushgateway, "");
        assert.equal(read({ pushgateway }).metricsPushgateway, "");
    });

    const bad: readonly (readonly [Record<string, string>, RegExp])[] = [
        [{ logFiles: "build/*.log" }, /logFiles must be a list of strings/],
        [{ logFiles: '["/var/log/*.log"]' }, /each of logFiles must be a pattern of files inside.*\/var\/log/],
        [{ logFiles: '["../x"]' }, /each of logFiles/],
        [{ logFiles: '["a/../x"]' }, /each of logFiles/],
        [{ logFiles: '["./x"]' }, /each of logFiles/],
        [{ logFiles: '["a//x"]' }, /each of logFiles/],
        [{ logFiles: '["{a,b}.log"]' }, /each of logFiles/],
        [{ logFiles: '["[ab].log"]' }, /each of logFiles/],
        [{ logFiles: '["a\\nb"]' }, /each of logFiles/],
        [{ logFiles: '["build/"]' }, /each of logFiles/],
        [{ lokiUrl: "loki:3100" }, /lokiUrl must be an http or https address/],
        [
            { lokiUrl: "https://user:hunter2@loki" },
            /lokiUrl must be .* without a password in it: that belongs in sinkSecret$/,
        ],
        [{ lokiUrl: "https://loki/?a=b" }, /lokiUrl must be an address without a query/],
        [{ lokiUrl: "http://loki.example.com" }, /lokiUrl must begin with https:\/\/, as loki.example.com is neither/],
        [{ lokiUrl: "http://localhost:3100" }, /lokiUrl must be an address that a build's pod reaches/],
        [{ lokiUrl: "http://127.0.0.1:3100" }, /lokiUrl must be an address that a build's pod reaches/],
        [{ lokiUrl: "https://[2001:db8::1]" }, /lokiUrl must have a name or an IPv4 address/],
        [{ lokiTenant: "a" }, /lokiTenant is set, but lokiUrl is not/],
        [{ lokiUrl: "https://loki", lokiTenant: "a|b" }, /lokiTenant must be a tenant's id/],
        [{ elasticsearchUrl: "ftp://x" }, /elasticsearchUrl must be/],
        [{ elasticsearchIndex: "Logs" }, /elasticsearchIndex must be the name of an index/],
        [{ elasticsearchIndex: "../x" }, /elasticsearchIndex must be/],
        [{ sinkSecret: "a b" }, /sinkSecret must be the name of a Secret/],
        [{ sinkAddresses: '["10.0.0.0"]' }, /each of sinkAddresses must be a block/],
        [{ metricsFile: "/etc/passwd" }, /metricsFile must be a file inside/],
        [{ metricsFile: "../x" }, /metricsFile must be a file inside/],
        [
            { metricsFile: "m" },
            /metricsFile is set, but neither metricsPushgateway \(or pushgateway\) nor metricsPort is/,
        ],
        [
            { metricsFile: "m", pushgateway: "http://localhost:9091" },
            /metricsFile goes to pushgateway, which must be .*; set metricsPushgateway/,
        ],
        [{ metricsPort: "80" }, /metricsPort must be 0 or from 1024 to 65535/],
        [{ metricsPort: "70000" }, /metricsPort must be a whole number/],
        [{ metricsScrapeLimitSeconds: "0" }, /metricsScrapeLimitSeconds must be a whole number from 1 to 3600/],
    ];
    for (const [config, message] of bad) {
        it(`refuses ${JSON.stringify(config)} in one line`, () => {
            assert.throws(
                () => read(config),
                (error: unknown) => {
                    assert.ok(error instanceof UserError);
                    assert.match(error.message, message);
                    assert.doesNotMatch(error.message, /\n|hunter2/);
                    return true;
                },
            );
        });
    }
});

describe("a pattern of log files", () => {
    const paths = [
        "./build.log",
        "./build/a.log",
        "./build/x/y/b.log",
        "./build/blog",
        "./build/a.log.old",
        "./other/build/c.log",
        "./t^$+(x)|.log",
        "./ünïcode dir/d.log",
        "./test1.txt",
        "./test12.txt",
    ];
    const matched = (pattern: string) => {
        try {
            const input = `${paths.join("\n")}\n`;
            const found = execFileSync("grep", ["-E", "-e", expressionOf(pattern)], {
                input,
                env: { ...process.env, LC_ALL: "C" },
            });
            return found.toString().trimEnd().split("\n");
        } catch {
            return [];
        }
    };
    for (const [pattern, expected] of [
        ["build/**/*.log", ["./build/a.log", "./build/x/y/b.log"]],
        ["build/*.log", ["./build/a.log"]],
        ["*.log", ["./build.log", "./t^$+(x)|.log"]],
        ["**/*.log", paths.filter((path) => path.endsWith(".log"))],
        ["build/**", ["./build/a.log", "./build/x/y/b.log", "./build/blog", "./build/a.log.old"]],
        ["t^$+(x)|.log", ["./t^$+(x)|.log"]],
        ["ünïcode dir/*", ["./ünïcode dir/d.log"]],
        ["test?.txt", ["./test1.txt"]],
        ["build.log", ["./build.log"]],
    ] as const) {
        it(`is taken by grep for what it says: ${pattern}`, () => {
            assert.deepEqual(matched(pattern), expected);
        });
    }
});

describe("the program, where there is somebody to tell", () => {
    let run: ProgramRun;
    let repository: TemporaryRepository;
    const home = new TemporaryDirectory();

    before(async function () {
        this.timeout(60_000);
        repository = new TemporaryRepository();
        buildableRepository(repository);
        run = await runProgram({
            config: { ...own, ...everything, exporterImage: `localhost:5001/ke-1-exporter@${testDigest}` },
            environment: { SOURCE: repository.path, BUILD_TAG: "", KE1_HOME: home.path },
        });
    });
    after(() => {
        repository.remove();
        home.remove();
    });

    const template = () => run.one("kubernetes:batch/v1:Job").spec.template;
    const container = (name: string) => template().spec.containers.find((found: any) => found.name === name);
    const environment = (name: string) =>
        Object.fromEntries(container(name).env.map((entry: any) => [entry.name, entry.value])) as Record<
            string,
            string
        >;

    it("tells the build where to leave what, and nothing of who is told", () => {
        const build = environment("build");
        assert.equal(build["KE1_LOG_DIR"], "/ke1/shared/logs");
        assert.equal(build["KE1_ARTIFACTS"], "/ke1/shared/exports");
        assert.equal(build["KE1_METRICS_FILE"], "/ke1/shared/metrics.prom");
        assert.equal(build["KE1_METRICS_PATH"], "out/metrics.prom");
        assert.equal(build["KE1_LOG_FILES"], "^\\./build/(.*/)?[^/]*[.]log$\n^\\./test[^/][.]txt$");
        assert.doesNotMatch(JSON.stringify(container("build")), /3100|search|push\.example|sinks|log-receivers/);
    });

    it("gives the exporter, and it alone, the addresses and the Secret", () => {
        const exporter = environment("exporter");
        assert.equal(exporter["KE1_LOKI_URL"], "http://10.77.0.1:3100");
        assert.equal(exporter["KE1_LOKI_TENANT"], "kerbodyne");
        assert.equal(exporter["KE1_ELASTICSEARCH_URL"], "http://logs.search.svc:9200");
        assert.equal(exporter["KE1_ELASTICSEARCH_INDEX"], "logs-ke1");
        assert.equal(exporter["KE1_METRICS_PUSHGATEWAY"], "https://push.example.com/base");
        assert.equal(exporter["KE1_METRICS_PORT"], "9102");
        assert.equal(exporter["KE1_METRICS_SCRAPE_LIMIT"], "90s");
        assert.equal(exporter["KE1_SINK_DIR"], "/ke1/sinks");
        const volume = template().spec.volumes.find((found: any) => found.name === "sinks");
        assert.deepEqual(volume.secret, { secretName: "log-receivers", defaultMode: 0o440 });
        const mount = container("exporter").volumeMounts.find((found: any) => found.name === "sinks");
        assert.deepEqual(mount, { name: "sinks", mountPath: "/ke1/sinks", readOnly: true });
    });

    it("lets pods reach the receivers and nothing more, and Prometheus reach the metrics", () => {
        const policy = (name: string) => run.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", name);
        const sinks = policy("builds-sinks");
        assert.equal(sinks.metadata.name, "allow-sinks");
        const [loki, elasticsearch, gateway, dns, ...more] = sinks.spec.egress;
        assert.deepEqual(loki, {
            to: [{ ipBlock: { cidr: "10.77.0.1/32" } }],
            ports: [{ protocol: "TCP", port: 3100 }],
        });
        assert.deepEqual(elasticsearch, {
            to: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "search" } } }],
            ports: [{ protocol: "TCP", port: 9200 }],
        });
        assert.deepEqual(gateway.ports, [{ protocol: "TCP", port: 443 }]);
        assert.deepEqual(gateway.to[1], { ipBlock: { cidr: "10.9.0.0/16" } });
        assert.equal(dns.ports[0].port, 53);
        assert.deepEqual(more, []);
        assert.deepEqual(policy("builds-scrape").spec, {
            podSelector: { matchLabels: { "app.kubernetes.io/component": "build" } },
            policyTypes: ["Ingress"],
            ingress: [{ from: [{ namespaceSelector: {} }], ports: [{ protocol: "TCP", port: 9102 }] }],
        });
        assert.equal(template().metadata.annotations["prometheus.io/port"], "9102");
        // Two of the receivers have names.
        assert.equal(template().spec.dnsPolicy, "ClusterFirst");
        // The way to the store is as it was.
        assert.equal(policy("builds-export").spec.egress.length, 1);
    });
});
