import type { PipelineDefinition, StepDefinition } from "./definition";
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
const header = 40;
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
    const steps = columns.flat().flatMap(({ step }) => step ?? []);
    const all = steps.flatMap((step) => step.inputs.map((input) => ({ from: input, to: step.name })));
    return all.map(({ from, to }) => {
        const start = places.get(from);
        const end = places.get(to);
        if (!start || !end) {
            throw new Error(`${from} or ${to} is not in the drawing`);
        }
        const leaving = all.filter((edge) => edge.from === from);
        const arriving = all.filter((edge) => edge.to === to);
        const points: Point[] = [];
        const startBox = stepBox(boxAt(boxes, start.column), start.slot.y);
        points.push({
            x: startBox.x + startBox.width,
            y: portOf(
                startBox,
                leaving.findIndex((edge) => edge.to === to),
                leaving.length,
            ),
        });
        for (let column = start.column + 1; column < end.column; column++) {
            const lane = places.get(laneId(from, to, column))?.slot.y ?? 0;
            const { x, width } = boxAt(boxes, column);
            points.push({ x, y: lane + laneHeight / 2 }, { x: x + width, y: lane + laneHeight / 2 });
        }
        const endBox = stepBox(boxAt(boxes, end.column), end.slot.y);
        points.push({
            x: endBox.x,
            y: portOf(
                endBox,
                arriving.findIndex((edge) => edge.from === from),
                arriving.length,
            ),
        });
        return { from, to, points };
    });
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
    const timeout = step.timeoutSeconds === undefined ? [] : [`${step.timeoutSeconds} s`];
    const artifacts = step.artifacts === "" ? [] : [step.artifacts];
    return [...artifacts, ...notesOf(step), ...timeout].join(", ");
}

function stageNote(stage: PipelineDefinition["stages"][number]): string {
    return [
        ...(stage.timeoutSeconds === undefined ? [] : [`${stage.timeoutSeconds} s`]),
        ...(stage.cancelSiblings ? ["fails at once"] : []),
    ].join(", ");
}
