import { mermaidOf } from "../pipeline/mermaid";
import { exampleBuild, readPipelineFile } from "../pipeline/read";
import { svgOf } from "../pipeline/svg";

type Given = Readonly<Record<string, string>>;

/** Says that a definition is as it must be; what is wrong is an error. */
export function validate(file: string, given: Given): void {
    const { stages } = readPipelineFile(file, { builtIn: exampleBuild, given });
    const steps = stages.flatMap((stage) => stage.steps);
    process.stdout.write(`${file}: ${countOf(stages.length, "stage")}, ${countOf(steps.length, "step")}\n`);
}

function countOf(count: number, what: string): string {
    return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** Draws a definition on stdout. */
export function graph(file: string, given: Given, format: "mermaid" | "svg"): void {
    const definition = readPipelineFile(file, { builtIn: exampleBuild, given });
    process.stdout.write(format === "svg" ? svgOf(definition) : mermaidOf(definition));
}
