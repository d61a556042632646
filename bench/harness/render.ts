import * as fs from "node:fs";
import * as path from "node:path";

import * as prettier from "prettier";

import { messageOf, UserError } from "../../contract/errors";
import { figures } from "./figures";
import { projectDirectory } from "./machine";
import { latestResultsFile, merged, publishedResults, readResults, writeResults } from "./results";

const page = path.join(projectDirectory, "docs", "performance.md");
const begin = "<!-- figures: written by `make bench-docs` -->";
const end = "<!-- end of the figures -->";

/** Writes the figures into docs/performance.md, their plots beside it, and there too what they come from. */
async function render(files: readonly string[]): Promise<void> {
    const results = merged(files.map(readResults));
    const directory = path.dirname(publishedResults);
    const { markdown, plots } = figures(results, path.basename(directory));
    const whole = withFigures(fs.readFileSync(page, "utf8"), markdown);
    const formatted = await prettier.format(whole, {
        ...(await prettier.resolveConfig(page)),
        filepath: page,
    });
    writeResults(publishedResults, results);
    for (const name of fs.readdirSync(directory).filter((each) => each.endsWith(".svg") && !(each in plots))) {
        fs.rmSync(path.join(directory, name));
    }
    for (const [name, content] of Object.entries(plots)) {
        fs.writeFileSync(path.join(directory, name), content);
    }
    fs.writeFileSync(page, formatted);
}

/** What was between the marks is replaced. */
function withFigures(text: string, markdown: string): string {
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from === -1 || to < from) {
        throw new UserError(`${page} has no place for figures: put back the lines "${begin}" and "${end}"`);
    }
    return `${text.slice(0, from + begin.length)}\n\n${markdown}\n\n${text.slice(to)}`;
}

async function main(): Promise<void> {
    const given = (process.env["RESULTS"] ?? "").split(/\s+/).filter((file) => file !== "");
    const files = given.length > 0 ? given : [latestResultsFile()];
    await render(files);
    process.stderr.write(`docs/performance.md has the figures of ${files.join(", ")}\n`);
}

main().catch((error: unknown) => {
    process.stderr.write(`error: ${messageOf(error)}\n`);
    process.exitCode = error instanceof UserError ? 2 : 1;
});
