/**
 * Rows of text as lines whose columns begin below each other, two spaces apart.
 *
 * @param sides for each column, `l` or `r`: the side that its cells are at; all at the left where nothing is said
 */
export function columns(rows: readonly (readonly string[])[], sides = ""): readonly string[] {
    const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
    return rows.map((row) =>
        row
            .map((cell, column) => {
                const width = widths[column] ?? 0;
                return sides[column] === "r" ? cell.padStart(width) : cell.padEnd(width);
            })
            .join("  ")
            .trimEnd(),
    );
}
