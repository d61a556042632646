import { setTimeout as sleep } from "node:timers/promises";

import type { FastifyReply, FastifyRequest } from "fastify";

import { firstLineOf } from "../../contract/errors";
import { LogFollower } from "../../launcher/logFollower";
import type { BuildEvent, BuildRecord } from "../build";
import { isFinal } from "../build";
import { attemptLogPath, launcherLog } from "../log";
import type { ServiceContext } from "./context";

/** Between two looks at a log that grows, in milliseconds. */
const pollInterval = 500;
/** A proxy takes a connection on which nothing comes for dead; this is less than any waits, in milliseconds. */
const keepAliveInterval = 15_000;

/**
 * Sends what happened, and what happens, as server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html): `build` for a change, whose data is the event; `log`,
 * whose data is `{offset, bytes}`, the bytes in base64; and `end` when there will be no more. An event's id is `<seq>.<byte of the log>`, so that
 * whoever was cut off goes on where it was.
 */
export async function sendEvents(
    { queue, openStore, closing }: ServiceContext,
    record: BuildRecord,
    request: FastifyRequest<{ Querystring: { readonly log: boolean } }>,
    reply: FastifyReply,
): Promise<void> {
    const [seen = 0, from = 0] = /^(\d+)\.(\d+)$/
        .exec(String(request.headers["last-event-id"] ?? ""))
        ?.slice(1)
        .map(Number) ?? [0, 0];
    const gone = new AbortController();
    reply.hijack();
    const { raw } = reply;
    const leave = () => gone.abort();
    raw.once("close", leave);
    raw.on("error", leave);
    closing.addEventListener("abort", leave, { once: true });
    raw.writeHead(200, {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        // Kept alive after its end, it would keep the service from ending.
        connection: "close",
        "x-accel-buffering": "no",
        "x-content-type-options": "nosniff",
    });
    let seq = seen;
    let offset = from;
    let lastSent = Date.now();
    const send = async (type: string, data: unknown): Promise<void> => {
        lastSent = Date.now();
        if (!raw.write(`id: ${seq}.${offset}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`)) {
            // A slow reader is waited for: nothing piles up here.
            await new Promise<void>((resolve) => {
                raw.once("drain", resolve);
                gone.signal.addEventListener("abort", () => resolve(), { once: true });
            });
        }
    };
    const wake = { now: (): void => undefined };
    const onEvent = (event: BuildEvent): void => {
        if (event.build === record.id) {
            wake.now();
        }
    };
    queue.on("event", onEvent);
    try {
        let follower: LogFollower | undefined;
        for (;;) {
            // Before the log is read: what has ended has all its log.
            const ended = isFinal(queue.get(record.id)?.state ?? "cancelled");
            for (const event of queue.events(seq, record.id)) {
                seq = event.seq;
                await send("build", event);
            }
            const now = queue.get(record.id);
            if (request.query.log && now?.request.kind === "image") {
                for (let bytes; (bytes = launcherLog(queue.launchLog(now.id), offset)).length > 0;) {
                    const begin = offset;
                    offset += bytes.length;
                    await send("log", { offset: begin, bytes: bytes.toString("base64") });
                }
            } else if (request.query.log && now?.containerUrl !== undefined) {
                try {
                    const store = openStore(now.containerUrl);
                    const path = follower ? undefined : await attemptLogPath(store, now);
                    follower ??= path === undefined ? undefined : new LogFollower(store, path, offset);
                    for await (const bytes of follower?.chunks() ?? []) {
                        const begin = offset;
                        offset += bytes.length;
                        await send("log", { offset: begin, bytes: bytes.toString("base64") });
                    }
                } catch (error) {
                    // The store may be back at the next look; who follows need not notice.
                    process.stderr.write(`the log of ${record.id}: ${firstLineOf(error)}\n`);
                }
            }
            // Whoever is cut off, as the service ends, comes back to it.
            if (gone.signal.aborted) {
                return;
            }
            if (ended) {
                await send("end", {});
                return;
            }
            if (Date.now() - lastSent > keepAliveInterval) {
                lastSent = Date.now();
                raw.write(":\n\n");
            }
            await Promise.race([
                sleep(pollInterval, undefined, { signal: gone.signal }).catch(() => undefined),
                new Promise<void>((resolve) => (wake.now = resolve)),
            ]);
        }
    } finally {
        queue.off("event", onEvent);
        closing.removeEventListener("abort", leave);
        raw.end();
    }
}
