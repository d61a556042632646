import type { StepOutcome } from "../contract/pipeline";
import { isPassed } from "../contract/pipeline";
import type { PipelineDefinition } from "./definition";
import type { Box, Drawing, Point } from "./layout";
import { layOut } from "./layout";

/** Readable on white and on black. */
const style = `
    text { font: 13px ui-sans-serif, system-ui, "DejaVu Sans", sans-serif; fill: #1f2328; }
    .name { font-weight: 600; }
    .note { font-size: 11px; fill: #59636e; }
    .stage { fill: #f6f8fa; stroke: #d1d9e0; }
    .step { fill: #ffffff; stroke: #0969da; }
    .failure { stroke: #cf222e; }
    .excluded { stroke-dasharray: 4; opacity: 0.6; }
    .passed { fill: #e3f4e8; stroke: #1a7f37; }
    .failed { fill: #fdebea; stroke: #cf222e; stroke-width: 2; }
    .skipped { fill: #ebedf0; stroke: #818b98; stroke-dasharray: 4; }
    .edge { fill: none; stroke: #0969da; stroke-width: 1.5; }
    .order { fill: none; stroke: #818b98; stroke-width: 3; }
    .tip { fill: #0969da; }
    .order-tip { fill: #818b98; }
    @media (prefers-color-scheme: dark) {
        text { fill: #f0f6fc; }
        .note { fill: #9198a1; }
        .stage { fill: #151b23; stroke: #3d444d; }
        .step { fill: #0d1117; stroke: #4493f8; }
        .failure { stroke: #f85149; }
        .passed { fill: #12291a; stroke: #3fb950; }
        .failed { fill: #341917; stroke: #f85149; }
        .skipped { fill: #232a32; stroke: #818b98; }
        .edge { stroke: #4493f8; }
        .tip { fill: #4493f8; }
    }
`;

/**
 * A pipeline as a drawing (SVG 1.1): a frame for each stage, thin arrows where a step has the artifacts of another.
 *
 * @param outcomes how steps ended, by name; each is then drawn so
 */
export function svgOf(definition: PipelineDefinition, outcomes: ReadonlyMap<string, StepOutcome> = new Map()): string {
    const drawing = layOut(definition);
    const { width, height, stages, steps, edges } = drawing;
    const title = definition.stages.map(
        ({ name, steps: own }) => `${name}: ${own.map((step) => step.name).join(", ")}`,
    );
    return [
        `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="${round(width)}" height="${round(height)}" ` +
            `viewBox="0 0 ${round(width)} ${round(height)}">`,
        `<title>${escaped(title.join("; "))}</title>`,
        `<style>${style}</style>`,
        marker("tip", 7),
        marker("order-tip", 4),
        ...stages.map(
            (stage) =>
                `<rect class="stage" ${rectangle(stage)} rx="8"/>` +
                textAt("name", { x: stage.x + 14, y: stage.y + 17 }, stage.name, "start") +
                textAt("note", { x: stage.x + 14, y: stage.y + 31 }, stage.note, "start"),
        ),
        ...orderArrows(drawing),
        ...edges.map(({ points }) => `<path class="edge" marker-end="url(#tip)" d="${pathOf(points)}"/>`),
        ...steps.map(({ step, note, ...box }) => {
            const kinds = [
                "step",
                ...(step.when === "on-failure" ? ["failure"] : []),
                ...(step.excluded === undefined ? [] : ["excluded"]),
                ...endOf(outcomes.get(step.name)),
            ];
            const middle = box.x + box.width / 2;
            const names = note === "" ? box.y + box.height / 2 + 5 : box.y + 20;
            return (
                `<rect class="${kinds.join(" ")}" ${rectangle(box)} rx="5"/>` +
                textAt("name", { x: middle, y: names }, step.name, "middle") +
                textAt("note", { x: middle, y: box.y + 36 }, note, "middle")
            );
        }),
        "</svg>",
        "",
    ].join("\n");
}

function endOf(outcome: StepOutcome | undefined): readonly string[] {
    if (outcome === undefined) {
        return [];
    }
    return [outcome === "Skipped" ? "skipped" : isPassed(outcome) ? "passed" : "failed"];
}

/** From stage to stage, at the level of their names, where there are no steps. */
function orderArrows({ stages }: Drawing): readonly string[] {
    return stages.slice(1).map((stage, index) => {
        const before = stages[index] ?? stage;
        const y = round(stage.y + 20);
        return (
            `<path class="order" marker-end="url(#order-tip)" ` +
            `d="M${round(before.x + before.width + 6)} ${y}H${round(stage.x - 16)}"/>`
        );
    });
}

/** Curves in the gaps between columns, straight lines through them. */
function pathOf(points: readonly Point[]): string {
    const [first, ...others] = points;
    if (!first) {
        return "";
    }
    let path = `M${round(first.x)} ${round(first.y)}`;
    let before = first;
    others.forEach((point, index) => {
        // The arrow's tip is at the end of the last.
        const x = index === others.length - 1 ? point.x - 8 : point.x;
        if (index % 2 === 1) {
            path += `H${round(x)}`;
        } else {
            const middle = round((before.x + x) / 2);
            path += `C${middle} ${round(before.y)} ${middle} ${round(point.y)} ${round(x)} ${round(point.y)}`;
        }
        before = point;
    });
    return path;
}

function marker(id: string, size: number): string {
    return (
        `<marker id="${id}" viewBox="0 0 10 10" refX="0" refY="5" markerWidth="${size}" markerHeight="${size}" ` +
        `orient="auto"><path class="${id}" d="M0 0L10 5L0 10z"/></marker>`
    );
}

function textAt(kind: string, { x, y }: Point, text: string, anchor: string): string {
    return text === ""
        ? ""
        : `<text class="${kind}" x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(text)}</text>`;
}

function rectangle({ x, y, width, height }: Box): string {
    return `x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"`;
}

function round(value: number): number {
    return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
