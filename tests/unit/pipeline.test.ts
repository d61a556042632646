import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { Ajv } from "ajv";
import { parse, stringify } from "yaml";

import { PipelineError } from "../../pipeline/definition";
import { durationOf, secondsOf } from "../../pipeline/duration";
import { planSteps } from "../../pipeline/plan";
import { exampleBuild, pipelineContent, readPipeline, readPipelineFile } from "../../pipeline/read";
import type { Recipe } from "../../pipeline/recipe";
import { recipeOf } from "../../pipeline/recipe";
import { TemporaryDirectory } from "../helpers/temporary";

const root = path.join(__dirname, "../..");
const schema = JSON.parse(fs.readFileSync(path.join(root, "pipeline/pipeline.schema.json"), "utf8")) as {
    definitions: Record<string, { properties: Record<string, { properties?: object }> }>;
    properties: object;
};
const digest = `registry/image@sha256:${"a".repeat(64)}`;

function read(content: string, given: Record<string, string> = {}) {
    return readPipeline("p.yaml", content, { builtIn: exampleBuild, given });
}

/** All that is said of a definition that is not as it must be. */
function problemsOf(content: string, given: Record<string, string> = {}): readonly string[] {
    try {
        read(content, given);
    } catch (error) {
        assert.ok(error instanceof PipelineError, String(error));
        return error.problems;
    }
    return [];
}

/** A pipeline of one step with these lines. */
function step(...lines: readonly string[]): string {
    const body = ["name: one", "command: make", ...lines].map((line) => `        ${line}\n`).join("");
    return `stages:\n  - name: first\n    steps:\n      -\n${body}`;
}

