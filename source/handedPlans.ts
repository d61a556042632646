import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";

import type { SourceSettings } from "../config";
import type { BuildPlan } from "./plan";
import { planBuilds } from "./plan";

/*
 * `ke1` plans the builds before the engine starts, so that what is wrong with a source is said at once. The stack's program
 * would then ask git the same once more, while the engine waits for it: it is handed what was found instead. So it is with the
 * rules for build Jobs, by which the builds have been judged.
 */

const variable = "KE1_PLANS";

/** Bytes: a process cannot be given a variable that is longer than 128 KiB (MAX_ARG_STRLEN, execve(2)). */
const longest = 100 * 1024;

interface Handed {
    readonly settings: SourceSettings;
    readonly projectDirectory: string;
    readonly plans: readonly BuildPlan[];
    /** Of builds that no rule turns away. */
    readonly judged?: Judged;
}

interface Judged {
    /** The SHA-256 of all settings of the stack. */
    readonly settings: string;
    /** What only the cluster can judge. */
    readonly notes: readonly string[];
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
    const handed = handedBy(environment);
    const same =
        handed?.projectDirectory === projectDirectory &&
        Object.entries(handed.settings).every(([name, value]) =>
            isDeepStrictEqual(value, plain(settings[name as keyof SourceSettings])),
        );
    return same ? handed.plans : planBuilds(settings, projectDirectory);
}

/** That builds with these settings have been judged, by what came of it. */
export function judged(settings: object, notes: readonly string[]): Judged {
    return { settings: digestOf(settings), notes };
}

/** What came of judging the builds of these settings; undefined where they are yet to be judged. */
export function handedJudgement(
    settings: object,
    projectDirectory: string,
    environment: NodeJS.ProcessEnv = process.env,
): readonly string[] | undefined {
    const handed = handedBy(environment);
    const same = handed?.projectDirectory === projectDirectory && handed.judged?.settings === digestOf(settings);
    return same ? handed.judged.notes : undefined;
}

function handedBy(environment: NodeJS.ProcessEnv): Handed | undefined {
    const text = environment[variable];
    return text === undefined || text === "" ? undefined : (JSON.parse(text) as Handed);
}

function digestOf(settings: object): string {
    return createHash("sha256").update(JSON.stringify(settings)).digest("hex");
}

/** As it is after JSON. */
function plain(value: unknown): unknown {
    return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
