import type { PipelineDefinition, StepDefinition } from "./definition";

/**
 * A pipeline as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html): thick arrows from stage to stage, thin
 * ones where a step has the artifacts of another.
 */
export function mermaidOf({ stages }: PipelineDefinition): string {
    // Names could be words of Mermaid's own, such as `end`.
    const ids = new Map(stages.flatMap(({ steps }) => steps).map(({ name }, index) => [name, `step${index + 1}`]));
    const lines = ["flowchart LR"];
    stages.forEach((stage, index) => {
        lines.push(`    subgraph stage${index + 1}["${stage.name}"]`);
        for (const step of stage.steps) {
            const label = [step.name, ...notesOf(step)].join("<br/>");
            lines.push(`        ${ids.get(step.name) ?? ""}["${label}"]`);
        }
        lines.push("    end");
    });
    stages.slice(1).forEach((_, index) => lines.push(`    stage${index + 1} ==> stage${index + 2}`));
    for (const step of stages.flatMap(({ steps }) => steps)) {
        for (const input of step.inputs) {
            lines.push(`    ${ids.get(input) ?? ""} --> ${ids.get(step.name) ?? ""}`);
        }
    }
    const excluded = stages.flatMap(({ steps }) => steps).filter((step) => step.excluded !== undefined);
    if (excluded.length > 0) {
        lines.push("    classDef excluded stroke-dasharray: 4");
        lines.push(`    class ${excluded.map(({ name }) => ids.get(name) ?? "").join(",")} excluded`);
    }
    return `${lines.join("\n")}\n`;
}

/** What is special about a step, in few words. */
export function notesOf(step: StepDefinition): readonly string[] {
    return [
        ...(step.when === "on-success" ? [] : [step.when === "always" ? "always" : "on failure"]),
        ...(step.continueOnFailure ? ["may fail"] : []),
        ...(step.excluded === undefined ? [] : ["does not run"]),
    ];
}
