import { once } from "node:events";
import { createServer } from "node:net";

/** A port that nobody has, and that no connection to elsewhere can take before it is used: those begin at 32768. */
export async function freePort(address: string): Promise<number> {
    for (;;) {
        const port = 20_000 + Math.floor(Math.random() * 12_000);
        const server = createServer();
        try {
            server.listen(port, address);
            await once(server, "listening");
            return port;
        } catch {
            continue;
        } finally {
            server.close();
        }
    }
}
