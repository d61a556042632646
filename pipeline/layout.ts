import type { PipelineDefinition, StepDefinition } from "./definition";
import { durationOf } from "./duration";
import { notesOf } from "./mermaid";

/** A rectangle, in pixels from the top left. */
export interface Box {
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
}

export interface Drawing {
    readonly width: number;
    readonly height: number;
    readonly stages: readonly (Box & { readonly name: string; readonly note: string })[];
    readonly steps: readonly (Box & { readonly step: StepDefinition; readonly note: string })[];
    /** Between steps: points to go through, from left to right. Two points of one column are joined by a straight line. */
    readonly edges: readonly { readonly from: string; readonly to: string; readonly points: readonly Point[] }[];
}

export interface Point {
    readonly x: number;
    readonly y: number;
}

/** Something that takes a place in a column: a step, or an edge on its way to a later column. */
interface Slot {
    readonly id: string;
    readonly step?: StepDefinition;
    /** The slots of the column before that lead here. */
    readonly sources: string[];
    y: number;
}

const margin = 16;
const stagePadding = 14;
const header = 46;
const stepHeight = 46;
const laneHeight = 12;
const between = 14;
const gap = 64;
/** A letter of the drawing's font, of 13 pixels, takes at most about so much. */
const letter = 7.8;

/**
 * Lays out a pipeline: a column for each stage, its steps one below the other. An edge that leads over a stage has a lane of
 * its own there, so that it crosses no step; what is connected is put on a level where that is possible.
 */
export function layOut({ stages }: PipelineDefinition): Drawing {
    const columns = columnsOf(stages.map(({ steps }) => steps));
    columns.forEach((column, index) => arrange(column, columns[index - 1] ?? []));
    const heights = columns.map((column) => heightOf(column));
    const tallest = Math.max(...heights);
    const boxes: Box[] = [];
    let x = margin;
    for (const stage of stages) {
        const texts = stage.steps.flatMap((step) => [step.name, noteOf(step)]);
        const longest = Math.max(stage.name.length + 2, stageNote(stage).length, ...texts.map((text) => text.length));
        const width = Math.max(longest * letter + 24, 90) + 2 * stagePadding;
        boxes.push({ x, y: margin, width, height: header + tallest + stagePadding });
        x += width + gap;
    }
    columns.forEach((column, index) => {
        let y = margin + header + (tallest - (heights[index] ?? 0)) / 2;
        for (const slot of column) {
            slot.y = y;
            y += sizeOf(slot) + between;
        }
    });
    return {
        width: x - gap + margin,
        height: margin * 2 + header + tallest + stagePadding,
        stages: stages.map((stage, index) => ({ ...boxAt(boxes, index), name: stage.name, note: stageNote(stage) })),
        steps: columns.flatMap((column, index) =>
            column.flatMap(({ step, y }) =>
                step === undefined ? [] : [{ ...stepBox(boxAt(boxes, index), y), step, note: noteOf(step) }],
            ),
        ),
        edges: edgesOf(columns, boxes),
    };
}

function columnsOf(stages: readonly (readonly StepDefinition[])[]): Slot[][] {
    const columns = stages.map((steps) => steps.map((step): Slot => ({ id: step.name, step, sources: [], y: 0 })));
    const columnOf = new Map(stages.flatMap((steps, index) => steps.map(({ name }) => [name, index] as const)));
    stages.forEach((steps, column) => {
        for (const step of steps) {
            for (const input of step.inputs) {
                let before = input;
                for (let between = (columnOf.get(input) ?? column) + 1; between < column; between++) {
                    const lane: Slot = { id: laneId(input, step.name, between), sources: [before], y: 0 };
                    columns[between]?.push(lane);
                    before = lane.id;
                }
                columns[column]?.find(({ id }) => id === step.name)?.sources.push(before);
            }
        }
    });
    return columns;
}

function laneId(from: string, to: string, column: number): string {
    return `${from} ${to} ${column}`;
}

