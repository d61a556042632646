import { createServer, type Server, type Socket } from "node:net";

/**
 * Listens on a Unix socket before there is anything to serve on it: connections wait, unread, until a server is handed
 * over to. A client that comes early would otherwise be refused, and the SDK takes that for the end of the deployment.
 *
 * A Unix socket in a directory of mode 0700 is reached by this user alone, which a port on loopback is not; nor do the proxy
 * settings of the environment apply to it.
 */
export class SocketGate {
    private readonly waiting: Socket[] = [];
    private readonly open = new Set<Socket>();
    private take: ((socket: Socket) => void) | undefined;

    private constructor(private readonly server: Server) {}

    public static async listen(path: string): Promise<SocketGate> {
        const server = createServer({ pauseOnConnect: true });
        const gate = new SocketGate(server);
        server.on("connection", (socket) => gate.accept(socket));
        await new Promise<void>((resolve, reject) => {
            server.once("error", reject);
            server.listen(path, resolve);
        });
        return gate;
    }

    /** Every connection so far and from now on is for `take`. */
    public handOver(take: (socket: Socket) => void): void {
        this.take = take;
        this.waiting.splice(0).forEach((socket) => this.pass(socket, take));
    }

    public close(): void {
        this.server.close();
        this.open.forEach((socket) => socket.destroy());
    }

    private accept(socket: Socket): void {
        this.open.add(socket);
        socket.once("close", () => this.open.delete(socket));
        // A program that is killed resets its connection.
        socket.on("error", () => undefined);
        if (this.take === undefined) {
            this.waiting.push(socket);
        } else {
            this.pass(socket, this.take);
        }
    }

    private pass(socket: Socket, take: (socket: Socket) => void): void {
        take(socket);
        socket.resume();
    }
}
