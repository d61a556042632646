import type { PipelineResult, StepResult } from "../../contract/pipeline";

/** The result of a pipeline as a table of lines: each stage, and its steps below it. */
export function resultTable(result: PipelineResult): readonly string[] {
    const rows = [
        ["STAGE / STEP", "OUTCOME", "SECONDS", ""],
        ...result.stages.flatMap(({ name, success, seconds, steps }) => [
            [name, stageOutcome(success, steps), secondsOf(seconds), ""],
            ...steps.map((step) => [`  ${step.name}`, step.outcome, secondsOf(step.seconds), noteOf(step)]),
        ]),
        ["pipeline", result.success ? "succeeded" : "failed", secondsOf(result.seconds), ""],
    ];
    const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
    return rows.map(([name = "", outcome = "", seconds = "", note = ""]) =>
        [name.padEnd(widths[0] ?? 0), outcome.padEnd(widths[1] ?? 0), seconds.padStart(widths[2] ?? 0), note]
            .join("  ")
            .trimEnd(),
    );
}

function stageOutcome(success: boolean, steps: readonly StepResult[]): string {
    if (!success) {
        return "failed";
    }
    return steps.every(({ outcome }) => outcome === "Skipped") ? "skipped" : "succeeded";
}

function noteOf(step: StepResult): string {
    if (step.outcome === "Skipped") {
        return step.message ?? "";
    }
    return step.tolerated ? "(continueOnFailure)" : "";
}

function secondsOf(seconds: number): string {
    return seconds === 0 ? "-" : seconds.toFixed(1);
}
