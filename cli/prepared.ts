import type { PreparedProgram } from "../engine/preparedProgram";

/** What cli/ke1.ts has begun before it loads cli/main.ts: the two have this module in common (bundle/command.ts). */
export const prepared: { program?: PreparedProgram } = {};
