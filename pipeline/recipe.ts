import { createHash } from "node:crypto";

/** What of a step decides its result, but for the source tree, the command and the inputs, which the manifest names. */
export interface Recipe {
    readonly env: Readonly<Record<string, string>>;
    /** The image that the step asks for. That of the source is none: two image builds of one tree seldom have one digest. */
    readonly image?: string;
    readonly artifacts: string;
}

/** The digest of a recipe: `sha256:<hex>`. A step that was built by another is not taken for this one. */
export function recipeOf({ env, image, artifacts }: Recipe): string {
    const sorted = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1));
    const content = JSON.stringify([1, sorted, image ?? "", artifacts]);
    return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}
