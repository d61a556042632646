import type { Expected, Row } from "./faults";
import { FaultedBuild } from "./faults";
import type { Prepared } from "./prepared";
import { countingBuild, prepare } from "./prepared";
import { printTable } from "./table";

/** A case: what the build is, what is done to it, and what it must end as. */
export interface Case {
    /** How many lines the build prints, and its script; by default one line each quarter of a second. */
    readonly lines?: number;
    readonly script?: string;
    readonly config?: Record<string, unknown>;
    /** Runs from `up`'s start; what it leaves running is awaited. */
    readonly during?: (build: FaultedBuild, cleanUp: (step: () => unknown) => void) => Promise<void> | void;
    /** Before `up` is started. @returns more of the configuration and of the environment */
    readonly before?: (
        prepared: Prepared,
        cleanUp: (step: () => unknown) => void,
    ) => Promise<{ readonly config: Record<string, unknown>; readonly environment?: NodeJS.ProcessEnv }>;
    readonly expected: Expected;
    /** Once it has ended, has been checked, and is destroyed. */
    readonly afterwards?: (build: FaultedBuild) => Promise<void>;
}

/**
 * Declares mocha tests that run side by side: a build mostly waits. Those of a suite must not hurt one another.
 * The environment's CASE (a regular expression) picks some.
 */
export function faultSuite(title: string, atOnce: number, cases: Readonly<Record<string, Case>>): void {
    const picked = Object.entries(cases).filter(([name]) => new RegExp(process.env["CASE"] ?? "").test(name));
    describe(title, () => {
        const results = new Map<string, Promise<Row>>();
        const rows: Row[] = [];
        let prepared: Prepared | undefined;
        before(async () => {
            if (picked.length === 0) {
                return;
            }
            const ready = await prepare();
            prepared = ready;
            const slots = Array.from({ length: atOnce }, () => Promise.resolve());
            const waiting = [...picked];
            const resolvers = new Map<string, (row: Promise<Row>) => void>();
            for (const [name] of picked) {
                const result = new Promise<Row>((resolve) => resolvers.set(name, resolve));
                result.catch(() => undefined);
                results.set(name, result);
            }
            const work = async () => {
                for (let next = waiting.shift(); next; next = waiting.shift()) {
                    const [name, what] = next;
                    const row = runCase(name, what, ready);
                    resolvers.get(name)?.(row);
                    await row.catch(() => undefined);
                }
            };
            slots.forEach(() => void work());
        });
        for (const [name] of picked) {
            it(name, async () => {
                const row = await results.get(name);
                if (row) {
                    rows.push(row);
                }
            });
        }
        after(async () => {
            await Promise.allSettled(results.values());
            prepared?.repository.remove();
            if (rows.length > 0) {
                printTable(title, rows);
            }
        });
    });
}

async function runCase(name: string, what: Case, prepared: Prepared): Promise<Row> {
    const steps: (() => unknown)[] = [];
    const cleanUp = (step: () => unknown) => void steps.push(step);
    try {
        const more = await what.before?.(prepared, cleanUp);
        const lines = what.lines ?? 40;
        const script = what.script ?? countingBuild(lines);
        const config = { command: ["sh", "-c", script], ...what.config, ...more?.config };
        const build = new FaultedBuild(prepared, lines, config, more?.environment);
        cleanUp(() => build.remove());
        build.up();
        await what.during?.(build, cleanUp);
        const row = await build.endsAs(name, what.expected);
        await what.afterwards?.(build);
        return row;
    } finally {
        for (const step of steps.reverse()) {
            await step();
        }
    }
}
