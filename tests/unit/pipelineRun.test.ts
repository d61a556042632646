import * as assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";

import type { PipelinePlan, PipelineResult } from "../../contract/pipeline";
import { Multiplexer } from "../../launcher/pipeline/multiplexer";
import { resultTable } from "../../launcher/pipeline/table";
import type { ProgramRun } from "../helpers/program";
import { buildableRepository, runProgram, testDigest } from "../helpers/program";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

const definition = `
variables: { WHO: world }
stages:
  - name: make
    cancelSiblings: true
    steps:
      - { name: tool, command: [make, tool], artifacts: out, env: { WHO: "\${WHO} \${BUILD_TAG}" } }
      - { name: lint, command: make lint, continueOnFailure: true, timeout: 90s }
      - { name: never, command: "false", onlyIf: { WHO: nobody } }
  - name: use
    timeout: 5m
    steps:
      - { name: consumer, command: run, inputs: [tool], when: always }
`;

describe("the program with a pipeline", () => {
    let run: ProgramRun;
    let tag: string;
    const repository = new TemporaryRepository();
    const home = new TemporaryDirectory();
    const file = home.file("pipeline.yaml", definition);
    const runIt = async (config: Record<string, string> = {}) =>
        runProgram({
            config: {
                kubeContext: "kind-kind",
                registry: "localhost:5001",
                blobEndpoint: "http://10.77.0.1:10000/ke1dev",
                exporterImage: `localhost:5001/ke-1-exporter@${testDigest}`,
                pipeline: file,
                ...config,
            },
            environment: { SOURCE: repository.path, BUILD_TAG: "", KE1_HOME: home.path },
        });

    before(async function () {
        this.timeout(60_000);
        tag = buildableRepository(repository);
        run = await runIt({ memoryRetryLimit: "4Gi" });
    });
    after(() => {
        repository.remove();
        home.remove();
    });

    const job = (step: string, memory = "") => run.one("kubernetes:batch/v1:Job", `${tag}-${step}-job${memory}`);
    const container = (step: string, name: string) =>
        job(step).spec.template.spec.containers.find((found: any) => found.name === name);
    const env = (step: string, name: string) =>
        Object.fromEntries(container(step, name).env.map((entry: any) => [entry.name, entry.value]));

    it("declares a suspended Job for each step that may run, with the BUILD_TAG and the step on it", () => {
        const jobs = run.all("kubernetes:batch/v1:Job");
        assert.deepEqual(jobs.map(({ name }) => name.slice(tag.length + 1)).sort(), [
            "consumer-job",
            "consumer-job-4Gi",
            "lint-job",
            "lint-job-4Gi",
            "tool-job",
            "tool-job-4Gi",
        ]);
        for (const { inputs, options } of jobs) {
            assert.equal(inputs["spec"].suspend, true);
            assert.equal(options.parent, `ke1:components:Pipeline::${tag}`);
            assert.equal(inputs["metadata"].labels["ke1.dev/build-tag"], tag);
        }
        assert.equal(job("lint").metadata.labels["ke1.dev/step"], "lint");
        assert.match(job("lint").metadata.name, new RegExp(`^ke-1-build-${tag}-lint-[0-9a-f]{8}$`));
        assert.equal(job("lint").spec.activeDeadlineSeconds, 90);
        assert.equal(run.all("docker:index/image:Image").length, 1, "one image for all");
    });

    it("tells the exporter of the step, and gives the build its inputs to read", () => {
        const exporter = env("consumer", "exporter");
        assert.equal(exporter["KE1_STEP"], "consumer");
        assert.equal(exporter["KE1_STEP_INPUTS"], '["tool"]');
        assert.match(exporter["KE1_STEP_RECIPE"], /^sha256:[0-9a-f]{64}$/);
        const mount = (name: string) =>
            container("consumer", name).volumeMounts.find((each: any) => each.name === "inputs");
        assert.deepEqual(mount("build"), { name: "inputs", mountPath: "/ke1/inputs", readOnly: true });
        assert.deepEqual(mount("exporter"), { name: "inputs", mountPath: "/ke1/inputs" });
        assert.equal(
            container("tool", "build").volumeMounts.some((each: any) => each.name === "inputs"),
            false,
        );
        assert.equal(env("tool", "build")["WHO"], `world ${tag}`);
        assert.equal(env("tool", "build")["KE1_ARTIFACT_DIR"], "out");
        const artifactDir = container("lint", "build").env.filter((each: any) => each.name === "KE1_ARTIFACT_DIR");
        assert.deepEqual(artifactDir, [{ name: "KE1_ARTIFACT_DIR" }], "set, and empty: no artifacts");
        assert.deepEqual(container("tool", "build").args, ["make", "tool"]);
    });

    it("tells the launcher all of it in one command", () => {
        const { environment, create } = run.one("command:local:Command", `${tag}-await`);
        assert.equal(create, "bin/ke1 await-pipeline");
        const { stages } = JSON.parse(environment.KE1_PIPELINE) as PipelinePlan;
        assert.deepEqual(
            stages.map(({ name, cancelSiblings, timeoutSeconds }) => [name, cancelSiblings, timeoutSeconds]),
            [
                ["make", true, undefined],
                ["use", false, 300],
            ],
        );
        const [tool, lint, never] = stages[0]?.steps ?? [];
        assert.deepEqual(tool?.memory, ["2Gi", "4Gi"]);
        assert.equal(tool.jobs.length, 2);
        assert.equal(lint?.continueOnFailure, true);
        assert.deepEqual(never?.jobs, []);
        assert.match(never.excluded ?? "", /WHO is `world`/);
        assert.equal(stages[1]?.steps[0]?.when, "always");
        assert.equal(environment.KE1_JOB_UIDS !== undefined, true);
    });

    it("refuses several tags, and a definition that is wrong, in one line", async () => {
        repository.git("tag", "v1");
        repository.commit();
        repository.git("tag", "v2");
        await assert.rejects(runIt({ buildTags: '["v1","v2"]' }), /a pipeline is run for one BUILD_TAG/);
        await assert.rejects(
            runIt({ pipelineVariables: '{"NOPE":"x"}' }),
            /NOPE, which is given a value, is no variable/,
        );
        const long = home.file(
            "long.yaml",
            `stages: [{ name: a, steps: [{ name: b, command: "${"x".repeat(99_000)}" }] }]`,
        );
        await assert.rejects(runIt({ pipeline: long }), /at most 98304 may be: put long scripts into the source/);
        await assert.rejects(runIt({ pipeline: "none.yaml" }), /the pipeline \S*none.yaml cannot be read/);
    });
});

