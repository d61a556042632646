import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const program = `require("node:net").createServer().listen({ host: "127.0.0.1", port: 0, backlog: 1 }, function () {
    console.log(this.address().port);
});`;

/** A port of this machine to which no connection is ever made nor refused, as behind a firewall that drops packets. */
export class StuckListener {
    private constructor(
        public readonly port: number,
        private readonly child: ChildProcess,
        private readonly waiting: readonly Socket[],
    ) {}

    /** A process that was stopped accepts nothing; once its queue is full, the kernel leaves all others waiting. */
    public static async start(): Promise<StuckListener> {
        const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
        const [printed] = (await once(child.stdout, "data")) as [Buffer];
        const port = Number(printed.toString());
        child.kill("SIGSTOP");
        const waiting: Socket[] = [];
        for (let full = false; !full;) {
            const socket = connect(port, "127.0.0.1").on("error", () => undefined);
            waiting.push(socket);
            full = await Promise.race([once(socket, "connect").then(() => false), sleep(500).then(() => true)]);
        }
        return new StuckListener(port, child, waiting);
    }

    public async stop(): Promise<void> {
        this.waiting.forEach((socket) => socket.destroy());
        const ended = once(this.child, "exit");
        this.child.kill("SIGKILL");
        await ended;
    }
}
