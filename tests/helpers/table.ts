import * as fs from "node:fs";
import * as path from "node:path";

import type { Row } from "./faults";
import { projectDirectory } from "./ke1";

/** Prints what was measured, and keeps it in `.ke1/faults/`, as a Markdown table. */
export function printTable(title: string, rows: readonly Row[]): void {
    const cells = rows.map((row) => [
        row.name,
        row.outcome,
        row.told.toFixed(1),
        row.ended.toFixed(1),
        String(row.attempts),
        row.log,
    ]);
    const table = [["case", "outcome", "told after s", "up ended after s", "attempts", "lines of log"], ...cells];
    const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
    const lines = table.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`);
    lines.splice(1, 0, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`);
    const text = `${lines.join("\n")}\n`;
    process.stdout.write(`\n${text}\n`);
    const directory = path.join(projectDirectory, ".ke1", "faults");
    fs.mkdirSync(directory, { recursive: true });
    fs.writeFileSync(path.join(directory, `${title.replaceAll(/\W+/g, "-")}.md`), text);
}
