import * as assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import type { AttemptFinished, Manifest } from "../../contract/manifest";
import { BuildableRepository } from "../helpers/buildable";
import { Elasticsearch } from "../helpers/elasticsearch";
import { kubectl, platform, TemporaryStack } from "../helpers/ke1";
import { BulkReceiver } from "../helpers/logReceiver";
import type { LokiStream } from "../helpers/loki";
import { Loki } from "../helpers/loki";
import { api } from "../helpers/prepared";
import { Pushgateway } from "../helpers/pushgateway";

const tenant = "kerbodyne";
/** What a build that hands over all it can does; `make` passes each line to a shell of its own. */
const recipe = [
    "mkdir -p bin build/unit",
    "printf 'first line\\nsecond \\377 <&>\\n'; seq 1000",
    "echo unit tests passed > build/unit/test.log; echo not a log > build/unit/other.txt",
    'echo begun > "$KE1_LOG_DIR/trace"; sleep 3; echo done >> "$KE1_LOG_DIR/trace"',
    'echo report > "$KE1_ARTIFACTS/report.txt"; echo hello > bin/greeting',
    "printf '# TYPE tests_passed gauge\\ntests_passed{suite=\"unit\"} 12\\n' > build/metrics.prom",
];

/** What a build hands over besides its output and its artifact directory, through the whole program, on the cluster. */
describe("a build that hands over more", () => {
    const address = new URL(platform().blobEndpoint).hostname;
    const repository = new BuildableRepository(recipe);
    const stacks: TemporaryStack[] = [];
    let buildTag: string;
    let gateway: Pushgateway;
    let loki: Loki | undefined;
    let elasticsearch: Elasticsearch | undefined;
    const bulk = new BulkReceiver("logs-ke1", `Basic ${Buffer.from("ke1:s3cret").toString("base64")}`);
    let bulkUrl: string;

    before(async function () {
        this.timeout(600_000);
        buildTag = repository.commit();
        gateway = await Pushgateway.start(address);
        bulkUrl = await bulk.start(address);
        [loki, elasticsearch] = await Promise.all([
            Loki.program === undefined ? undefined : Loki.start(address),
            Elasticsearch.program === undefined ? undefined : Elasticsearch.start(address),
        ]);
    });
    after(async () => {
        await Promise.all(stacks.map(async (stack) => stack.remove()));
        await loki?.stop();
        await elasticsearch?.stop();
        await bulk.stop();
        await gateway.stop();
        repository.remove();
    });

    /** A stack whose namespace is there already, with the receivers' credentials in it. */
    async function stackWith(config: Record<string, unknown>) {
        const stack = new TemporaryStack("exports", { source: repository.path, createNamespace: false, ...config });
        stacks.push(stack);
        const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
        const { core } = api();
        await core.createNamespace({ body: { metadata: { name: stack.namespace, labels } } });
        await core.createNamespacedSecret({
            namespace: stack.namespace,
            body: {
                metadata: { name: "receivers" },
                stringData: { "elasticsearch.username": "ke1", "elasticsearch.password": "s3cret" },
            },
        });
        return stack;
    }

    let stack: TemporaryStack;
    let finished: AttemptFinished;

    it("has log files, artifacts and metrics in their places, and says so", async () => {
        stack = await stackWith({
            logFiles: ["build/**/*.log"],
            elasticsearchUrl: bulkUrl,
            elasticsearchIndex: "logs-ke1",
            sinkSecret: "receivers",
            metricsFile: "build/metrics.prom",
            metricsPushgateway: gateway.url,
            ...(loki ? { lokiUrl: loki.url, lokiTenant: tenant } : {}),
        });
        const up = await stack.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        finished = JSON.parse((await stack.blob(`${buildTag}/attempts/1/finished.json`)).toString()) as AttemptFinished;
        const manifest = JSON.parse((await stack.blob(`${buildTag}/manifest.json`)).toString()) as Manifest;
        assert.deepEqual(manifest.artifacts.map(({ name }) => name).sort(), ["greeting", "report.txt"]);
        assert.deepEqual(
            finished.logFiles?.map(({ name }) => name),
            ["build/unit/test.log", "trace"],
        );
        assert.deepEqual(manifest.logFiles, finished.logFiles);
        assert.equal(finished.metrics, "pushed");
        const verified = await stack.ke1(["verify"]);
        assert.equal(verified.code, 0, verified.stdout);

        const list = await stack.ke1(["logs", "--list"]);
        assert.match(list.stdout, /^ +\d+ {2}output\n +18 {2}build\/unit\/test\.log\n +11 {2}trace\n$/);
        assert.equal((await stack.ke1(["logs", "--file", "trace"])).stdout, "begun\ndone\n");
        const other = await stack.ke1(["logs", "--file", "build/unit/other.txt"]);
        assert.equal(other.code, 2);
        assert.match(other.stderr, /^error: \S+ has no log build\/unit\/other.txt; `ke1 logs \S+ --list` shows/m);
    });

    it("is told to Elasticsearch line by line, and only what it did not take is told again", async () => {
        assert.deepEqual(bulk.complaints, []);
        const documents = [...bulk.documents.values()];
        const output = documents.filter(({ source }) => source === "output").sort((a, b) => a.line - b.line);
        const log = (await stack.ke1(["logs"])).stdout.trimEnd().split("\n");
        assert.deepEqual(
            output.map(({ message }) => message),
            log,
        );
        assert.deepEqual(
            documents.filter(({ source }) => source === "build/unit/test.log").map(({ message }) => message),
            ["unit tests passed"],
        );
        const [first] = output;
        assert.equal(first?.build_tag, buildTag);
        assert.equal(first.namespace, stack.namespace);
        assert.match(first.job, new RegExp(`^ke-1-build-${buildTag}-`));
        const delivery = finished.deliveries?.find(({ receiver }) => receiver === "Elasticsearch");
        assert.deepEqual(delivery, { receiver: "Elasticsearch", lines: documents.length, dropped: 0 });
        assert.equal(documents.length, log.length + 3);
    });

    it("is told to Loki itself, in order", async function () {
        if (!loki) {
            this.skip();
        }
        let streams: readonly LokiStream[] = [];
        for (let tries = 0; tries < 50 && streams.length < 3; tries++) {
            streams = await loki.query(tenant, `{build_tag="${buildTag}"}`);
            await sleep(100);
        }
        const of = (source: string) => streams.find(({ stream: labels }) => labels["source"] === source);
        const log = (await stack.ke1(["logs"])).stdout.trimEnd().split("\n");
        assert.deepEqual(
            of("output")?.values.map(([, line]) => line),
            log,
        );
        assert.deepEqual(
            of("trace")?.values.map(([, line]) => line),
            ["begun", "done"],
        );
        const { namespace, attempt, job } = of("output")?.stream ?? {};
        assert.deepEqual([namespace, attempt], [stack.namespace, "1"]);
        assert.match(job ?? "", new RegExp(`^ke-1-build-${buildTag}-`));
        assert.deepEqual(await loki.query("others", `{build_tag="${buildTag}"}`), []);
    });

    it("has its metrics in the Pushgateway, in one group for the namespace", async () => {
        const scraped = await gateway.scrape();
        const [passed] = scraped.get("tests_passed") ?? [];
        assert.equal(passed?.value, 12);
        const labels = { instance: "", job: "ke1_build_metrics", namespace: stack.namespace, suite: "unit" };
        assert.deepEqual(passed.labels, labels);
        assert.equal(scraped.get("ke1_build_metrics_info")?.[0]?.labels["build_tag"], buildTag);
    });

    it("shows nobody a credential", async () => {
        const { items } = await api().core.listNamespacedPod({ namespace: stack.namespace });
        const state = (await stack.ke1(["stack", "export"])).stdout;
        const said = await kubectl("logs", "-n", stack.namespace, items[0]?.metadata?.name ?? "", "-c", "exporter");
        for (const [where, text] of Object.entries({ pod: JSON.stringify(items[0]), state, said })) {
            assert.ok(!text.includes("s3cret"), where);
        }
        const build = items[0]?.spec?.containers.find(({ name }) => name === "build");
        assert.ok(!JSON.stringify(build).includes(bulkUrl), "the build is not told who is told");
        assert.match(said, /Elasticsearch took \d+ lines of the log\n/);
    });

    let served: TemporaryStack;

    it("serves its metrics until they are scraped, when everything else is done", async () => {
        served = await stackWith({
            metricsFile: "build/metrics.prom",
            metricsPort: 9102,
            ...(elasticsearch ? { elasticsearchUrl: elasticsearch.url } : {}),
        });
        const up = await served.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const pod = async () => (await api().core.listNamespacedPod({ namespace: served.namespace })).items[0];
        const running = await pod();
        assert.equal(running?.metadata?.annotations?.["prometheus.io/port"], "9102");
        const url = `http://${running.status?.podIP}:9102/metrics`;
        const answer = await fetch(url);
        const text = await answer.text();
        assert.match(text, /^tests_passed\{suite="unit"\} 12$/m);
        assert.match(text, new RegExp(`^ke1_build_metrics_info\\{.*build_tag="${buildTag}"\\} 1$`, "m"));
        for (let tries = 0; tries < 100 && (await pod())?.status?.phase !== "Succeeded"; tries++) {
            await sleep(100);
        }
        assert.equal((await pod())?.status?.phase, "Succeeded", "it has nothing to wait for any more");
    });

    it("is told to Elasticsearch itself, each line once", async function () {
        if (!elasticsearch) {
            this.skip();
        }
        const log = (await served.ke1(["logs"])).stdout.trimEnd().split("\n");
        const end = JSON.parse(
            (await served.blob(`${buildTag}/attempts/1/finished.json`)).toString(),
        ) as AttemptFinished;
        const documents = await elasticsearch.documents("ke1-builds", "output");
        const trace = await elasticsearch.documents("ke1-builds", "trace");
        // What a machine under load did not say it took in time is counted as dropped; all else is there, once, and in order.
        const [delivery] = end.deliveries ?? [];
        assert.equal((delivery?.lines ?? 0) + (delivery?.dropped ?? 0), log.length + 2);
        if (delivery?.dropped === 0) {
            assert.equal(documents.length + trace.length, log.length + 2);
        }
        assert.deepEqual(
            documents.map(({ message, line }) => [line, message]),
            documents.map(({ line }) => [line, log[line - 1]]),
        );
        assert.equal(new Set(documents.map(({ line }) => line)).size, documents.length);
    });

    it("is built all the same where nobody listens", async () => {
        const nobody = `http://${address}:1`;
        const alone = await stackWith({
            lokiUrl: nobody,
            elasticsearchUrl: nobody,
            metricsFile: "build/metrics.prom",
            metricsPushgateway: nobody,
        });
        const up = await alone.ke1(["up", "--yes"]);
        assert.equal(up.code, 0, up.stderr);
        const end = JSON.parse(
            (await alone.blob(`${buildTag}/attempts/1/finished.json`)).toString(),
        ) as AttemptFinished;
        assert.equal(end.outcome, "Succeeded");
        for (const { receiver, lines, dropped, problem } of end.deliveries ?? []) {
            assert.equal(lines, 0, receiver);
            assert.ok(dropped >= 1000, receiver);
            assert.equal(problem, "connection refused");
        }
        assert.equal(end.metrics, "not pushed: connection refused");
        assert.ok(end.durations.exportSeconds < 15, `${end.durations.exportSeconds} s`);
    });
});
