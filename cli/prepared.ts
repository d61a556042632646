import type { PreparedProgram } from "../engine/preparedProgram";

interface Prepared {
    program?: PreparedProgram;
}

const key = Symbol.for("ke1.prepared");
const shared = globalThis as unknown as Record<symbol, Prepared | undefined>;

/** What cli/ke1.ts has begun before cli/main.ts was there. They are two bundles, and so have no module in common. */
export const prepared: Prepared = (shared[key] ??= {});
