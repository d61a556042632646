/** Values of which nothing is known yet, as what is wanted of them; empty or undefined where they are something else. */
export type Loose = Readonly<Record<string, unknown>>;

export function record(value: unknown): Loose {
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Loose) : {};
}

export function list(value: unknown): readonly unknown[] {
    return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string | undefined {
    return typeof value === "string" ? value : undefined;
}

/** A text, or what YAML takes for a number or a truth value. */
export function scalar(value: unknown): string | undefined {
    return ["string", "number", "boolean"].includes(typeof value) ? String(value) : undefined;
}
