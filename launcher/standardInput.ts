import { createReadStream } from "node:fs";
import type { Writable } from "node:stream";
import { PassThrough } from "node:stream";

import type { KubeConfig } from "@kubernetes/client-node";
import { Attach } from "@kubernetes/client-node";

/** As much of a websocket as is used here. The types of the client's own are not among what is installed. */
interface Socket {
    readonly readyState: number;
    addEventListener(type: "close", listener: () => void): void;
    send(data: Buffer, done: (error?: Error) => void): void;
    close(): void;
}

const open = 1;

/**
 * Sends a file to the standard input of a container, and passes on what it prints, until it ends or the signal aborts.
 *
 * @throws Error when there is no connection; one that breaks later is no error, as the container may well go on
 */
export async function sendInput(
    config: KubeConfig,
    target: { readonly namespace: string; readonly pod: string; readonly container: string },
    file: string,
    output: Writable,
    signal: AbortSignal,
): Promise<void> {
    const { namespace, pod, container } = target;
    // A stream of its own in place of the input, which the client would send without waiting for it to be taken.
    const nothing = new PassThrough();
    const attached: unknown = await new Attach(config).attach(
        namespace,
        pod,
        container,
        output,
        output,
        nothing,
        false,
    );
    const socket = attached as Socket;
    const closed = new Promise<void>((resolve) => socket.addEventListener("close", () => resolve()));
    signal.addEventListener("abort", () => socket.close());
    if (signal.aborted) {
        socket.close();
    }
    for await (const chunk of createReadStream(file, { highWaterMark: 32 * 1024 })) {
        if (socket.readyState !== open) {
            break;
        }
        // Each is taken before the next is read: a file never has to fit into memory.
        await send(socket, chunk as Buffer);
    }
    await closed;
}

/** Channel 0: https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/streaming/pkg/httpstream/wsstream/doc.go */
async function send(socket: Socket, chunk: Buffer): Promise<void> {
    await new Promise<void>((resolve, reject) => {
        socket.send(Buffer.concat([Buffer.of(0), chunk]), (error) => (error ? reject(error) : resolve()));
    });
}
