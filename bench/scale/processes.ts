import * as fs from "node:fs";

/** What a process of `ke1 up` is there for. */
type Part = "engine" | "program" | "launcher" | "await" | "other";

/** The most that was seen at once, in MiB and numbers of processes. */
export interface Peak {
    /** Resident, summed: what processes share is counted for each. */
    readonly resident: number;
    /** Of that, what each has for itself alone. */
    readonly own: number;
    readonly processes: number;
}

const pageBytes = 4096;
const mebibyte = 1024 * 1024;
/** Of the kernel's clock, on every Linux that Node.js runs on: USER_HZ. */
const ticksPerSecond = 100;

/**
 * Looks at a process, at all that it started, and at what those left running, several times a second: what memory they take,
 * and what CPU time.
 */
export class ProcessTree {
    public readonly peaks = new Map<Part | "all", Peak>();
    public cpuSeconds = 0;
    public mostDescriptors = 0;
    private readonly timer: NodeJS.Timeout;
    private readonly parts = new Map<number, Part>();
    private readonly belongs = new Map<string, boolean>();

    /** @param mark what all of them have in their environment, and no other has */
    public constructor(
        private readonly root: number,
        private readonly mark: string,
    ) {
        this.timer = setInterval(() => this.look(), 250);
    }

    public stop(): void {
        clearInterval(this.timer);
    }

    private look(): void {
        const now = new Map<Part | "all", Peak>();
        for (const pid of this.family()) {
            const memory = memoryOf(pid);
            if (memory === undefined) {
                continue;
            }
            for (const part of [this.partOf(pid), "all"] as const) {
                const sum = now.get(part) ?? { resident: 0, own: 0, processes: 0 };
                now.set(part, {
                    resident: sum.resident + memory.resident,
                    own: sum.own + memory.own,
                    processes: sum.processes + 1,
                });
            }
        }
        for (const [part, seen] of now) {
            const peak = this.peaks.get(part);
            this.peaks.set(part, {
                resident: Math.max(peak?.resident ?? 0, seen.resident),
                own: Math.max(peak?.own ?? 0, seen.own),
                processes: Math.max(peak?.processes ?? 0, seen.processes),
            });
        }
    }

    /** Those that live; takes their CPU time along. */
    private family(): readonly number[] {
        const found: number[] = [];
        let ticks = 0;
        for (const name of fs.readdirSync("/proc")) {
            const stat = /^\d+$/.test(name) ? read(`/proc/${name}/stat`) : undefined;
            // The command, in brackets, may contain anything (proc_pid_stat(5)).
            const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
            if (fields && this.isOurs(name, fields[19] ?? "")) {
                found.push(Number(name));
                // utime and stime, and those of the children that were waited for.
                ticks += fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
            }
        }
        this.cpuSeconds = Math.max(this.cpuSeconds, ticks / ticksPerSecond);
        try {
            const open = fs.readdirSync(`/proc/${this.root}/fd`).length;
            this.mostDescriptors = Math.max(this.mostDescriptors, open);
        } catch {
            // It has just ended.
        }
        return found;
    }

    private isOurs(pid: string, startTime: string): boolean {
        const key = `${pid} ${startTime}`;
        const isOurs = this.belongs.get(key) ?? read(`/proc/${pid}/environ`)?.includes(this.mark) ?? false;
        this.belongs.set(key, isOurs);
        return isOurs;
    }

    private partOf(pid: number): Part {
        const known = this.parts.get(pid);
        if (known !== undefined) {
            return known;
        }
        const words = (read(`/proc/${pid}/cmdline`) ?? "").split("\0");
        const part: Part = words.some((word) => word === "await-launcher")
            ? "launcher"
            : words.some((word) => /^await$|\/await\.js$/.test(word))
              ? "await"
              : words.some((word) => word.endsWith("/cmd/run") || word.includes("/cmd/run/"))
                ? "program"
                : pid === this.root
                  ? "engine"
                  : "other";
        // A child that has not yet become its program is looked at again.
        if (part !== "other") {
            this.parts.set(pid, part);
        }
        return part;
    }
}

/** In MiB; undefined for a process that has ended. */
function memoryOf(pid: number): { readonly resident: number; readonly own: number } | undefined {
    const [, resident, shared] = (read(`/proc/${pid}/statm`) ?? "").split(" ").map(Number);
    return resident === undefined || shared === undefined
        ? undefined
        : { resident: (resident * pageBytes) / mebibyte, own: ((resident - shared) * pageBytes) / mebibyte };
}

function read(file: string): string | undefined {
    try {
        return fs.readFileSync(file, "utf8");
    } catch {
        return undefined;
    }
}