describe("a pipeline's log", () => {
    const logOf = (color: boolean, limit = 4000) => {
        const lines: string[] = [];
        const log = new Multiplexer({
            write: (text) => lines.push(text),
            color,
            sources: ["a/one", "a/second"],
            limit,
            more: (source) => `ke1 logs t/${source.split("/")[1] ?? ""}`,
        });
        return { log, lines };
    };

    it("has its source before each line", () => {
        const { log, lines } = logOf(false);
        log.line("a/one", "hello");
        log.line("a/second", "");
        log.note("a/one", "Succeeded");
        assert.deepEqual(lines, ["a/one    | hello\n", "a/second |\n", "a/one    | Succeeded\n"]);
    });

    it("has a colour for each source, always the same", () => {
        const { log, lines } = logOf(true);
        log.line("a/one", "x");
        log.line("a/second", "x");
        log.line("a/one", "y");
        const colours = lines.map((line) => /^\u001b\[\d+m/.exec(line)?.[0]);
        assert.ok(colours[0]);
        assert.equal(colours[0], colours[2]);
        assert.notEqual(colours[0], colours[1]);
        assert.equal(stripVTControlCharacters(lines[0] ?? ""), "a/one    | x\n");
    });

    it("lets a loud source take nothing of a quiet one's share, and shows the end of what failed", () => {
        const { log, lines } = logOf(false);
        for (let number = 0; number < 1000; number++) {
            log.line("a/one", `line ${number}`);
        }
        log.line("a/second", "still heard");
        log.end("a/one", true);
        log.end("a/second", false);
        const text = lines.join("");
        assert.match(text, /a\/second \| still heard/);
        assert.match(text, /\(the log goes on: ke1 logs t\/one --follow\)/);
        assert.match(text, /lines not shown: ke1 logs t\/one\)\n(a\/one +\| line 9\d\d\n){25}$/);
        assert.ok(text.length < 4000);
    });
});

describe("a pipeline's table", () => {
    it("has every stage and step, with outcome and duration", () => {
        const result: PipelineResult = {
            schemaVersion: 1,
            buildTag: "t",
            success: false,
            startedAt: "",
            finishedAt: "",
            seconds: 12.34,
            errors: [],
            stages: [
                {
                    name: "check",
                    success: false,
                    seconds: 12,
                    steps: [
                        { name: "lint", outcome: "BuildFailed", success: false, seconds: 3, tolerated: true },
                        { name: "unit-tests", outcome: "OutOfMemory", success: false, seconds: 11.96 },
                    ],
                },
                {
                    name: "use",
                    success: true,
                    seconds: 0,
                    steps: [{ name: "x", outcome: "Skipped", success: true, seconds: 0, message: "unit-tests failed" }],
                },
            ],
        };
        assert.deepEqual(resultTable(result), [
            "STAGE / STEP  OUTCOME      SECONDS",
            "check         failed          12.0",
            "  lint        BuildFailed      3.0  (continueOnFailure)",
            "  unit-tests  OutOfMemory     12.0",
            "use           skipped            -",
            "  x           Skipped            -  unit-tests failed",
            "pipeline      failed          12.3",
        ]);
    });
});
