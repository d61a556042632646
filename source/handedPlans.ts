import { isDeepStrictEqual } from "node:util";

import type { SourceSettings } from "../config";
import type { BuildPlan } from "./plan";
import { planBuilds } from "./plan";

/*
 * `ke1` plans the builds before the engine starts, so that what is wrong with a source is said at once. The stack's program
 * would then ask git the same once more, while the engine waits for it: it is handed what was found instead.
 */

const variable = "KE1_PLANS";

/** Bytes: a process cannot be given a variable that is longer than 128 KiB (MAX_ARG_STRLEN, execve(2)). */
const longest = 100 * 1024;

interface Handed {
    readonly settings: SourceSettings;
    readonly projectDirectory: string;
    readonly plans: readonly BuildPlan[];
}

/** The variable of the program's environment that hands plans over; none where they are too many for one. */
export function handOver(handed: Handed): NodeJS.ProcessEnv {
    const text = JSON.stringify(handed);
    return handed.plans.length > 0 && Buffer.byteLength(text) <= longest ? { [variable]: text } : {};
}

/** The plans that were handed over, where they are of the same settings; otherwise as `planBuilds`. */
export function plannedBuilds(
    settings: SourceSettings,
    projectDirectory: string,
    environment: NodeJS.ProcessEnv = process.env,
): readonly BuildPlan[] {
    const text = environment[variable];
    const handed = text === undefined || text === "" ? undefined : (JSON.parse(text) as Handed);
    const same =
        handed?.projectDirectory === projectDirectory &&
        Object.entries(handed.settings).every(([name, value]) =>
            isDeepStrictEqual(value, plain(settings[name as keyof SourceSettings])),
        );
    return same ? handed.plans : planBuilds(settings, projectDirectory);
}

/** As it is after JSON. */
function plain(value: unknown): unknown {
    return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