describe("a pipeline's definition", () => {
    it("is read with its defaults", () => {
        const { stages } = read(step());
        assert.deepEqual(JSON.parse(JSON.stringify(stages)), [
            {
                name: "first",
                cancelSiblings: false,
                steps: [
                    {
                        name: "one",
                        command: ["/bin/sh", "-ec", "make"],
                        env: {},
                        resources: {},
                        artifacts: "",
                        inputs: [],
                        needs: [],
                        when: "on-success",
                        continueOnFailure: false,
                    },
                ],
            },
        ]);
    });

    const cases: readonly (readonly [string, string, RegExp])[] = [
        ["broken YAML", "stages: [", /^p\.yaml:1:10: /],
        ["a key that is there twice", "stages: []\nstages: []", /^p\.yaml:2:1: Map keys must be unique/],
        ["an empty file", "", /^p\.yaml:1:1: a pipeline needs `stages`/],
        ["an unknown key", step("comand: x"), /^p\.yaml:7:9: a step has no key `comand`; it may have: name, command/],
        ["a step without a command", "stages: [{name: a, steps: [{name: b}]}]", /a step needs `command`/],
        [
            "a name that cannot be",
            "stages: [{name: A b, steps: [{name: b, command: x}]}]",
            /:17: `name` cannot be `A b`/,
        ],
        ["a wrong type", step("timeout: [1]"), /`timeout` must be a text or a whole number/],
        ["a duration that is none", step("timeout: 5 minutes"), /`timeout` cannot be `5 minutes`: Such as 90s/],
        ["a duration of more than a day", step("timeout: 25h"), /must be from 1s to 24h; it is 25h/],
        ["an unknown case", step("when: sometimes"), /`when` must be on-success, on-failure, always/],
        ["an unknown variable", step("env: { A: '${NOPE}' }"), /no variable NOPE; there are: BUILD_TAG, SOURCE_COMMIT/],
        ["a shell's own syntax", step("env: { A: '${X:-1}' }"), /`\$\{X:-1\}` is no variable; write `\$\$\{X:-1\}`/],
        ["a brace without end", step("env: { A: '${X' }"), /`\$\{X` is no variable/],
        ["an environment of ke1's own", step("env: { KE1_DIR: x }"), /^p\.yaml:7:16: KE1_DIR is set by ke1/],
        ["an image by tag", step("image: debian:12"), /`image` must be an image by digest/],
        ["artifacts outside", step("artifacts: ../x"), /`artifacts` must be a path inside/],
        ["a quantity that is none", step("resources: { cpu: much }"), /`cpu` must be a quantity such as/],
        ["an unknown input", step("inputs: [two]"), /input two is no step of this pipeline/],
        ["the step itself as input", step("inputs: [one]"), /input one is the step itself/],
        ["a condition on nothing", step("onlyIf: { X: 1 }"), /there is no variable X; there are/],
        [
            "a variable of ke1's own",
            `variables: { BUILD_TAG: x }\n${step()}`,
            /BUILD_TAG is ke1's own and cannot be set/,
        ],
        ["a cycle", `variables: { A: '\${B}', B: '\${A}' }\n${step()}`, /A is made of itself: A -> B -> A/],
    ];
    for (const [what, content, expected] of cases) {
        it(`says what is wrong, and where: ${what}`, () => {
            const problems = problemsOf(content);
            assert.match(problems[0] ?? "", expected);
            problems.forEach((problem) => assert.match(problem, /^p\.yaml:\d+:\d+: [^\n]+$/));
        });
    }

    it("says what is wrong with inputs of the same or a later stage, and with names that are there twice", () => {
        const problems = problemsOf(`
stages:
  - name: a
    steps:
      - { name: one, command: x, artifacts: bin, inputs: [two, three] }
      - { name: two, command: x, artifacts: bin }
      - { name: two, command: x }
  - name: a
    steps:
      - { name: three, command: x, inputs: [four, one, one] }
  - name: b
    steps:
      - { name: four, command: x, inputs: [three] }
`);
        assert.deepEqual(problems, [
            "p.yaml:5:59: input two is a step of the same stage, and runs beside this one; move one of them to another stage",
            "p.yaml:5:64: input three is a step of a later stage; move it to one before this",
            "p.yaml:7:17: there is another step two; each needs a name of its own",
            "p.yaml:8:11: there is another stage a; each needs a name of its own",
            "p.yaml:10:45: input four is a step of a later stage; move it to one before this",
            "p.yaml:10:56: input one is named twice",
            "p.yaml:13:44: input three is a step that has no `artifacts`; add them there",
        ]);
    });

    it("puts variables in, those given before its own, and leaves the shell what is the shell's", () => {
        const { stages, variables } = read(
            `variables: { A: one, B: "\${A} and \${BUILD_TAG}", N: 3 }
stages:
  - name: s
    steps:
      - name: x
        command: echo \${B} \${N} $HOME $\${HOME} $$
        env: { E: "\${A}" }
        onlyIf: { A: [two, three], N: 3 }
      - { name: y, command: ["\${A}"], onlyIf: { A: one } }
`,
            { A: "two" },
        );
        const [first, second] = stages[0]?.steps ?? [];
        assert.ok(first && second);
        assert.deepEqual(first.command.at(-1), "echo two and 0000000 3 $HOME ${HOME} $$");
        assert.equal(first.env["E"], "two");
        assert.equal(first.excluded, undefined);
        assert.equal(second.excluded, "A is `two`, not one");
        assert.deepEqual(second.command, ["two"]);
        assert.equal(variables["B"], "two and 0000000");
        assert.match(
            problemsOf(step(), { C: "x" })[0] ?? "",
            /C, which is given a value, is no variable of the pipeline; there are: BUILD_TAG/,
        );
    });

    it("does not know more keys than its schema, and reads each of them", () => {
        const samples: Record<string, unknown> = {
            command: ["other"],
            env: { A: "b" },
            image: digest,
            environment: "tools",
            resources: { cpu: "1", memory: "1Gi", memoryLimit: "2Gi", disk: "3Gi" },
            artifacts: "bin",
            inputs: ["before"],
            needs: ["broker"],
            when: "always",
            onlyIf: { V: "x" },
            continueOnFailure: true,
            timeout: "1m",
        };
        const definitionOf = (more: object, ofStage: object = {}) => ({
            variables: { V: "v" },
            stages: [
                { name: "a", steps: [{ name: "before", command: "x", artifacts: "bin" }] },
                { name: "b", ...ofStage, steps: [{ name: "one", command: "x", ...more }] },
            ],
        });
        const plain = JSON.stringify(read(stringify(definitionOf({}))));
        const properties = schema.definitions["step"]?.properties ?? {};
        assert.deepEqual([...Object.keys(samples), "name"].sort(), Object.keys(properties).sort());
        for (const [key, value] of Object.entries(samples)) {
            assert.notEqual(JSON.stringify(read(stringify(definitionOf({ [key]: value })))), plain, key);
        }
        const resources = read(stringify(definitionOf({ resources: samples["resources"] }))).stages[1]?.steps[0]
            ?.resources;
        assert.deepEqual(
            Object.keys(resources ?? {}).sort(),
            Object.keys(properties["resources"]?.properties ?? {}).sort(),
        );
        for (const ofStage of [{ timeout: 5 }, { cancelSiblings: true }, { needs: ["broker"] }]) {
            assert.notEqual(JSON.stringify(read(stringify(definitionOf({}, ofStage)))), plain, JSON.stringify(ofStage));
        }
        assert.deepEqual(Object.keys(schema.definitions["stage"]?.properties ?? {}).sort(), [
            "cancelSiblings",
            "name",
            "needs",
            "steps",
            "timeout",
        ]);
    });

    it("of each example is what the schema and the reader take", () => {
        const validate = new Ajv({ allowUnionTypes: true }).compile(schema);
        for (const example of ["ke-1", "debian"]) {
            const file = path.join(root, "example", example, "pipeline.yaml");
            const content = fs.readFileSync(file, "utf8");
            assert.ok(validate(parse(content)), JSON.stringify(validate.errors));
            assert.deepEqual(problemsOf(content), [], example);
            const [, relative = ""] = /yaml-language-server: \$schema=(\S+)/.exec(content) ?? [];
            assert.ok(fs.existsSync(path.resolve(path.dirname(file), relative)), relative);
        }
    });

    it("is read from a regular file of a sensible size, and from nowhere else where a stranger names it", () => {
        const home = new TemporaryDirectory();
        try {
            const inside = home.file("project/p.yaml", step(""));
            const project = path.dirname(inside);
            assert.equal(pipelineContent(inside, "p.yaml", project), step(""));
            const outside = home.file("p.yaml", step(""));
            const link = path.join(project, "link.yaml");
            fs.symlinkSync(outside, link);
            for (const file of [outside, link, `${project}/../p.yaml`]) {
                assert.equal(pipelineContent(file, "p.yaml"), step(""));
                assert.throws(() => pipelineContent(file, "p.yaml", project), {
                    name: "UserError",
                    message: "the pipeline p.yaml cannot be read: it is outside of the project",
                });
            }
            const readFile = (file: string) => readPipelineFile(file, { builtIn: exampleBuild, given: {} });
            assert.throws(() => readFile("/dev/null"), /cannot be read: it is no regular file$/);
            const large = home.file("large.yaml", `${step("")}\n#${"x".repeat(1024 ** 2)}`);
            assert.throws(() => readFile(large), /it has \d+ bytes; at most 1048576 may be$/);
        } finally {
            home.remove();
        }
    });

    it("reads and writes durations", () => {
        for (const [text, seconds] of [
            ["90s", 90],
            ["10m", 600],
            ["1h30m", 5400],
            ["2h5s", 7205],
        ] as const) {
            assert.equal(secondsOf(text), seconds);
        }
        assert.deepEqual([90, 600, 5400, 86_400].map(durationOf), ["1m30s", "10m", "1h30m", "24h"]);
    });
});

