import * as assert from "node:assert/strict";

import type { UserRule } from "../../admission/judge";
import { judge } from "../../admission/judge";
import { nodesOf, parseNodeSize } from "../../admission/nodeSizes";
import { Quantity } from "../../contract/quantity";
import { readAdmission } from "../../config/admission";
import { Reader } from "../../config/reader";
import { judgedJob, judgedJobs, nodes, ownRules, rightJob } from "../helpers/judgedJobs";

describe("rules for build Jobs, before anything is sent", () => {
    for (const [name, judged] of Object.entries(judgedJobs)) {
        it(`${judged.problem === undefined ? "takes" : "turns away"} one ${name}`, () => {
            const { problems, notes } = judge(judgedJob("builds", judged), { nodes }, ownRules);
            assert.equal(problems[0], judged.problem);
            assert.deepEqual(notes, []);
        });
    }

    it("tells of all that is wrong", () => {
        const job = rightJob("builds");
        job.spec.template.spec.containers[0].image = "busybox";
        delete job.spec.ttlSecondsAfterFinished;
        assert.equal(judge(job, { nodes }, []).problems.length, 2);
    });

    it("does not judge sizes that it does not know", () => {
        const job = rightJob("builds");
        job.spec.template.spec.containers[0].resources.requests.cpu = "640";
        assert.deepEqual(judge(job, { nodes: "" }, []).problems, []);
    });

    it("leaves to the cluster what only the cluster can judge, and says so", () => {
        const rule: UserRule = { expression: "request.userInfo.username != 'anna'", message: "not you" };
        const { problems, notes } = judge(rightJob("builds"), { nodes }, [rule]);
        assert.deepEqual(problems, []);
        assert.deepEqual(notes, ["admissionRules[0] is judged by the cluster alone: Unknown variable: request"]);
    });

    it("turns away a Job that a rule cannot be evaluated on, as the cluster does", () => {
        const rule: UserRule = { expression: "object.spec.managedBy == 'us'", message: "x" };
        assert.deepEqual(judge(rightJob("builds"), { nodes }, [rule]).problems, [
            "admissionRules[0]: the expression cannot be evaluated on the Job: No such key: managedBy",
        ]);
    });
});

describe("quantities", () => {
    const comparisons: readonly (readonly [string, string, bigint])[] = [
        ["100m", "0.1", 0n],
        ["1", "1001m", -1n],
        ["1Gi", "1G", 1n],
        ["1e3", "1k", 0n],
        ["1.5Gi", "1536Mi", 0n],
        ["0.3", "300m", 0n],
        ["-1", "0", -1n],
        ["1n", "0.1n", 0n],
        ["16Ei", "16384Pi", 0n],
    ];
    for (const [a, b, expected] of comparisons) {
        it(`compares ${a} with ${b}`, () => {
            assert.equal(Quantity.parse(a)?.compare(Quantity.parse(b)!), expected);
        });
    }
    for (const text of ["", "Gi", "1 Gi", "1gi", "1.2.3", "0x10", "1e", "--1"]) {
        it(`does not take ${JSON.stringify(text)}`, () => assert.equal(Quantity.parse(text), undefined));
    }
});

describe("what nodes offer", () => {
    const of = (...sizes: readonly string[]) => nodesOf(sizes.map(parseNodeSize));

    it("leaves out sizes that another one covers, and orders what a size has", () => {
        assert.equal(of("cpu=2,memory=8Gi", "memory=16Gi,cpu=4", "cpu=4,memory=16384Mi"), "cpu=4,memory=16Gi");
        assert.equal(of("cpu=8,memory=8Gi", "cpu=4,memory=16Gi"), "cpu=8,memory=8Gi;cpu=4,memory=16Gi");
        assert.equal(of("cpu=4,memory=16Gi", "a.b/gpu=1,cpu=4,memory=16Gi"), "cpu=4,memory=16Gi,a.b/gpu=1");
    });
    it("takes what is not told for as much as can be, but not of an extended resource", () => {
        assert.equal(of("cpu=4", "cpu=4,memory=1Gi"), "cpu=4");
        assert.equal(of(), "");
    });
    for (const text of ["", "cpu", "cpu=", "cpu=four", "cpu=1=2", "cpu=1,,memory=1Gi", "=1"]) {
        it(`does not take ${JSON.stringify(text)}`, () =>
            assert.throws(() => parseNodeSize(text), /^UserError: nodeSizes has /));
    }
});

describe("the configuration of admission rules", () => {
    const read = (config: Readonly<Record<string, unknown>>, usesPlatform = false) => {
        const texts = Object.entries(config).map(([key, value]) => [
            key,
            typeof value === "string" ? value : JSON.stringify(value),
        ]);
        const values = Object.fromEntries(texts) as Record<string, string>;
        return readAdmission(new Reader({ get: (key) => values[key] }), usesPlatform);
    };

    it("declares them on the embedded platform, with what this machine offers, and elsewhere where it is told to", () => {
        assert.deepEqual(read({}), { inCluster: false, nodes: "", rules: [] });
        const platform = read({}, true);
        assert.equal(platform.inCluster, true);
        assert.match(platform.nodes, /^cpu=\d+,memory=\d+Ki$/);
        assert.equal(read({ admission: "false" }, true).inCluster, false);
        assert.deepEqual(read({ admission: "true", nodeSizes: ["cpu=8"], admissionRules: ownRules }), {
            inCluster: true,
            nodes: "cpu=8",
            rules: ownRules,
        });
    });

    const bad: Readonly<Record<string, readonly [unknown, RegExp]>> = {
        "no list": [
            "object.spec",
            /^UserError: admissionRules must be a list of \{expression, message\}; it is `object.spec`$/,
        ],
        "a text": [["true"], /^UserError: admissionRules\[0\] must have an `expression` in CEL and a `message` /],
        "no message": [[{ expression: "true" }], /^UserError: admissionRules\[0\] must have/],
        "an unknown key": [[...ownRules, { ...ownRules[0], reason: "x" }], /^UserError: admissionRules\[2\] must have/],
        "two lines": [[{ expression: "true", message: "a\nb" }], /^UserError: admissionRules\[0\] must have/],
        "no CEL": [
            [{ expression: "object.spec ===", message: "x" }],
            /^UserError: admissionRules\[0\] is no expression in CEL: [^\n]*: `object.spec ===`$/,
        ],
        "half of an expression": [
            [{ expression: "object.spec.all(c, ", message: "x" }],
            /^UserError: admissionRules\[0\] is no expression in CEL: Unexpected token: EOF: /,
        ],
    };
    for (const [name, [admissionRules, message]] of Object.entries(bad)) {
        it(`does not take ${name}`, () => assert.throws(() => read({ admissionRules }), message));
    }
});
