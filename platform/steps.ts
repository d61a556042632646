/** What an `up` or `down` is doing, for a person to see: a line a step, with its time. */
export interface Steps {
    /** Runs one step. `notice` is said in advance, of one that takes long. */
    readonly step: <T>(
        name: string,
        action: (progress: (text: string) => void) => Promise<T>,
        notice?: string,
    ) => Promise<T>;
    readonly say: (line: string) => void;
    /** Leaves the last state on the terminal. */
    readonly end: () => void;
}

interface RunningStep {
    readonly name: string;
    readonly since: number;
    readonly notice?: string | undefined;
    progress: string;
}

/** On a terminal the running steps are shown live, below those that are done; elsewhere only plain lines are written. */
export function showSteps(stream: NodeJS.WriteStream = process.stderr): Steps {
    const live = stream.isTTY;
    const running = new Set<RunningStep>();
    let drawn = 0;

    const clear = () => {
        stream.write("\x1b[1A\x1b[2K".repeat(drawn));
        drawn = 0;
    };
    const draw = () => {
        if (live) {
            for (const step of running) {
                const detail = step.progress || step.notice;
                const line = `  … ${step.name}${detail ? ` (${detail})` : ""} ${secondsSince(step.since)}`;
                stream.write(line.slice(0, (stream.columns || 80) - 1) + "\n");
                drawn++;
            }
        }
    };
    const say = (line: string) => {
        clear();
        stream.write(line + "\n");
        draw();
    };
    const timer = live
        ? setInterval(() => {
              clear();
              draw();
          }, 200).unref()
        : undefined;

    return {
        step: async (name, action, notice) => {
            const step: RunningStep = { name, since: performance.now(), notice, progress: "" };
            running.add(step);
            if (!live && notice !== undefined) {
                say(`  … ${name}: ${notice}`);
            }
            try {
                const result = await action((text) => (step.progress = text));
                running.delete(step);
                say(`  ✓ ${name} ${secondsSince(step.since)}`);
                return result;
            } catch (error) {
                running.delete(step);
                say(`  ✗ ${name} ${secondsSince(step.since)}`);
                throw error;
            }
        },
        say,
        end: () => {
            clearInterval(timer);
            clear();
        },
    };
}

function secondsSince(start: number): string {
    return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}
