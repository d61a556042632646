import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";

/*
 * `node dist/relay.js FROM=TO...`: passes connections on as they are, from one address to another, each `unix:PATH` or
 * `tcp:HOST:PORT`. The embedded platform's gateway and its other end in a service's pod (platform/gateway.ts).
 */

type Address = { readonly path: string } | { readonly host: string; readonly port: number };

function main(): void {
    const routes = process.argv.slice(2).map((route) => route.split("="));
    for (const [from = "", to = ""] of routes) {
        listen(parse(from), parse(to));
    }
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
        process.once(signal, () => process.exit(0));
    }
}

function parse(text: string): Address {
    const [, socket] = /^unix:(\/.+)$/.exec(text) ?? [];
    if (socket !== undefined) {
        return { path: socket };
    }
    const [, host = "", port = ""] = /^tcp:([\d.]+):(\d+)$/.exec(text) ?? [];
    if (port === "") {
        process.stderr.write(`error: ${text} is neither unix:PATH nor tcp:ADDRESS:PORT\n`);
        process.exit(2);
    }
    return { host, port: Number(port) };
}

function listen(from: Address, to: Address): void {
    if ("path" in from) {
        // As a volume it is read by another user; what is above it keeps all others out.
        fs.mkdirSync(path.dirname(from.path), { recursive: true, mode: 0o755 });
        // An earlier life's: nobody listens on it any more.
        fs.rmSync(from.path, { force: true });
    }
    const server = net.createServer({ allowHalfOpen: true }, (incoming) => {
        const outgoing = net.createConnection({ ...to, allowHalfOpen: true });
        const end = () => {
            incoming.destroy();
            outgoing.destroy();
        };
        incoming.on("error", end).on("close", () => outgoing.destroy());
        outgoing.on("error", end).on("close", () => incoming.destroy());
        incoming.setNoDelay(true).pipe(outgoing.setNoDelay(true)).pipe(incoming);
    });
    server.once("error", (error) => {
        process.stderr.write(`error: cannot listen: ${error.message}\n`);
        process.exit(1);
    });
    server.listen(from, () => {
        if ("path" in from) {
            // Whoever has the directory may connect.
            fs.chmodSync(from.path, 0o666);
        }
    });
}

main();
