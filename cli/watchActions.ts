import { UserError } from "../contract/errors";
import { createWebhookServer } from "../service/http/webhookServer";
import type { WebhookTarget } from "../service/http/webhooks";
import type { WatchEvent } from "../service/watch/events";
import { WatchState } from "../service/watch/state";
import { Watcher } from "../service/watch/watcher";
import { readWatched, type WatchDefaults } from "../service/watch/watchFile";
import { openQueue, type OpenQueue } from "./queueService";
import type { WatchOptions } from "./watch";
import { lineOf } from "./watchView";

const exitFailed = 1;
const exitInterrupted = 130;

/** Watches for a queue that is open. Reads what is to be watched, and looks at nothing yet. */
export async function openWatcher(
    targets: readonly string[],
    { store, queue, settings }: Pick<OpenQueue, "store" | "queue" | "settings">,
    options: WatchDefaults & { readonly interval?: number },
    tell: (event: WatchEvent) => void,
): Promise<WebhookTarget & { readonly watcher: Watcher }> {
    const repositories = await readWatched(targets, process.cwd(), options);
    const state = new WatchState(store.database);
    const { dataDirectory, namespaces } = settings;
    const watcher = new Watcher({
        ...{ repositories, queue, state, dataDirectory, tell },
        ownNamespaces: namespaces.length === 0,
        ...(options.interval === undefined ? {} : { interval: options.interval }),
    });
    return { watcher, state };
}

/** Looks until it is told to end, or once. */
export async function watch(targets: readonly string[], options: WatchOptions): Promise<void> {
    // Before anything is brought up: most mistakes are in what was typed.
    await readWatched(targets, process.cwd(), options);
    const tell = teller(options.json);
    const opened = await openQueue(options);
    const { queue, close } = opened;
    const interrupted = new Promise<NodeJS.Signals>((resolve) => {
        const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
        signals.forEach((signal) => process.once(signal, () => resolve(signal)));
        // Nobody reads any more, as after `| head`.
        process.stdout.once("close", () => resolve("SIGPIPE"));
    });
    const ends: (() => Promise<void> | undefined)[] = [() => opened.tracing?.close(), async () => queue.stop()];
    try {
        const target = await openWatcher(targets, opened, options, tell);
        const { watcher } = target;
        ends.push(async () => watcher.stop());
        const server = options.listen && (await listen(target, options.listen));
        ends.push(async () => server?.close());
        queue.start();
        const end = options.once ? watcher.once() : watcher.start();
        const first = await Promise.race([interrupted, end]);
        const running = queue.list({ state: "running" });
        if (typeof first === "string") {
            const what = running.length === 1 ? "a build" : `${running.length} builds`;
            process.stderr.write(
                running.length === 0
                    ? "ended; nothing runs\n"
                    : `ended; ${what} of it goes on in the cluster, and the next \`ke1 watch\` takes that up\n`,
            );
            process.exitCode = first === "SIGINT" ? exitInterrupted : 0;
        } else if (first !== undefined) {
            const failed = first.builds.filter(({ state }) => state !== "succeeded");
            first.problems.forEach((problem) => process.stderr.write(`error: ${problem}\n`));
            process.exitCode = failed.length + first.problems.length > 0 ? exitFailed : 0;
        }
    } finally {
        for (const end of ends.reverse()) {
            await end();
        }
        close();
    }
}

/** Lines on standard output: they are what this command is for. */
function teller(json: boolean): (event: WatchEvent) => void {
    const isTerminal = process.stdout.isTTY;
    return (event) => {
        const at = new Date();
        if (json) {
            process.stdout.write(`${JSON.stringify({ at: at.toISOString(), ...event })}\n`);
            return;
        }
        const time = isTerminal ? at.toTimeString().slice(0, 8) : at.toISOString().replace(/\.\d+Z$/, "Z");
        process.stdout.write(`${time} ${lineOf(event)}\n`);
    };
}

async function listen(target: WebhookTarget, { host, port }: { readonly host: string; readonly port: number }) {
    const server = await createWebhookServer(target);
    const address = await server.listen({ host, port }).catch((error: unknown) => {
        const { code } = error as NodeJS.ErrnoException;
        throw code === "EADDRINUSE" || code === "EADDRNOTAVAIL"
            ? new UserError(`cannot listen on ${host}:${port} (${code}); give another address with --listen`)
            : error;
    });
    process.stderr.write(`taking webhooks at ${address}/v1/webhooks/github\n`);
    return server;
}
