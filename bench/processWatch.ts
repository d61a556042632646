import * as fs from "node:fs";

/** What a process has used. */
export interface Usage {
    /** The high-water mark of its resident memory. */
    readonly peakMebibytes: number;
    /** Of the processor, user and system together. */
    readonly cpuSeconds: number;
}

/** The kernel's unit of time in /proc, on every Linux that Node.js runs on (proc_pid_stat(5), sysconf(_SC_CLK_TCK)). */
const ticksPerSecond = 100;

/** Looks at a process until `end`, which says what was seen last: of one that has ended, a moment before its end. */
export class ProcessWatch {
    private usage: Usage = { peakMebibytes: 0, cpuSeconds: 0 };
    private readonly timer: NodeJS.Timeout;

    public constructor(private readonly pid: number) {
        this.timer = setInterval(() => {
            this.look();
        }, 25);
    }

    public end(): Usage {
        clearInterval(this.timer);
        this.look();
        return this.usage;
    }

    private look(): void {
        try {
            const status = fs.readFileSync(`/proc/${this.pid}/status`, "utf8");
            const peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? "0") / 1024;
            this.usage = {
                // The last look at a process may find it without memory.
                peakMebibytes: Math.max(peak, this.usage.peakMebibytes),
                cpuSeconds: Math.max(cpuSeconds(this.pid), this.usage.cpuSeconds),
            };
        } catch {
            // It has ended.
        }
    }
}

function cpuSeconds(pid: number): number {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // After the command's name, which may have spaces: state is the third field, utime and stime 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