/** Sorts a column by where that lies which leads to it (the barycentre heuristic); what nothing leads to keeps its place. */
function arrange(column: Slot[], before: readonly Slot[]): void {
    const rank = new Map(before.map(({ id }, index) => [id, index / Math.max(before.length - 1, 1)]));
    const wanted = new Map(
        column.map(({ id, sources }, index) => {
            const ranks = sources.flatMap((source) => rank.get(source) ?? []);
            const own = index / Math.max(column.length - 1, 1);
            return [id, ranks.length > 0 ? ranks.reduce((sum, each) => sum + each, 0) / ranks.length : own];
        }),
    );
    column.sort((a, b) => (wanted.get(a.id) ?? 0) - (wanted.get(b.id) ?? 0));
}

function edgesOf(columns: readonly (readonly Slot[])[], boxes: readonly Box[]): Drawing["edges"] {
    const places = new Map(
        columns.flatMap((column, index) => column.map((slot) => [slot.id, { slot, column: index }] as const)),
    );
    const placeOf = (id: string) => {
        const place = places.get(id);
        if (!place) {
            throw new Error(`${id} is not in the drawing`);
        }
        return place;
    };
    const steps = columns.flat().flatMap(({ step }) => step ?? []);
    const edges = steps.flatMap((step) =>
        step.inputs.map((from) => {
            const first = placeOf(from).column + 1;
            const lanes = Array.from({ length: placeOf(step.name).column - first }, (_, index) =>
                placeOf(laneId(from, step.name, first + index)),
            );
            return { from, to: step.name, lanes };
        }),
    );
    // At the side of a step they are in the order of where they lead, so that they do not cross right there.
    const after = (edge: Edge) => (edge.lanes[0] ?? placeOf(edge.to)).slot.y;
    const before = (edge: Edge) => (edge.lanes.at(-1) ?? placeOf(edge.from)).slot.y;
    return edges.map((edge) => {
        const { from, to, lanes } = edge;
        const [start, end] = [from, to].map((id) => stepBox(boxAt(boxes, placeOf(id).column), placeOf(id).slot.y));
        const leaving = edges.filter((other) => other.from === from).sort((a, b) => after(a) - after(b));
        const arriving = edges.filter((other) => other.to === to).sort((a, b) => before(a) - before(b));
        if (!start || !end) {
            throw new Error(`${from} or ${to} is not in the drawing`);
        }
        const through = lanes.flatMap(({ slot, column }) => {
            const { x, width } = boxAt(boxes, column);
            const y = slot.y + laneHeight / 2;
            return [
                { x, y },
                { x: x + width, y },
            ];
        });
        const points = [
            { x: start.x + start.width, y: portOf(start, leaving.indexOf(edge), leaving.length) },
            ...through,
            { x: end.x, y: portOf(end, arriving.indexOf(edge), arriving.length) },
        ];
        return { from, to, points };
    });
}

interface Edge {
    readonly from: string;
    readonly to: string;
    /** In each stage between the two. */
    readonly lanes: readonly { readonly slot: Slot; readonly column: number }[];
}

/** Several edges at one side of a step do not meet in one point. */
function portOf({ y, height }: Box, index: number, count: number): number {
    return y + (height * (index + 1)) / (count + 1);
}

function stepBox(stage: Box, y: number): Box {
    return { x: stage.x + stagePadding, y, width: stage.width - 2 * stagePadding, height: stepHeight };
}

function boxAt(boxes: readonly Box[], index: number): Box {
    const box = boxes[index];
    if (!box) {
        throw new Error(`there is no column ${index}`);
    }
    return box;
}

function sizeOf(slot: Slot): number {
    return slot.step === undefined ? laneHeight : stepHeight;
}

function heightOf(column: readonly Slot[]): number {
    return column.reduce((sum, slot) => sum + sizeOf(slot), 0) + (column.length - 1) * between;
}

function noteOf(step: StepDefinition): string {
    const timeout = step.timeoutSeconds === undefined ? [] : [durationOf(step.timeoutSeconds)];
    const artifacts = step.artifacts === "" ? [] : [step.artifacts];
    return [...artifacts, ...notesOf(step), ...timeout].join(", ");
}

function stageNote(stage: PipelineDefinition["stages"][number]): string {
    return [
        ...(stage.timeoutSeconds === undefined ? [] : [durationOf(stage.timeoutSeconds)]),
        ...(stage.cancelSiblings ? ["fails at once"] : []),
    ].join(", ");
}