describe("a pipeline's steps", () => {
    const defaults = {
        deadlineSeconds: 600,
        cpuRequest: "100m",
        memoryRequest: "1Gi",
        memoryLimit: "2Gi",
        memoryRetryLimit: "4Gi",
        diskLimit: "10Gi",
    };
    const plan = (content: string) =>
        planSteps(read(content), defaults, (name) => ({ env: { FROM: name }, image: digest }));

    it("have what the stack has, and their own instead", () => {
        const own = plan(step("resources: { cpu: 2, memoryLimit: 512Mi, disk: 1Gi }", "timeout: 1m")).get("one");
        assert.equal(own?.cpuRequest, "2");
        assert.equal(own.memoryRequest, "512Mi", "a request is no more than the limit");
        assert.deepEqual(own.memorySteps, ["512Mi", "1024Mi", "2048Mi", "4Gi"]);
        assert.equal(own.deadlineSeconds, 60);
        assert.equal(plan(step()).get("one")?.deadlineSeconds, 600);
        assert.deepEqual(plan(step("environment: tools", "env: { OWN: x }")).get("one")?.env, {
            FROM: "tools",
            OWN: "x",
        });
        assert.throws(() => plan(step("resources: { memory: 3Gi }")), /step one: memory \(3Gi\) must not be more than/);
    });

    it("are another build with another environment, image or artifacts, and the same in another order", () => {
        const recipes: readonly Recipe[] = [
            { env: {}, artifacts: "" },
            { env: { A: "1" }, artifacts: "" },
            { env: {}, artifacts: "bin" },
            { env: {}, artifacts: "", image: digest },
        ];
        assert.equal(new Set(recipes.map(recipeOf)).size, recipes.length);
        assert.equal(
            recipeOf({ env: { A: "1", B: "2" }, artifacts: "" }),
            recipeOf({ env: { B: "2", A: "1" }, artifacts: "" }),
        );
    });
});
