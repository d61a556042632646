import * as assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as path from "node:path";

import type { Manifest } from "../../contract/manifest";
import type { PipelineResult, StepResult } from "../../contract/pipeline";
import { BuildableRepository } from "../helpers/buildable";
import { kubectl, projectDirectory, TemporaryStack } from "../helpers/ke1";

describe("a pipeline", () => {
    const cleanUp: (() => unknown)[] = [];
    /** A commit with a pipeline, and a stack for it. */
    const prepared = (definition: string) => {
        const repository = new BuildableRepository(["true"]);
        cleanUp.push(() => repository.remove());
        const file = repository.file("pipeline.yaml", definition);
        const tag = repository.commit();
        const stackOf = (config: Record<string, unknown> = {}) => {
            const stack = new TemporaryStack("pipeline", { source: repository.path, ...config });
            cleanUp.push(async () => stack.remove());
            return stack;
        };
        return { file, tag, stack: stackOf(), stackOf };
    };
    const resultOf = async (stack: TemporaryStack, tag: string) =>
        JSON.parse(
            (await stack.blob(`${tag}/pipeline.json`)).toString().trim().split("\n").at(-1) ?? "",
        ) as PipelineResult;
    const stepsOf = (result: PipelineResult) =>
        Object.fromEntries(result.stages.flatMap(({ steps }) => steps.map((step) => [step.name, step] as const)));
    const outcomesOf = (result: PipelineResult) =>
        Object.fromEntries(Object.entries(stepsOf(result)).map(([name, { outcome }]) => [name, outcome]));

    afterEach(async () => {
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });

    it("runs stages in turn, hands artifacts on, and does nothing twice", async () => {
        const { file, tag, stack, stackOf } = prepared(`
variables: { WHO: nobody }
stages:
  - name: make
    steps:
      - name: tool
        command: |
          mkdir -p out/deep
          printf '#!/bin/sh\\necho hello %s\\n' "$1\${WHO}" > out/tool
          chmod +x out/tool
          echo data > out/deep/data
          ln -s deep/data out/link
        artifacts: out
      - name: moment
        command: printf 'first line\\nthe end without a line end'
      - name: not-now
        onlyIf: { WHO: nobody }
        command: exit 1
  - name: use
    steps:
      - name: consumer
        inputs: [tool]
        env: { GREETING: "from \${BUILD_TAG}" }
        command: |
          /ke1/inputs/tool/tool
          cat /ke1/inputs/tool/link
          test ! -x /ke1/inputs/tool/deep/data
          if touch /ke1/inputs/tool/mine; then exit 1; fi
          echo "$GREETING"
`);
        const up = await stack.ke1(["pipeline", "up", file, "--var", "WHO=world"]);
        assert.equal(up.code, 0, up.stderr);
        assert.match(up.stderr, /make\/moment +\| first line$/m);
        assert.match(up.stderr, /make\/moment +\| the end without a line end$/m);
        assert.match(up.stderr, /use\/consumer +\| hello world$/m);
        assert.match(up.stderr, /use\/consumer +\| data$/m);
        assert.match(up.stderr, new RegExp(`use/consumer +\\| from ${tag}$`, "m"));
        assert.match(up.stderr, /^.* {2}consumer +Succeeded +\d+\.\d$/m);

        const output = JSON.parse(
            (await stack.ke1(["stack", "output", "pipeline", "--json"])).stdout,
        ) as PipelineResult;
        assert.deepEqual(output, await resultOf(stack, tag));
        assert.equal(output.success, true);
        assert.deepEqual(outcomesOf(output), {
            tool: "Succeeded",
            moment: "Succeeded",
            "not-now": "Skipped",
            consumer: "Succeeded",
        });
        assert.match(stepsOf(output)["not-now"]?.message ?? "", /WHO is `world`, not nobody/);
        const consumer = JSON.parse((await stack.blob(`${tag}/steps/consumer/manifest.json`)).toString()) as Manifest;
        assert.equal(consumer.buildTag, tag);
        assert.equal(consumer.step, "consumer");
        assert.deepEqual(
            consumer.inputs?.map(({ step }) => step),
            ["tool"],
        );
        assert.deepEqual(consumer.artifacts, []);
        const verified = await stack.ke1(["verify", `${tag}/tool`]);
        assert.equal(verified.code, 0, verified.stderr);
        const events = await kubectl("get", "events", "-n", stack.namespace, "-o", "jsonpath={.items[*].message}");
        assert.match(events, new RegExp(`build ${tag}/tool: `));
        const log = await stack.ke1(["logs", `${tag}/moment`]);
        assert.equal(log.stdout, "first line\nthe end without a line end");

        // Another stack, another namespace: all is there already.
        const before = (await stack.blobs(`${tag}/`)).length;
        const other = stackOf({ blobContainer: stack.container });
        const again = await other.ke1(["pipeline", "up", file, "--var", "WHO=world"]);
        assert.equal(again.code, 0, again.stderr);
        assert.match(again.stderr, /consumer +AlreadyBuilt/);
        assert.equal((await stack.blobs(`${tag}/`)).length, before);

        // Another value makes another build: the tag has its artifacts already.
        const changed = await other.ke1(["pipeline", "up", file, "--var", "WHO=other"]);
        assert.equal(changed.code, 1, changed.stderr);
        assert.match(changed.stderr, /make\/tool: ExportFailed: .*was built from another tree or command before/);

        // What is stored is not what the step has made: its consumer does not get to see it.
        await stack.containerClient().getBlockBlobClient(`${tag}/steps/tool/bin/tool`).upload("#!/bin/sh\n", 10);
        await stack.containerClient().deleteBlob(`${tag}/steps/consumer/manifest.json`);
        const third = stackOf({ blobContainer: stack.container });
        const spoilt = await third.ke1(["pipeline", "up", file, "--var", "WHO=world"]);
        assert.equal(spoilt.code, 1, spoilt.stderr);
        assert.match(spoilt.stderr, /use\/consumer: ExportFailed: input tool: tool is not what the step has made/);
        assert.doesNotMatch(spoilt.stderr, /hello/);
    });

    it("tells all that failed, goes on where it may, and runs what is for that case", async () => {
        const { file, tag, stack } = prepared(`
stages:
  - name: first
    steps:
      - { name: one, command: "echo one is broken; exit 3" }
      - { name: two, command: [sh, -c, "echo two is broken; exit 4"] }
      - { name: may-fail, command: exit 5, continueOnFailure: true }
      - { name: good, command: "true" }
  - name: second
    steps:
      - { name: next, command: "true" }
      - { name: rescue, when: on-failure, command: echo to the rescue }
      - { name: tidy, when: always, command: echo tidied up }
`);
        const up = await stack.ke1(["pipeline", "up", file]);
        assert.equal(up.code, 1, up.stderr);
        assert.match(up.stderr, /2 steps failed|3 steps failed/);
        assert.match(up.stderr, /first\/one: BuildFailed: .*exit code 3/);
        assert.match(up.stderr, /first\/two: BuildFailed: .*exit code 4/);
        assert.match(up.stderr, new RegExp(`more: ke1 logs ${tag}/two`));
        assert.match(up.stderr, /second\/rescue +\| to the rescue/);
        const result = await resultOf(stack, tag);
        assert.equal(result.success, false);
        assert.deepEqual(outcomesOf(result), {
            one: "BuildFailed",
            two: "BuildFailed",
            "may-fail": "BuildFailed",
            good: "Succeeded",
            next: "Skipped",
            rescue: "Succeeded",
            tidy: "Succeeded",
        });
        assert.equal(stepsOf(result)["may-fail"]?.tolerated, true);
        assert.equal(stepsOf(result)["next"]?.message, "one, two failed");
        const one = stepsOf(result)["one"] as StepResult;
        assert.equal(one.exitCode, 3);
        const cancelled = await stack.ke1(["cancel", `${tag}/one`]);
        assert.equal(cancelled.code, 2);
    });

    it("ends a step, a stage and the siblings of a failure in time, with their logs to the end", async () => {
        const slow = `trap 'echo told to end; exit 0' TERM; echo begun; sleep 100 & wait`;
        const { file, tag, stack } = prepared(`
stages:
  - name: steps
    steps:
      - { name: late, timeout: 4s, continueOnFailure: true, command: "${slow}" }
  - name: stage
    timeout: 12s
    steps:
      - { name: also-late, command: "${slow}" }
      - { name: in-time, command: "true" }
  - name: siblings
    cancelSiblings: true
    steps:
      - { name: culprit, when: always, command: "sleep 6; exit 1" }
      - { name: victim, when: always, command: "${slow}" }
`);
        const up = await stack.ke1(["pipeline", "up", file]);
        assert.equal(up.code, 1, up.stderr);
        const result = await resultOf(stack, tag);
        assert.deepEqual(outcomesOf(result), {
            late: "DeadlineExceeded",
            "also-late": "DeadlineExceeded",
            "in-time": "Succeeded",
            culprit: "BuildFailed",
            victim: "Cancelled",
        });
        assert.match(stepsOf(result)["also-late"]?.message ?? "", /the stage's timeout of 12 s/);
        assert.match(stepsOf(result)["victim"]?.message ?? "", /as culprit failed/);
        for (const step of ["also-late", "victim"]) {
            assert.match(up.stderr, new RegExp(`${step} +\\| told to end`), step);
        }
        assert.ok((stepsOf(result)["victim"]?.seconds ?? 100) < 60);
        await withoutPods(stack);
    });

    it("leaves nothing running when it is interrupted", async () => {
        const { file, tag, stack } = prepared(`
stages:
  - name: first
    steps:
      - { name: quick, command: "true" }
      - { name: endless, command: "echo begun; sleep 1000" }
  - name: second
    steps:
      - { name: never, when: always, command: "true" }
`);
        const child = spawn(
            path.join(projectDirectory, "bin", "ke1"),
            ["pipeline", "up", file, "--stack", stack.name],
            {
                cwd: projectDirectory,
                env: { ...process.env, ...stack.environment },
                stdio: ["ignore", "ignore", "pipe"],
            },
        );
        let stderr = "";
        const begun = new Promise<void>((resolve) => {
            child.stderr.setEncoding("utf8").on("data", (text: string) => {
                stderr += text;
                if (/endless +\| begun/.test(stderr) && /quick +\| Succeeded/.test(stderr)) {
                    resolve();
                }
            });
        });
        const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
        await Promise.race([begun, ended]);
        child.kill("SIGINT");
        assert.equal(await ended, 130, stderr);
        assert.match(stderr, /endless +Cancelled/);
        assert.match(stderr, /never +Skipped .* interrupted/);
        await withoutPods(stack);
        const result = await resultOf(stack, tag);
        assert.deepEqual(outcomesOf(result), { quick: "Succeeded", endless: "Cancelled", never: "Skipped" });
        assert.equal(result.success, false);
    });

    /** No build runs any more. */
    async function withoutPods(stack: TemporaryStack): Promise<void> {
        for (let look = 0; look < 60; look++) {
            const pods = await kubectl("get", "pods", "-n", stack.namespace, "-o", "jsonpath={.items[*].status.phase}");
            if (!/Running|Pending/.test(pods)) {
                return;
            }
            await new Promise((resolve) => setTimeout(resolve, 500));
        }
        assert.fail("there is still a build that runs");
    }
});
