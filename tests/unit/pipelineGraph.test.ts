import * as assert from "node:assert/strict";

import { layOut } from "../../pipeline/layout";
import { mermaidOf } from "../../pipeline/mermaid";
import { exampleBuild, readPipeline } from "../../pipeline/read";
import { svgOf } from "../../pipeline/svg";

describe("a pipeline's graph", () => {
    const content = `
stages:
  - name: end
    steps:
      - { name: fetch, command: x, artifacts: src }
      - { name: end, command: x, continueOnFailure: true }
  - name: b
    steps:
      - { name: build, command: x, artifacts: bin, inputs: [fetch] }
      - { name: build-2, command: x, artifacts: bin }
  - name: c
    steps:
      - { name: all, command: x, inputs: [fetch, build, build-2] }
      - { name: alarm, command: x, when: on-failure }
`;
    const definition = readPipeline("p.yaml", content, { builtIn: exampleBuild, given: {} });

    it("is Mermaid's text, without its words for names", () => {
        assert.equal(
            mermaidOf(definition),
            `flowchart LR
    subgraph stage1["end"]
        step1["fetch"]
        step2["end<br/>may fail"]
    end
    subgraph stage2["b"]
        step3["build"]
        step4["build-2"]
    end
    subgraph stage3["c"]
        step5["all"]
        step6["alarm<br/>on failure"]
    end
    stage1 ==> stage2
    stage2 ==> stage3
    step1 --> step3
    step1 --> step5
    step3 --> step5
    step4 --> step5
`,
        );
    });

    it("lays out steps inside their stages, one beside the other, and leads edges round them", () => {
        const { stages, steps, edges, width, height } = layOut(definition);
        assert.equal(edges.length, 4);
        for (const [index, box] of steps.entries()) {
            const stage = stages.find(({ x, width: wide }) => box.x > x && box.x + box.width < x + wide);
            assert.ok(stage && box.y > stage.y && box.y + box.height < stage.y + stage.height, box.step.name);
            assert.ok(stage.x + stage.width <= width && stage.y + stage.height <= height);
            for (const other of steps.slice(index + 1)) {
                const apart = box.x !== other.x || box.y + box.height < other.y || other.y + other.height < box.y;
                assert.ok(apart, `${box.step.name} and ${other.step.name}`);
            }
        }
        const [long] = edges.filter(({ points }) => points.length === 4);
        assert.deepEqual([long?.from, long?.to], ["fetch", "all"]);
        const lane = long?.points[1];
        assert.ok(lane);
        for (const { x, y, height: high, step: crossed } of steps.filter(
            (box) => box.x > lane.x && box.x < lane.x + 40,
        )) {
            assert.ok(
                lane.y < y || lane.y > y + high,
                `the edge at ${lane.x} ${lane.y} crosses ${crossed.name} at ${x}`,
            );
        }
    });

    it("is an SVG with all names in it", () => {
        const svg = svgOf(definition);
        assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
        for (const name of ["fetch", "build-2", "alarm"]) {
            assert.ok(svg.includes(`>${name}</text>`), name);
        }
        assert.doesNotMatch(svg, /NaN|undefined/);
    });
});
