import { strict as assert } from "node:assert";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { send } from "../../platform/imagePush";

describe("what is sent to the embedded registry", () => {
    let server: Server;
    let url: string;

    const serve = async (answer: Parameters<typeof createServer>[1]): Promise<void> => {
        server = createServer({}, answer).listen(0, "127.0.0.1");
        await once(server, "listening");
        url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    };

    afterEach(() => {
        server.closeAllConnections();
        server.close();
    });

    it("is there when the registry says so, also where the connection is closed before the file's end is read", async () => {
        const body = new PassThrough();
        await serve((incoming, response) => {
            incoming.once("data", () => {
                response.writeHead(201, { connection: "close" }).end("taken");
                response.socket?.once("close", () => setTimeout(() => body.end(), 50));
            });
        });
        body.write("four");
        const reply = await send("PUT", url, { "content-length": 4 }, body);
        assert.deepEqual([reply.status, reply.body], [201, "taken"]);
    });

    it("is not when the connection breaks first", async () => {
        await serve((incoming) => incoming.once("data", () => incoming.socket.destroy()));
        const body = new PassThrough();
        body.write("four");
        await assert.rejects(send("PUT", url, { "content-length": 8 }, body), { code: "ECONNRESET" });
        assert.equal(body.destroyed, true);
    });

    it("is not when the file cannot be read", async () => {
        await serve(() => undefined);
        const body = new PassThrough();
        setTimeout(() => body.destroy(new Error("cannot be read")), 50);
        await assert.rejects(send("PUT", url, { "content-length": 8 }, body), /cannot be read/);
    });
});
